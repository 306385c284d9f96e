import Synchronization

/// The bytes of bodies, counted as they go: a large one takes seconds, in which something is to be seen.
final class TrafficCounters: Sendable {
    let received = Atomic<UInt64>(0)
    let sent = Atomic<UInt64>(0)
}

/// What a transport has done so far.
public struct TransportCounters: Sendable, Hashable {
    /// Requests handed to it.
    public var requests: UInt64 = 0
    /// Those answered, with whatever status.
    public var responses: UInt64 = 0
    /// Those that failed, not counting cancelled ones.
    public var failures: UInt64 = 0
    /// Those cancelled.
    public var cancellations: UInt64 = 0
    /// Connections opened.
    public var connections: UInt64 = 0
    /// Bytes of bodies received, those of requests on their way too.
    public var bytesReceived: UInt64 = 0
    /// Bytes of bodies sent, those of requests on their way too; small bodies only when they are over.
    public var bytesSent: UInt64 = 0
    /// Requests in flight now.
    public var inFlight: Int = 0
    /// The most there ever were.
    public var inFlightMaximum: Int = 0

    /// Nothing done yet.
    public init() {}

    /// Those of two parts of one transport together; the most that were in flight is then an upper bound.
    static func + (one: TransportCounters, other: TransportCounters) -> TransportCounters {
        var sum = one
        sum.requests += other.requests
        sum.responses += other.responses
        sum.failures += other.failures
        sum.cancellations += other.cancellations
        sum.connections += other.connections
        sum.bytesReceived += other.bytesReceived
        sum.bytesSent += other.bytesSent
        sum.inFlight += other.inFlight
        sum.inFlightMaximum += other.inFlightMaximum
        return sum
    }
}
