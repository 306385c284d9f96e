import Primitives
import RemoteAPI
import Synchronization
import Transport
import WireFormat

/// What a download failed with.
public enum DownloadError<Failure: Error>: Error {
    /// The service failed, or the task was cancelled (`.cancelled`).
    case remote(RemoteError)
    /// The file is not as long as it was said to be, or not the one that its first parts are of: somebody replaced it.
    case changed
    /// The bytes could not be kept here.
    case local(Failure)
}

/// Where a download's bytes go.
public protocol DownloadTarget<Failure>: Sendable {
    /// What it fails with.
    associatedtype Failure: Error

    /// Keeps bytes; called on the transport's thread, also for several parts in turn.
    ///
    /// - Parameters:
    ///   - bytes: The bytes, valid only during the call.
    ///   - offset: Where they are in the file.
    /// - Returns: Whether they are kept; if not, ``failure`` says why.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) -> Bool

    /// Why bytes could not be kept.
    var failure: Failure? { get }

    /// Reads bytes that were kept.
    func read(_ range: Range<UInt64>) async -> [UInt8]

    /// All bytes of a part were kept.
    func didReceive(_ part: Int) async throws(Failure)
}

/// Downloads a whole file in parts, several at once.
public struct PartedDownload<Target: DownloadTarget>: Sendable {
    private let file: RemotePath
    private let plan: PartPlan
    private let remote: any RemoteFilesystem
    private let lanes: AsyncSemaphore
    private let target: Target

    /// Takes what is to be downloaded.
    ///
    /// - Parameters:
    ///   - file: The file.
    ///   - plan: Its size, as the service has just said it, and its parts.
    ///   - remote: The service.
    ///   - lanes: Bounds how many parts are on their way at once, of all files together.
    ///   - target: Where its bytes go.
    public init(
        from file: RemotePath,
        plan: PartPlan,
        remote: any RemoteFilesystem,
        lanes: AsyncSemaphore,
        target: Target
    ) {
        self.file = file
        self.plan = plan
        self.remote = remote
        self.lanes = lanes
        self.target = target
    }

    /// Downloads the parts; afterwards the file was as long as the plan says, from its first part to its last, and samples
    /// of all parts were still the same.
    ///
    /// - Parameter received: The parts that are here already.
    /// - Throws: The first failure, after which the other parts are stopped.
    public func run(having received: Set<Int> = []) async throws(DownloadError<Target.Failure>) {
        let missing = self.plan.indices.filter { !received.contains($0) }
        // The beginnings of those parts that more than one response brought, or may have.
        let joined = Mutex(received.sorted().map { self.plan[$0].beginning })
        try await PartCrew(missing, workerCount: Self.partsAtOnce).run {
            (part) async throws(DownloadError<Target.Failure>) in
            do { try await self.lanes.acquire() } catch { throw .remote(.cancelled) }
            defer { self.lanes.release() }
            if try await self.fetch(part) { joined.withLock { $0.append(self.plan[part].beginning) } }
        }
        // What a single response brings is of one version. Several need another look.
        let beginnings = joined.withLock(\.self)
        guard self.plan.count > 1 || !beginnings.isEmpty else { return }
        let target = self.target
        let isUnchanged: Bool
        do throws(RemoteError) {
            isUnchanged = try await self.remote.isUnchanged(
                self.file,
                size: self.plan.size,
                samples: self.plan.map(\.sample) + beginnings
            ) { await target.read($0) == $1 }
        } catch {
            throw .remote(error)
        }
        guard isUnchanged else { throw .changed }
    }

    /// How many parts of one file are on their way at once at most.
    private static var partsAtOnce: Int { 16 }

    /// Fetches one part; of the last one also the byte after it, which shows if the file has grown.
    ///
    /// - Returns: Whether more than one response brought it.
    private func fetch(_ part: Int) async throws(DownloadError<Target.Failure>) -> Bool {
        let range = self.plan[part]
        let isLast = part == self.plan.indices.last
        let wanted = range.lowerBound..<range.upperBound + (isLast ? 1 : 0)
        let sink = PartSink(self.target, range)
        let count: UInt64
        do throws(RemoteError) {
            count = try await self.remote.read(self.file, wanted, into: sink)
        } catch {
            if let failure = self.target.failure { throw .local(failure) }
            // It was there when its size was asked for.
            throw error == .notFound ? .changed : .remote(error)
        }
        guard count == UInt64(range.count) else { throw .changed }
        do { try await self.target.didReceive(part) } catch { throw .local(error) }
        return sink.isJoined
    }
}

/// Hands on the bytes of one part, and none after its end.
private final class PartSink<Target: DownloadTarget>: BodySink {
    private let target: Target
    private let end: UInt64
    private let position: Mutex<UInt64>
    private let joins = Atomic(false)

    /// Whether more than one response brought them.
    var isJoined: Bool { self.joins.load(ordering: .relaxed) }

    init(_ target: Target, _ range: Range<UInt64>) {
        self.target = target
        self.end = range.upperBound
        self.position = Mutex(range.lowerBound)
    }

    func willJoin() { self.joins.store(true, ordering: .relaxed) }

    func receive(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let offset = self.position.withLock { position in
            defer { position += UInt64(bytes.count) }
            return position
        }
        let count = Int(min(UInt64(bytes.count), self.end - min(offset, self.end)))
        return count == 0 || self.target.write(UnsafeRawBufferPointer(rebasing: bytes[..<count]), at: offset)
    }
}
