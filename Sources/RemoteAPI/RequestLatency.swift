/// How long the service takes to begin its answers: all of them in classes, and the last ones one by one.
public struct RequestLatency: Sendable, Hashable {
    /// The classes' upper bounds in seconds, the bound included; what is slower than the last is in none.
    public static let bounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

    /// How many answers each class has.
    public private(set) var counts = [UInt64](repeating: 0, count: Self.bounds.count)
    /// How many answers there were.
    public private(set) var count: UInt64 = 0
    /// What they took together, in seconds.
    public private(set) var sum = 0.0
    /// The last ones in seconds, in a ring.
    private var recent: [Double] = []

    /// How many are remembered one by one: the last moments of a busy mount, and few enough to be sorted when asked for.
    private static let recentCount = 64

    /// Nothing measured yet.
    public init() {}

    /// Takes one answer into account.
    ///
    /// - Parameter duration: From the request to the answer's first byte.
    public mutating func add(_ duration: Duration) {
        let seconds = max(0, duration / .seconds(1))
        if let index = Self.bounds.firstIndex(where: { seconds <= $0 }) { self.counts[index] += 1 }
        if self.recent.count < Self.recentCount {
            self.recent.append(seconds)
        } else {
            self.recent[Int(self.count % UInt64(Self.recentCount))] = seconds
        }
        self.count += 1
        self.sum += seconds
    }

    /// What a part of the last answers did not exceed.
    ///
    /// - Parameter part: Which part, 0.5 for the median.
    /// - Returns: Seconds; nothing before the first answer.
    public func recentSeconds(_ part: Double) -> Double? {
        guard !self.recent.isEmpty else { return nil }
        let index = Int((Double(self.recent.count) * part).rounded(.up)) - 1
        return self.recent.sorted()[min(max(0, index), self.recent.count - 1)]
    }
}
