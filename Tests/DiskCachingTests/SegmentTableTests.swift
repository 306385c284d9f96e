import Testing

@testable import DiskCaching

@Suite("Which segment goes next")
struct SegmentTableTests {
    private var table = SegmentTable()

    private mutating func add(_ count: Int) -> [UInt32] { (0..<count).map { _ in self.table.add() } }

    @Test("The one that was written first goes first, and never the one that is written to")
    mutating func order() {
        #expect(self.table.victim == nil)
        let numbers = self.add(3)
        #expect(self.table.victim == numbers[0])
        self.table.remove(numbers[0])
        #expect(self.table.victim == numbers[1])
        self.table.remove(numbers[1])
        #expect(self.table.victim == nil)
    }

    @Test("What was read back outlives any number that was not")
    mutating func scan() {
        let hot = self.table.add()
        self.table.touch(hot, capacity: 10)
        for _ in 0..<100 {
            _ = self.table.add()
            while self.table.count > 10, let victim = self.table.victim { self.table.remove(victim) }
        }
        #expect(self.table.contains(hot))
    }

    @Test("Not more than three quarters are protected: the one longest unused loses it first")
    mutating func cap() {
        let numbers = self.add(9)
        for number in numbers.prefix(6) { self.table.touch(number, capacity: 8) }
        #expect(self.table.segments[numbers[0]]?.isProtected == true)
        self.table.touch(numbers[6], capacity: 8)
        #expect(self.table.segments[numbers[0]]?.isProtected == false)
        #expect(self.table.segments.values.count { $0.isProtected } == 6)
        // It was used later than the one that was never read back.
        #expect(self.table.victim == numbers[7])
        self.table.remove(numbers[7])
        #expect(self.table.victim == numbers[0])
    }

    @Test("Where all are protected, the one longest unused goes")
    mutating func allProtected() {
        let numbers = self.add(3)
        for number in [numbers[1], numbers[0], numbers[2]] { self.table.touch(number, capacity: 100) }
        #expect(self.table.victim == numbers[1])
    }

    @Test("A use is to be written down once, and again if that failed")
    mutating func changes() {
        let numbers = self.add(2)
        #expect(Set(self.table.takeChanges().keys) == Set(numbers))
        #expect(self.table.changeCount == 0)
        self.table.touch(numbers[0], capacity: 10)
        self.table.touch(numbers[0], capacity: 10)
        let changes = self.table.takeChanges()
        #expect(Array(changes.keys) == [numbers[0]])
        self.table.restoreChanges(changes.keys)
        self.table.remove(numbers[0])
        #expect(self.table.takeChanges().isEmpty)
    }

    @Test("A number is never given twice, also not by the next process")
    mutating func numbers() {
        let numbers = self.add(3)
        self.table.remove(numbers[0])
        var next = SegmentTable(self.table.segments)
        #expect(next.add() > numbers[2])
    }

    @Test("The next process goes on with the order and the protection that were written down")
    mutating func restored() {
        let numbers = self.add(4)
        self.table.touch(numbers[0], capacity: 10)
        let next = SegmentTable(self.table.segments)
        #expect(next.victim == numbers[1])
        #expect(next.newest == numbers[3])
    }
}
