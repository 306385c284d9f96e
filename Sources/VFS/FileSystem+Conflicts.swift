import Glibc
import Inodes
import Logging
import Primitives
import RemoteAPI
import Staging
import WireFormat

// Bytes that waited here, and the service's file that others changed meanwhile.

extension FileSystem {
    /// What the service has in the place of bytes that wait.
    enum Standing: Sendable, Hashable {
        /// What they were written over, or an earlier upload of them.
        case asExpected
        /// Another file; the text says what others did.
        case replaced(String)
        /// Nothing, but they were written over something.
        case deleted

        /// What others did, for a person.
        var change: String {
            switch self {
            case .asExpected: "nothing"
            case .replaced(let change): change
            case .deleted: "it was deleted"
            }
        }
    }

    /// Begins to look, side by side with an upload, whether it would replace something that its bytes were not written
    /// over. Where close(2) waits for the service, only what failed before is looked at, and files of which bytes are
    /// on the service alone, which must not be mixed with those of another version.
    func startCheck(
        of content: FileContent,
        _ staged: StagedFile,
        at path: RemotePath,
        in parent: InodeNumber
    ) -> Task<Result<Standing, FileSystemError>, Never>? {
        let isLate = content.state.withLock { $0.isRecovered || $0.lastError != nil }
        guard isLate || self.options.mode == .writeBack || !staged.isWhole else { return nil }
        guard self.options.onConflict == .keepBoth || !staged.isWhole else { return nil }
        return Task {
            do throws(RemoteError) {
                return .success(try await self.standing(of: content, staged, at: path, in: parent))
            } catch {
                return .failure(error == .cancelled ? .interrupted : .remote(error))
            }
        }
    }

    /// How old an answer may be by which something is replaced, or a name is taken for free.
    static let standingAge = Duration.seconds(2)
    /// A listing of more names takes longer than asking for the size of the one file that is made beside them.
    static let longListing = 10_000

    /// What the service has now in the place of bytes that wait. Asked once more, longer after the first time than an
    /// answer counts (`isLate`), it believes nothing that is known here.
    func standing(
        of content: FileContent,
        _ staged: StagedFile,
        at path: RemotePath,
        in parent: InodeNumber,
        isLate: Bool = false
    ) async throws(RemoteError) -> Standing {
        let baseSize = staged.baseSize
        if baseSize == nil {
            if staged.replacesUnknown { return .asExpected }
            if !isLate, try await self.isListedAsFree(content.inode, in: parent) { return .asExpected }
        }
        do throws(RemoteError) {
            let found = try await self.remote.size(of: path, urgency: .waitedFor)
            if found == baseSize { return .asExpected }
            if content.wasInDoubt(of: found) { return .asExpected }
            return .replaced(
                baseSize.map { "it had \($0) bytes and has \(found)" }
                    ?? "somebody else made a file of that name"
            )
        } catch .notFound {
            if baseSize == nil, !self.namespace.isOnServer(content.inode) { return .asExpected }
            // Only a listing proves it.
            try await self.namespace.refreshAnew(parent)
            guard !self.namespace.isOnServer(content.inode) else {
                throw .malformedAnswer("the server lists a file and says that it does not exist")
            }
            return baseSize == nil ? .asExpected : .deleted
        }
    }

    /// Whether a listing that is young enough shows that the service has no file of a name that was made here. One tells
    /// of all files that are made in a directory within that time.
    private func isListedAsFree(
        _ inode: InodeNumber,
        in parent: InodeNumber
    ) async throws(RemoteError) -> Bool {
        let isLong = self.namespace.nameCount(of: parent) > Self.longListing
        if isLong, !self.namespace.isListed(parent, within: Self.standingAge) { return false }
        try await self.namespace.ensureListed(parent, within: Self.standingAge)
        return !self.namespace.isOnServer(inode)
    }

    /// The bytes of a file get a name beside it, as its own stands for somebody else's file; they are uploaded there.
    ///
    /// - Throws: `.changedOnServer` if not all of them are here: then they are kept for a person.
    func setAside(
        _ content: FileContent,
        _ staged: StagedFile,
        since standing: Standing
    ) throws(FileSystemError) {
        guard let path = self.namespace.path(of: content.inode), let name = path.name else { throw .stale }
        guard staged.isWhole else {
            self.giveUp(
                content,
                staged,
                "the file on the server is another one (\(standing.change)), and it has bytes of this one"
            )
            throw .changedOnServer
        }
        var number = 1
        var copy: FileName?
        while copy == nil {
            let candidate = Self.conflictName(of: name, at: time(nil), number)
            self.staging.journal.together {
                guard self.namespace.setAside(content.inode, as: candidate, leavesFile: standing != .deleted)
                else { return }
                copy = candidate
                content.state.withLock { state in
                    for staged in state.waiting { staged.setBase(size: nil) }
                    state.sizeInDoubt = nil
                }
            }
            guard self.namespace.location(of: content.inode) != nil else { throw .stale }
            number += 1
        }
        guard let copy else { throw .stale }
        let target = path.parent.appending(copy)
        self.incidents.withLock { $0.didConflict(.init(path: path, copy: target)) }
        self.logger.warning(
            "the server's file is not the one that was written over; what was written is uploaded beside it",
            metadata: ["path": "\(path)", "copy": "\(target)", "cause": "\(standing.change)"]
        )
    }

    /// `NAME.conflict-YYYYMMDDTHHMMSS`, in universal time, with a number where that is taken.
    static func conflictName(of name: FileName, at time: time_t, _ number: Int) -> FileName {
        var time = time
        var parts = tm()
        gmtime_r(&time, &parts)
        func digits(_ value: Int32, _ count: Int) -> String {
            let text = String(value)
            return String(repeating: "0", count: max(0, count - text.count)) + text
        }
        let date = digits(parts.tm_year + 1900, 4) + digits(parts.tm_mon + 1, 2) + digits(parts.tm_mday, 2)
        let clock = digits(parts.tm_hour, 2) + digits(parts.tm_min, 2) + digits(parts.tm_sec, 2)
        let suffix = ".conflict-\(date)T\(clock)" + (number == 1 ? "" : "-\(number)")
        var stem = Substring(name.string)
        while stem.utf8.count + suffix.utf8.count > FileName.maximumByteCount { stem.removeLast() }
        return FileName(stem + suffix) ?? name
    }
}
