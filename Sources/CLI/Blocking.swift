import Dispatch

/// The way from this thread, which may wait, to what is asynchronous.
///
/// Never from Swift's own pool: as wide as the cores, it would starve.
enum Blocking {
    /// Runs a task and waits for it.
    static func run<Value: Sendable>(_ body: @escaping @Sendable () async throws -> Value) throws -> Value {
        try self.run(checkingEvery: .seconds(3600), { true }, body)
    }

    /// Runs a task and waits for it, asking now and then whether its result is still wanted; if not, it is cancelled.
    ///
    /// - Parameters:
    ///   - interval: The time between two questions.
    ///   - isWanted: The question. Not asked again after a `false`, or after the task's end.
    ///   - body: What the task does.
    /// - Returns: What the task returned.
    /// - Throws: What the task threw.
    static func run<Value: Sendable>(
        checkingEvery interval: DispatchTimeInterval,
        _ isWanted: () -> Bool,
        _ body: @escaping @Sendable () async throws -> Value
    ) throws -> Value {
        let answer = Answer<Result<Value, any Error>>()
        let task = Task.detached {
            do {
                answer.set(.success(try await body()))
            } catch {
                answer.set(.failure(error))
            }
        }
        while true {
            if let result = answer.value(within: interval) { return try result.get() }
            if !task.isCancelled && !isWanted() { task.cancel() }
        }
    }
}
