/// How many requests may be on the way at once: halved when the server refuses for being asked too much, and grown by
/// one for each windowful of answers (additive increase, multiplicative decrease, as RFC 5681 has it for TCP).
struct ConcurrencyWindow {
    /// The most that it grows to.
    let maximum: Int
    /// How often it was halved. Requests remember it from their start: those that were on the way when it was halved
    /// say nothing of the new size.
    private(set) var round: UInt64 = 0
    private var size: Double

    /// Two keep one place for what is waited for beside what is asked for ahead.
    private static let minimum = 2

    init(maximum: Int) {
        self.maximum = max(1, maximum)
        self.size = Double(self.maximum)
    }

    /// How many requests may be on the way.
    var limit: Int { Int(self.size) }

    /// How many of them may be there with a request ahead of need among them: of large bodies, which keep their places
    /// for long, an eighth stays for what is waited for, and else one place, where there are two.
    func aheadLimit(isSmall: Bool) -> Int {
        let limit = self.limit
        return limit > 1 ? limit - (isSmall ? 1 : max(1, limit / 8)) : limit
    }

    /// The server refused a request that began in a round.
    mutating func shrink(round: UInt64) {
        guard round == self.round else { return }
        self.size = max(Double(min(Self.minimum, self.maximum)), self.size / 2)
        self.round += 1
    }

    /// The server answered a request that began in a round.
    mutating func grow(round: UInt64) {
        guard round == self.round else { return }
        self.size = min(Double(self.maximum), self.size + 1 / self.size)
    }
}
