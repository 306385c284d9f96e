import Inodes
import Primitives
import RemoteAPI
import Synchronization
import TestKit
import Testing
import WireFormat

/// A namespace over a service in memory, and the time it goes by.
struct Fixture {
    let remote: InMemoryRemote
    let faulty: FaultyRemote
    let clock = ManualClock()
    let log = CapturedLog()
    let namespace: Namespace
    /// The paths of which the disk was to forget what it has.
    let outdated = OutdatedPaths()

    init(
        _ behaviour: InMemoryRemote.Behaviour = .strict,
        timeToLive: Duration = .seconds(10),
        listingBudget: Int = 32 << 20,
        nodeBudget: Int = 16 << 20,
        attributes: any AttributeStore = VolatileAttributes(),
        recallLimit: Duration = .seconds(60),
        isImmutable: Bool = false,
        remote: InMemoryRemote? = nil
    ) {
        self.remote = remote ?? InMemoryRemote(behaviour)
        self.faulty = FaultyRemote(self.remote)
        let (clock, outdated) = (self.clock, self.outdated)
        self.namespace = Namespace(
            remote: self.faulty,
            timeToLive: timeToLive,
            listingBudget: listingBudget,
            nodeBudget: nodeBudget,
            isImmutable: isImmutable,
            attributes: attributes,
            recallLimit: recallLimit,
            defaults: DefaultAttributes(
                userID: 1000,
                groupID: 1001,
                fileMode: 0o644,
                directoryMode: 0o755,
                time: Self.time
            ),
            now: { clock.now },
            whenOutdated: { path, _ in outdated.add(path) },
            logger: self.log.logger
        )
    }

    static let time = FileTime(seconds: 1_000_000, nanoseconds: 5)

    /// What is known of a name, as a line: `file`, `directory`, `absent` or `gone`.
    func state(_ text: String, in parent: InodeNumber = .root) async throws -> String {
        switch try await self.namespace.resolve(name(text), in: parent) {
        case .present(_, .file, _): "file"
        case .present(_, .directory, _): "directory"
        case .absent: "absent"
        case .unknown: "unknown"
        case .noDirectory: "gone"
        }
    }

    /// The number of what has a name.
    func inode(_ text: String, in parent: InodeNumber = .root) async throws -> InodeNumber {
        guard case .present(let inode, _, _) = try await self.namespace.resolve(name(text), in: parent) else {
            throw Missing()
        }
        return inode
    }

    struct Missing: Error {}

    /// The names that a directory is known to hold.
    func names(_ directory: InodeNumber = .root) -> [String] {
        self.namespace.snapshot(directory).map(\.name.string)
    }

    /// Lets everything that is known grow too old.
    func expire() { self.clock.advance(by: self.namespace.timeToLive) }
}

/// Collects paths.
final class OutdatedPaths: Sendable {
    private let paths = Mutex<[String]>([])

    var all: [String] { self.paths.withLock(\.self) }

    func add(_ path: RemotePath) { self.paths.withLock { $0.append(path.description) } }
}

/// Runs a call and gives what it threw; nothing if it succeeded.
func failure<Value>(of call: () async throws(RemoteError) -> Value) async -> RemoteError? {
    do throws(RemoteError) {
        _ = try await call()
        return nil
    } catch {
        return error
    }
}
