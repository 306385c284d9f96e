import Synchronization

/// Works on a file's parts side by side.
struct PartCrew: Sendable {
    private let parts: [Int]
    private let workerCount: Int

    /// Takes the parts, in the order in which they are begun, and how many are worked on at once.
    init(_ parts: [Int], workerCount: Int) {
        self.parts = parts
        self.workerCount = workerCount
    }

    /// Works on all of them.
    ///
    /// - Parameter work: The work on one part.
    /// - Throws: The first failure, which stops the others; what it leads to elsewhere is not told.
    func run<Failure: Error>(
        _ work: @escaping @Sendable (Int) async throws(Failure) -> Void
    ) async throws(Failure) {
        let rest = PartList(self.parts)
        let failure = await withTaskGroup(of: Failure?.self) { group in
            for _ in 0..<min(self.parts.count, self.workerCount) {
                group.addTask {
                    do throws(Failure) {
                        while let part = rest.next() { try await work(part) }
                        return nil
                    } catch {
                        return error
                    }
                }
            }
            var first: Failure?
            for await ended in group {
                guard let error = ended, first == nil else { continue }
                first = error
                group.cancelAll()
            }
            return first
        }
        if let failure { throw failure }
    }
}

/// Parts that are left, which several tasks take from.
private final class PartList: Sendable {
    private let parts: Mutex<ArraySlice<Int>>

    init(_ parts: [Int]) { self.parts = Mutex(parts[...]) }

    /// The first that nobody has taken.
    func next() -> Int? { self.parts.withLock { $0.popFirst() } }
}
