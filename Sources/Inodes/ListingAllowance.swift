/// How many listings may be on their way ahead of programs: large ones take memory that nobody counts until they came.
struct ListingAllowance {
    /// There are always so many, or a walk would not be faster than its program.
    private static let minimum = 2
    /// How many times as much as its names in a table a listing takes while it comes: the answer itself, the names one by
    /// one, and the table's parts.
    private static let share = 4

    /// What they may take together, in bytes.
    private let budget: Int
    private var underWay = 0
    /// What one of the last listings took at most, in bytes; less with each later one that is smaller.
    private var weight = 0

    init(budget: Int) { self.budget = budget }

    /// Whether one more may be asked for.
    var hasRoom: Bool {
        self.underWay < Self.minimum || (self.underWay + 1) * self.weight <= self.budget
    }

    /// How many of the next directories may be listed ahead: more would push out one another before they are wanted.
    var window: Int { self.weight == 0 ? .max : max(Self.minimum, self.budget / (self.weight / Self.share)) }

    /// One is asked for.
    mutating func begin() { self.underWay += 1 }

    /// One has ended, with or without an answer.
    mutating func end() { self.underWay -= 1 }

    /// A listing came, whoever asked for it.
    ///
    /// - Parameter byteCount: What its names take in a table.
    mutating func note(_ byteCount: Int) {
        self.weight = max(byteCount * Self.share, self.weight / 4 * 3 / Self.share * Self.share)
    }
}
