import Glibc
import Synchronization
import Transfers

/// A local file on its way: a temporary beside its place, which gets its name when it is whole and on the disk.
///
/// One of several parts ends, until then, with a record of those that are there: it can be gone on with after any end of
/// the program. A part counts once it is on the disk itself.
final class PartFile: DownloadTarget {
    /// What the record begins with; the size and the parts' size follow, 8 bytes each, and a byte for each part.
    private static let magic = Array("tetherfs-part-1\n".utf8)
    private static let headerByteCount = magic.count + 16

    private struct State {
        var received: Set<Int>
        var failure: CopyFailure?
    }

    /// The parts.
    let plan: PartPlan
    private let target: String
    private let path: String
    private let descriptor: Int32
    private let progress: CopyProgress
    private let state: Mutex<State>

    /// Opens the temporary of a file, and its lock.
    ///
    /// - Parameters:
    ///   - target: The file's path.
    ///   - plan: How it comes.
    ///   - continuing: Whether what is there of an earlier try, of a file of this size, is gone on with.
    ///   - progress: Told of every byte.
    /// - Throws: If it cannot be written, or another program writes it.
    init(
        for target: String,
        plan: PartPlan,
        continuing: Bool,
        progress: CopyProgress
    ) throws(CopyFailure) {
        self.target = target
        self.path = Self.temporaryPath(for: target)
        self.progress = progress
        self.descriptor = try Self.openLocked(self.path)
        var (known, received): (PartPlan, Set<Int>) = (plan, [])
        do throws(CopyFailure) {
            if continuing, let record = Self.record(self.descriptor, size: plan.size) {
                (known, received) = record
            } else {
                try Self.begin(self.descriptor, plan, self.path)
            }
        } catch {
            unlink(self.path)
            close(self.descriptor)
            throw error
        }
        self.plan = known
        self.state = Mutex(State(received: received))
    }

    deinit { close(self.descriptor) }

    /// `.NAME.tetherfs-part`, or with a number made of a name that is too long for that.
    static func temporaryPath(for target: String) -> String {
        let parts = target.split(separator: "/", omittingEmptySubsequences: false)
        let name = String(parts.last ?? "")
        let short = name.utf8.count <= 240 ? name : FilePath.nameStanding(for: name, limit: 0)
        return (parts.dropLast() + [".\(short).tetherfs-part"]).joined(separator: "/")
    }

    private static func openLocked(_ path: String) throws(CopyFailure) -> Int32 {
        while true {
            let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0o666)
            guard descriptor >= 0 else { throw .disk(path, SystemError()) }
            guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
                close(descriptor)
                throw .refused("another copy writes it now")
            }
            // Whoever had the lock may have given the file its name since: then it is no temporary any more.
            if let mine = FileStatus(of: descriptor), let there = FileStatus(of: path),
                mine.identity == there.identity
            {
                return descriptor
            }
            close(descriptor)
        }
    }

    private static func begin(_ descriptor: Int32, _ plan: PartPlan, _ path: String) throws(CopyFailure) {
        guard ftruncate(descriptor, 0) == 0 else { throw .disk(path, SystemError()) }
        guard plan.count > 1 else { return }
        var record = self.magic
        for number in [plan.size, plan.partSize] {
            withUnsafeBytes(of: number.littleEndian) { record += $0 }
        }
        record += [UInt8](repeating: 0, count: plan.count)
        guard pwrite(descriptor, record, record.count, Int(plan.size)) == record.count else {
            throw .disk(path, SystemError())
        }
    }

    /// What an earlier try left; nothing if it was of another size, or is no temporary of ours.
    private static func record(_ descriptor: Int32, size: UInt64) -> (PartPlan, Set<Int>)? {
        var header = [UInt8](repeating: 0, count: self.headerByteCount)
        guard pread(descriptor, &header, header.count, Int(size)) == header.count,
            header.starts(with: self.magic)
        else { return nil }
        let numbers = [0, 8].map { offset in
            header[(self.magic.count + offset)...].prefix(8).reversed().reduce(0 as UInt64) {
                $0 << 8 | UInt64($1)
            }
        }
        guard numbers[0] == size, (PartPlan.minimumPartSize...PartPlan.maximumPartSize).contains(numbers[1])
        else {
            return nil
        }
        let plan = PartPlan(size: size, partSize: numbers[1])
        var marks = [UInt8](repeating: 0, count: plan.count)
        // One more than there may be.
        marks.append(0)
        guard pread(descriptor, &marks, marks.count, Int(size) + header.count) == plan.count else {
            return nil
        }
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
            let place = Int(self.plan.size) + Self.headerByteCount + part
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
        if let old = FileStatus(of: self.target), old.isFile { fchmod(self.descriptor, old.permissions) }
        guard fsync(self.descriptor) == 0 else { throw .disk(self.path, SystemError()) }
        guard rename(self.path, self.target) == 0 else { throw .disk(self.target, SystemError()) }
    }

    /// Leaves what can be gone on with, and nothing else.
    func abandon() { if self.received.isEmpty { self.discard() } }

    /// Leaves nothing.
    func discard() { unlink(self.path) }
}
