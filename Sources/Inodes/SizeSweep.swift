/// Sees that a program stats a directory's children in listing order, and says how far to ask ahead.
struct SizeSweep {
    /// Open handles through which the directory was read: as long as there is one, a stat is likely followed by the
    /// next.
    var handleCount = 0
    /// Whether a stat of the first file was seen, so that others in order make a sweep.
    var hasBegun: Bool { self.last != nil }
    /// The child that the program is at; -1 before the first.
    private var last: Int?
    private var reached = 0
    private var window = 0

    private static let initialWindow = 64
    /// Enough that as many as may be under way always are, between two stats of the program.
    private static let maximumWindow = 512

    /// Begins without a stat having been seen: the program did so in the directories before.
    ///
    /// - Parameter index: The first child that may not have been asked for yet.
    mutating func begin(from index: Int) {
        guard self.last == nil else { return }
        self.last = -1
        self.reached = index
        self.window = Self.initialWindow
    }

    /// Takes into account that the program stats the child at an index, or has come so far.
    mutating func advance(to index: Int) {
        guard let last = self.last else {
            self.last = index
            self.window = Self.initialWindow
            return
        }
        // Threads that share the work come a little out of order.
        if index <= last, index > last - Self.initialWindow { return }
        // Directories and names already known lie between two that are asked for.
        let isInOrder = index > last && index <= last + max(Self.initialWindow, self.window)
        self.last = index
        if isInOrder {
            self.window = min(max(Self.initialWindow, self.window * 2), Self.maximumWindow)
        } else {
            self.window = 0
            self.reached = 0
        }
    }

    /// The children to ask for that were not yet, end exclusive.
    var range: Range<Int> {
        guard let last = self.last else { return 0..<0 }
        let start = max(self.reached, last + 1)
        return start..<max(start, last + 1 + self.window)
    }

    /// The children before an index need not be asked for any more.
    mutating func reach(_ index: Int) { self.reached = max(self.reached, index) }

    /// A request ahead failed: the program is to meet what is wrong itself.
    mutating func stop() { self.window = 0 }
}
