import DequeModule

/// Does slow work for one input after another ahead of whoever takes the results, which come in the inputs' order.
///
/// Used by one task at a time. What is under way when it goes is cancelled.
public final class Lookahead<Input: Sendable, Output: Sendable> {
    private let limit: Int
    private let source: () async -> Input?
    private let work: @Sendable (Input) async -> Output
    private var pending: Deque<Task<Output, Never>> = []
    private var isDry = false

    /// Makes one; nothing begins before the first result is asked for.
    ///
    /// - Parameters:
    ///   - limit: How many inputs are worked on at once, at least one: so many results are kept at most.
    ///   - source: Gives the next input; nothing after the last.
    ///   - work: The work, which the results come from.
    public init(
        _ limit: Int,
        from source: @escaping () async -> Input?,
        _ work: @escaping @Sendable (Input) async -> Output
    ) {
        self.limit = limit
        self.source = source
        self.work = work
    }

    deinit {
        for task in self.pending { task.cancel() }
    }

    /// The next result; nothing after the last. Cancelling the task that asks cancels the work that it waits for.
    public func next() async -> Output? {
        while !self.isDry, self.pending.count < self.limit {
            guard let input = await self.source() else {
                self.isDry = true
                break
            }
            let work = self.work
            self.pending.append(Task { await work(input) })
        }
        guard let first = self.pending.popFirst() else { return nil }
        return await withTaskCancellationHandler {
            await first.value
        } onCancel: {
            first.cancel()
        }
    }
}

extension Lookahead {
    /// Takes the inputs from a sequence that is at hand.
    public convenience init(
        _ limit: Int,
        over inputs: some Sequence<Input>,
        _ work: @escaping @Sendable (Input) async -> Output
    ) {
        var inputs = inputs.makeIterator()
        self.init(limit, from: { inputs.next() }, work)
    }
}
