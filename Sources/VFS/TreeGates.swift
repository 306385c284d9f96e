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

    private func enter<Value: Sendable, Failure: Error>(
        _ directories: ArraySlice<InodeNumber>,
        alone: Set<InodeNumber>,
        _ body: () async throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        guard let first = directories.first else { return try await body() }
        let gate = self.held.withLock { held in
            held[first, default: Held()].userCount += 1
            return held[first, default: Held()].gate
        }
        defer {
            self.held.withLock { held in
                held[first]?.userCount -= 1
                if held[first]?.userCount == 0 { held[first] = nil }
            }
        }
        let inner = { () async throws(Failure) -> Value in
            try await self.enter(directories.dropFirst(), alone: alone, body)
        }
        return alone.contains(first) ? try await gate.alone(inner) : try await gate.shared(inner)
    }
}
