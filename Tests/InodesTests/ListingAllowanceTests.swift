import Primitives
import TestKit
import Testing
import WireFormat

@testable import Inodes

@Suite("How many listings may be on their way ahead of programs", .timeLimit(.minutes(5)))
struct ListingAllowanceTests {
    /// How many may be asked for at once.
    private func room(_ allowance: ListingAllowance) -> Int {
        var allowance = allowance
        var count = 0
        while count < 1000, allowance.hasRoom {
            allowance.begin()
            count += 1
        }
        return count
    }

    @Test("As long as none came, or all were small, nothing bounds them")
    func small() {
        var allowance = ListingAllowance(budget: 1 << 20)
        #expect(self.room(allowance) == 1000)
        for _ in 0..<100 { allowance.note(250) }
        #expect(self.room(allowance) == 1000)
    }

    @Test("After a large one there are as many as the budget holds of its kind, and two whatever its size")
    func large() {
        var allowance = ListingAllowance(budget: 1 << 20)
        allowance.note(1 << 16)
        #expect(self.room(allowance) == 4)
        allowance.note(1 << 30)
        #expect(self.room(allowance) == 2)
        allowance.begin()
        allowance.begin()
        #expect(!allowance.hasRoom)
        allowance.end()
        #expect(allowance.hasRoom)
    }

    @Test("A large one among small ones is forgotten")
    func decay() {
        var allowance = ListingAllowance(budget: 1 << 20)
        allowance.note(1 << 20)
        var counts: [Int] = []
        for _ in 0..<30 {
            allowance.note(250)
            counts.append(self.room(allowance))
        }
        #expect(counts.first == 2)
        #expect(counts == counts.sorted())
        #expect(counts.last == 1000)
    }

    @Test("No more are listed ahead than memory keeps until the program comes to them")
    func kept() {
        var allowance = ListingAllowance(budget: 1 << 20)
        #expect(allowance.window == .max)
        allowance.note(1 << 16)
        #expect(allowance.window == 16)
        allowance.note(1 << 30)
        #expect(allowance.window == 2)
    }

    @Test(
        "A walk over directories of many names lists few of them ahead, one over small ones as many as it can",
        arguments: [(10, Ahead.places, 63), (20_000, 2, 3)]
    )
    func walk(count: Int, most: Int, all: Int) async throws {
        let fixture = Fixture(listingBudget: 4 << 20)
        for index in 100..<300 { fixture.remote.makeWideDirectory("d\(index)", count: count) }
        let namespace = fixture.namespace
        namespace.pin(.root)
        try await namespace.refresh(.root)
        namespace.beginReading(.root)
        let directories = Array(namespace.snapshot(.root))
        for directory in directories.prefix(3) {
            _ = namespace.known(directory.name, in: .root)
            try await namespace.refresh(directory.inode)
        }
        fixture.remote.forgetCalls()
        let hold = fixture.remote.hold(.list)
        for directory in directories.prefix(2) { namespace.noteOpened(directory.inode) }
        await hold.reached(most)
        hold.release()
        while namespace.ahead.withLock(\.inFlight) > 0 { await Task.yield() }
        #expect(fixture.remote.inFlightMaximum(.list) == most)
        #expect(fixture.remote.count(.list) == all)
        // All of them are still there when the program comes to them.
        for directory in directories[3..<(3 + all)] { #expect(namespace.isListed(directory.inode)) }
    }
}
