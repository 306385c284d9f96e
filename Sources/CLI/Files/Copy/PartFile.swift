import Glibc
import Synchronization
import Transfers

/// A local file on its way: a temporary beside its place, which gets its name when it is whole and on the disk.
///
/// Until all is there it ends with a record: it says that the file is a temporary and which parts are there, so that after
/// any end of the program the next copy goes on with it, or begins anew in it. Of several parts, one counts once it is on
/// the disk itself. Its permissions mark it too, until it gets its name.
final class PartFile: DownloadTarget {
    /// What the record, of a byte for each part, the size and the parts' size of 8 bytes each, ends with.
    private static let magic = Array("tetherfs-part-2\n".utf8)
    private static let trailerByteCount = 16 + magic.count
    private static let suffix = ".tetherfs-part"
    /// The permissions of a temporary, and hardly of another file: the owner's alone, with the sticky bit.
    private static let mark: mode_t = 0o1600

    private struct State {
        var received: Set<Int>
        var failure: CopyFailure?
    }

    /// The parts.
    let plan: PartPlan
    private let target: String
    private let path: String
    private let descriptor: Int32
    private let mode: UInt32
    private let progress: CopyProgress
    private let state: Mutex<State>

    /// Opens the temporary of a file, and its lock.
    ///
    /// - Parameters:
    ///   - target: The file's path.
    ///   - plan: How it comes.
    ///   - mode: The permissions that the file gets if it replaces none.
    ///   - continuing: Whether what is there of an earlier try, of a file of this size, is gone on with.
    ///   - progress: Told of every byte.
    /// - Throws: If it cannot be written, another copy writes it, or something else is in its place.
    init(
        for target: String,
        plan: PartPlan,
        mode: UInt32,
        continuing: Bool,
        progress: CopyProgress
    ) throws(CopyFailure) {
        self.target = target
        self.mode = mode
        self.progress = progress
        self.path = Self.temporaryPath(for: target)
        self.descriptor = try Self.openLocked(self.path)
        if continuing, let record = Self.record(self.descriptor), record.plan.size == plan.size {
            self.plan = record.plan
            self.state = Mutex(State(received: record.received))
            return
        }
        do throws(CopyFailure) {
            try Self.begin(self.descriptor, plan, self.path)
        } catch {
            unlink(self.path)
            close(self.descriptor)
            throw error
        }
        self.plan = plan
        self.state = Mutex(State(received: []))
    }

    deinit { close(self.descriptor) }

    /// `.NAME.tetherfs-part`, or with a number made of a name that is too long for that.
    ///
    /// - Parameter target: The file's path.
    /// - Returns: A path in the same directory.
    static func temporaryPath(for target: String) -> String {
        let name = FilePath.parts(target).last ?? ""
        let short = name.utf8.count <= 230 ? name : FilePath.nameStanding(for: name, limit: 0)
        return String(Substring(target.utf8.dropLast(name.utf8.count))) + ".\(short)\(self.suffix)"
    }

    /// Whether a file of this path would be in the place of another one's temporary.
    static func isTemporary(_ path: String) -> Bool {
        let name = FilePath.parts(path).last ?? ""
        return name.utf8.first == UInt8(ascii: ".")
            && name.utf8.suffix(self.suffix.utf8.count).elementsEqual(self.suffix.utf8)
    }

    private static func openLocked(_ path: String) throws(CopyFailure) -> Int32 {
        while true {
            // Nobody else's until it has the permissions of the file that it becomes.
            let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0o600)
            guard descriptor >= 0 else { throw .disk(path, SystemError()) }
            do throws(CopyFailure) {
                guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
                    let error = SystemError()
                    throw error.code == EWOULDBLOCK
                        ? .refused("another copy writes it now") : .disk(path, error)
                }
                // Whoever had the lock may have given the file its name since: then it is no temporary any more.
                if self.isStill(path, descriptor) {
                    try self.checkOurs(descriptor, path)
                    // Where there is no such bit (FAT), the record alone says what it is.
                    _ = fchmod(descriptor, self.mark)
                    return descriptor
                }
            } catch {
                close(descriptor)
                throw error
            }
            close(descriptor)
        }
    }

    /// Whether a path still leads to an open file.
    private static func isStill(_ path: String, _ descriptor: Int32) -> Bool {
        guard let mine = FileStatus(of: descriptor), let there = FileStatus(of: path) else { return false }
        return mine.identity == there.identity
    }

    /// Keeps from files that are no temporaries of this user.
    private static func checkOurs(_ descriptor: Int32, _ path: String) throws(CopyFailure) {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .disk(path, SystemError()) }
        let shown = Printable.text(path, limit: 400)
        guard status.st_uid == geteuid() else { throw .refused("\(shown) belongs to another user") }
        let isMarked = status.st_mode & 0o7777 == self.mark
        guard status.st_size == 0 || isMarked || self.record(descriptor) != nil else {
            throw .refused("\(shown) is there, and no half of a download: move it away")
        }
    }

    private static func begin(_ descriptor: Int32, _ plan: PartPlan, _ path: String) throws(CopyFailure) {
        guard ftruncate(descriptor, 0) == 0 else { throw .disk(path, SystemError()) }
        var record = [UInt8](repeating: 0, count: plan.count)
        for number in [plan.size, plan.partSize] {
            withUnsafeBytes(of: number.littleEndian) { record += $0 }
        }
        record += self.magic
        guard pwrite(descriptor, record, record.count, Int(plan.size)) == record.count else {
            throw .disk(path, SystemError())
        }
    }

    /// What an earlier try left; nothing if it is no temporary.
    private static func record(_ descriptor: Int32) -> (plan: PartPlan, received: Set<Int>)? {
        let end = lseek(descriptor, 0, SEEK_END)
        var trailer = [UInt8](repeating: 0, count: self.trailerByteCount)
        guard end >= trailer.count,
            pread(descriptor, &trailer, trailer.count, end - trailer.count) == trailer.count,
            trailer[16...].elementsEqual(self.magic)
        else { return nil }
        let numbers = [0, 8].map { offset in
            trailer[offset...].prefix(8).reversed().reduce(0 as UInt64) { $0 << 8 | UInt64($1) }
        }
        guard numbers[0] <= UInt64(end),
            (PartPlan.minimumPartSize...PartPlan.maximumPartSize).contains(numbers[1])
        else { return nil }
        let plan = PartPlan(size: numbers[0], partSize: numbers[1])
        var marks = [UInt8](repeating: 0, count: plan.count)
        guard Int(plan.size) + marks.count + trailer.count == end,
            pread(descriptor, &marks, marks.count, Int(plan.size)) == marks.count
        else { return nil }
        return (plan, Set(plan.indices.filter { marks[$0] == 1 }))
    }

    /// The parts that are there.
    var received: Set<Int> { self.state.withLock(\.received) }

    /// How many bytes they have.
    var receivedByteCount: UInt64 {
        self.received.reduce(0) { $0 + UInt64(self.plan[$1].count) }
    }

    var failure: CopyFailure? { self.state.withLock(\.failure) }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) -> Bool {
        var written = 0
        while written < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[written...])
            let count = pwrite(self.descriptor, rest.baseAddress, rest.count, Int(offset) + written)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else {
                let failure = CopyFailure.disk(self.path, SystemError(count == 0 ? EIO : errno))
                self.state.withLock { $0.failure = $0.failure ?? failure }
                return false
            }
            written += count
        }
        self.progress.add(bytes: UInt64(bytes.count))
        return true
    }

    func didReceive(_ part: Int) async throws(CopyFailure) {
        guard self.plan.count > 1 else { return }
        try await LocalDisk.run { () throws(CopyFailure) in
            let place = Int(self.plan.size) + part
            guard fdatasync(self.descriptor) == 0, pwrite(self.descriptor, [1], 1, place) == 1 else {
                throw .disk(self.path, SystemError())
            }
        }
        self.state.withLock { _ = $0.received.insert(part) }
    }

    func read(_ range: Range<UInt64>) async -> [UInt8] {
        await LocalDisk.run {
            var bytes = [UInt8](repeating: 0, count: range.count)
            let count = pread(self.descriptor, &bytes, bytes.count, Int(range.lowerBound))
            return Array(bytes.prefix(max(0, count)))
        }
    }

    /// Forgets what is there, and begins anew.
    func restart() throws(CopyFailure) {
        try Self.begin(self.descriptor, self.plan, self.path)
        self.state.withLock { $0.received = [] }
    }

    /// Gives the file its name, once it is whole on the disk; it keeps the permissions of the one that it replaces.
    func finish() throws(CopyFailure) {
        guard ftruncate(self.descriptor, off_t(self.plan.size)) == 0 else {
            throw .disk(self.path, SystemError())
        }
        // Without its record nothing can go on with it: what fails from here on leaves nothing.
        self.state.withLock { $0.received = [] }
        guard fsync(self.descriptor) == 0 else { throw .disk(self.path, SystemError()) }
        guard Self.isStill(self.path, self.descriptor) else {
            throw .refused("\(Printable.text(self.path, limit: 400)) was replaced meanwhile")
        }
        let old = FileStatus(of: self.target)
        let mode = old.flatMap { $0.isFile ? $0.permissions : nil } ?? self.mode
        // Last, as it takes the mark away: a kill hits what waits for the disk.
        guard fchmod(self.descriptor, mode) == 0 else { throw .disk(self.path, SystemError()) }
        guard rename(self.path, self.target) == 0 else { throw .disk(self.target, SystemError()) }
    }

    /// Leaves what can be gone on with, and nothing else.
    func abandon() { if self.received.isEmpty { self.discard() } }

    /// Leaves nothing.
    func discard() { if Self.isStill(self.path, self.descriptor) { unlink(self.path) } }
}
