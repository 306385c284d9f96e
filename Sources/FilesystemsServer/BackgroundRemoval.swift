import Logging
import Synchronization

/// Runs ``TreeRemover`` behind the answers, one at a time.
final class BackgroundRemoval: Sendable {
    private let remover: TreeRemover
    private let catalogue: Catalogue
    private let disk: DiskPool
    private let logger: Logger
    private let state = Mutex(State.idle)

    private enum State {
        case idle
        case running
        /// Something was added since the run began.
        case runningAgain
    }

    init(remover: TreeRemover, catalogue: Catalogue, disk: DiskPool, logger: Logger) {
        self.remover = remover
        self.catalogue = catalogue
        self.disk = disk
        self.logger = logger
    }

    /// Removes what is there, soon. What a shutdown leaves, the next start removes.
    func start() {
        let begins = self.state.withLock { state in
            defer { state = state == .idle ? .running : .runningAgain }
            return state == .idle
        }
        guard begins else { return }
        Task { await self.run() }
    }

    private func removeAll() async throws -> [FolderError] {
        let known = try await self.catalogue.knownNames()
        return try await self.disk.run { self.remover.removeAll(leaving: known) }
    }

    private func run() async {
        while true {
            let failures = (try? await self.removeAll()) ?? []
            for failure in failures {
                self.logger.warning("cannot remove what was deleted", metadata: ["cause": "\(failure)"])
            }
            let ends = self.state.withLock { state in
                state = state == .runningAgain ? .running : .idle
                return state == .idle
            }
            if ends { return }
        }
    }
}
