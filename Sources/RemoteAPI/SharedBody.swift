import Synchronization
import Transport

/// A body that one request fills, or two side by side: each byte is handed on once and in order, and no more than was
/// asked for.
///
/// The second request begins where the first one had come to. What the first one brings meanwhile is dropped from the
/// second one's bytes; as soon as that brings more than is there, it goes on alone.
final class SharedBody: Sendable {
    private struct State {
        var delivered: UInt64 = 0
        /// Whether the second request goes on alone.
        var isOvertaken = false
        var isClosed = false
        var hasOverflowed = false
        var wasRefused = false
    }

    /// How many bytes were asked for.
    let limit: UInt64
    private let sink: any BodySink
    private let state = Mutex(State())

    init(_ sink: any BodySink, limit: UInt64) {
        self.sink = sink
        self.limit = limit
    }

    /// How many bytes were handed on.
    var count: UInt64 { self.state.withLock(\.delivered) }
    /// Whether more came than was asked for.
    var hasOverflowed: Bool { self.state.withLock(\.hasOverflowed) }
    /// Whether the sink took no more.
    var wasRefused: Bool { self.state.withLock(\.wasRefused) }
    /// Whether the second request goes on alone.
    var isOvertaken: Bool { self.state.withLock(\.isOvertaken) }

    /// What the first request fills.
    func first() -> any BodySink { Lane(self, isSecond: false, start: 0) {} }

    /// What the second request fills; nothing if all that was asked for is there. `overtakes` is called once, when it
    /// goes on alone.
    func second(overtakes: @escaping @Sendable () -> Void) -> Lane? {
        let start = self.count
        return start < self.limit ? Lane(self, isSecond: true, start: start, overtakes: overtakes) : nil
    }

    /// Hands nothing on any more: who asked has got their answer.
    func close() { self.state.withLock { $0.isClosed = true } }

    /// One request's way to the body.
    final class Lane: BodySink {
        /// Where the request begins.
        let start: UInt64
        private let body: SharedBody
        private let isSecond: Bool
        private let overtakes: @Sendable () -> Void
        /// How far it has come. Written with the body's state locked.
        private let position: Atomic<UInt64>

        fileprivate init(
            _ body: SharedBody,
            isSecond: Bool,
            start: UInt64,
            overtakes: @escaping @Sendable () -> Void
        ) {
            self.body = body
            self.isSecond = isSecond
            self.start = start
            self.overtakes = overtakes
            self.position = Atomic(start)
        }

        /// Whether it has come as far as the bytes handed on, so that its end is the body's.
        var isAbreast: Bool { self.position.load(ordering: .acquiring) == self.body.count }

        /// A body that is longer than what was asked for is of another place, as from a server that sends the whole file:
        /// none of it is handed on.
        func begin(_ count: UInt64) -> Bool {
            guard count > self.body.limit - self.start else { return true }
            self.body.state.withLock { $0.hasOverflowed = true }
            return false
        }

        func receive(_ bytes: UnsafeRawBufferPointer) -> Bool {
            let (isTaken, overtakesNow) = self.body.state.withLock { self.receive(bytes, &$0) }
            if overtakesNow { self.overtakes() }
            return isTaken
        }

        private func receive(_ bytes: UnsafeRawBufferPointer, _ state: inout State) -> (Bool, Bool) {
            guard !state.isClosed, self.isSecond || !state.isOvertaken else { return (false, false) }
            let position = self.position.load(ordering: .relaxed)
            self.position.store(position + UInt64(bytes.count), ordering: .releasing)
            let known = state.delivered - position
            guard UInt64(bytes.count) > known else { return (true, false) }
            let overtakesNow = self.isSecond && !state.isOvertaken
            if overtakesNow { state.isOvertaken = true }
            if overtakesNow, state.delivered > 0 { self.body.sink.willJoin() }
            let rest = UnsafeRawBufferPointer(rebasing: bytes[Int(known)...])
            guard UInt64(rest.count) <= self.body.limit - state.delivered else {
                state.hasOverflowed = true
                return (false, overtakesNow)
            }
            guard self.body.sink.receive(rest) else {
                state.wasRefused = true
                return (false, overtakesNow)
            }
            state.delivered += UInt64(rest.count)
            return (true, overtakesNow)
        }
    }
}
