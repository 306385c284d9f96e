import Primitives
import Synchronization

/// One gate per directory: shared by whoever changes something below it, held alone by whoever moves it.
///
/// Gates are taken in the order of their numbers, all of them at once, so that two callers cannot wait for each other.
final class TreeGates: Sendable {
    private struct Held {
        let gate = AsyncGate()
        var userCount = 0
    }

    private let held = Mutex<[InodeNumber: Held]>([:])

    /// Does something while directories stay where they are.
    ///
    /// - Parameters:
    ///   - shared: The directories below which something changes.
    ///   - alone: The directories that move, or are replaced.
    ///   - body: What is done.
    /// - Returns: What it returned.
    /// - Throws: What it threw.
    func hold<Value: Sendable, Failure: Error>(
        _ shared: Set<InodeNumber>,
        alone: Set<InodeNumber> = [],
        _ body: () async throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        return try await self.enter(shared.union(alone).sorted()[...], alone: alone, body)
    }

    /// Does something while directories stay where they are, unless one of them is held alone, or is about to be.
    ///
    /// - Parameters:
    ///   - shared: The directories below which something changes.
    ///   - body: What is done.
    /// - Returns: What it returned; nothing if it was not done.
    /// - Throws: What it threw.
    func holdNow<Value: Sendable, Failure: Error>(
        _ shared: Set<InodeNumber>,
        _ body: () async throws(Failure) -> Value
    ) async throws(Failure) -> Value? {
        var entered: [(directory: InodeNumber, gate: AsyncGate)] = []
        defer {
            for (directory, gate) in entered {
                gate.leaveShared()
                self.endUse(directory)
            }
        }
        for directory in shared {
            let gate = self.use(directory)
            guard gate.tryEnterShared() else {
                self.endUse(directory)
                return nil
            }
            entered.append((directory, gate))
        }
        return try await body()
    }

    private func use(_ directory: InodeNumber) -> AsyncGate {
        self.held.withLock { held in
            held[directory, default: Held()].userCount += 1
            return held[directory, default: Held()].gate
        }
    }

    private func endUse(_ directory: InodeNumber) {
        self.held.withLock { held in
            held[directory]?.userCount -= 1
            if held[directory]?.userCount == 0 { held[directory] = nil }
        }
    }

    private func enter<Value: Sendable, Failure: Error>(
        _ directories: ArraySlice<InodeNumber>,
        alone: Set<InodeNumber>,
        _ body: () async throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        guard let first = directories.first else { return try await body() }
        let gate = self.use(first)
        defer { self.endUse(first) }
        let inner = { () async throws(Failure) -> Value in
            try await self.enter(directories.dropFirst(), alone: alone, body)
        }
        return alone.contains(first) ? try await gate.alone(inner) : try await gate.shared(inner)
    }
}
