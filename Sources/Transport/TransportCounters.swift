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
    /// Bytes of bodies received.
    public var bytesReceived: UInt64 = 0
    /// Bytes of bodies sent.
    public var bytesSent: UInt64 = 0
    /// Requests in flight now.
    public var inFlight: Int = 0
    /// The most there ever were.
    public var inFlightMaximum: Int = 0

    /// Nothing done yet.
    public init() {}
}
