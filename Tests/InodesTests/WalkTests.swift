import Primitives
import Testing

@testable import Inodes

@Suite("Which directories a program that goes through a tree comes to next")
struct WalkTests {
    private static let start = ContinuousClock.now
    private static let timeToLive = Duration.seconds(10)

    /// A tree of directories: each has so many, to a depth. A number's children are named by its own.
    private struct Tree {
        let breadth: UInt64
        let depth: Int

        func children(_ directory: InodeNumber) -> [InodeNumber] {
            var number = directory.rawValue
            var level = 0
            while number > 1 {
                number /= 100
                level += 1
            }
            guard level < self.depth else { return [] }
            return (0..<self.breadth).map { InodeNumber(rawValue: directory.rawValue * 100 + $0) }
        }

        /// All of them in the order of a program that goes down first.
        func inOrder(_ directory: InodeNumber = .root) -> [InodeNumber] {
            [directory] + self.children(directory).flatMap { self.inOrder($0) }
        }
    }

    private func directories(_ range: Range<UInt64>) -> [InodeNumber] {
        range.map { InodeNumber(rawValue: $0) }
    }

    /// All that a walk wants listed now; the listings come at once.
    private func wanted(_ walk: inout Walk, _ children: (InodeNumber) -> [InodeNumber] = { _ in [] })
        -> [InodeNumber]
    {
        var wanted: [InodeNumber] = []
        while let next = walk.nextListing(timeToLive: Self.timeToLive, known: { _ in nil }) {
            wanted.append(next)
            walk.expand(next) { children(next) }
        }
        return wanted
    }

    private func open(_ walk: inout Walk, _ directory: InodeNumber, after elapsed: Duration = .zero) -> Bool {
        let now = walk.lastOpened + elapsed
        return walk.open(directory, at: now, timeToLive: Self.timeToLive) != nil
    }

    @Test("The one who opened the first child may open the second; each one that follows doubles the window")
    func grows() throws {
        let all = self.directories(10..<1010)
        var walk = try #require(Walk(all[0], among: all, at: Self.start))
        var counts = [self.wanted(&walk).count]
        for directory in all[1...10] {
            #expect(self.open(&walk, directory))
            counts.append(self.wanted(&walk).count)
        }
        #expect(counts == [1, 2, 3, 5, 9, 17, 33, 65, 1, 1, 1])
        #expect(walk.window == Walk.maximumWindow)
    }

    @Test("The one who opened another child than the first was looking for it")
    func middle() throws {
        let all = self.directories(10..<20)
        var walk = try #require(Walk(all[4], among: all, at: Self.start))
        #expect(self.wanted(&walk).isEmpty)
        #expect(self.open(&walk, all[7]))
        #expect(self.wanted(&walk).isEmpty)
        #expect(self.open(&walk, all[8]))
        #expect(self.wanted(&walk) == [all[9]])
    }

    @Test("Each directory of a tree is wanted once at most", arguments: [(2, 9), (40, 2), (1, 30), (5, 4)])
    func everyOne(breadth: Int, depth: Int) throws {
        let tree = Tree(breadth: UInt64(breadth), depth: min(depth, 8))
        let order = Array(tree.inOrder().dropFirst())
        var walk = try #require(Walk(order[0], among: tree.children(.root), at: Self.start))
        var asked: [InodeNumber] = []
        for directory in order {
            #expect(directory == order[0] || self.open(&walk, directory))
            walk.expand(directory) { tree.children(directory) }
            asked += self.wanted(&walk, tree.children)
        }
        #expect(Set(asked).count == asked.count)
        // All but the one that began the walk and those that come before the second is known.
        #expect(asked.count >= order.count - 2 * tree.depth)
    }

    @Test("What is below a directory that was listed ahead comes before its siblings")
    func depthFirst() throws {
        let tree = Tree(breadth: 10, depth: 2)
        let top = tree.children(.root)
        var walk = try #require(Walk(top[0], among: top, at: Self.start))
        walk.expand(top[0]) { [] }
        #expect(self.wanted(&walk, tree.children) == [top[1]])
        #expect(self.open(&walk, top[1]))
        let below = tree.children(top[1])
        #expect(self.wanted(&walk, tree.children) == [below[0], below[1]])
        #expect(self.open(&walk, below[0]))
        #expect(self.wanted(&walk, tree.children) == Array(below[2...4]))
    }

    @Test("Who leaves out what was listed for it is listed less for")
    func leavesOut() throws {
        let all = self.directories(10..<1010)
        var walk = try #require(Walk(all[0], among: all, at: Self.start))
        for directory in all[1...10] {
            #expect(self.open(&walk, directory))
            _ = self.wanted(&walk)
        }
        for index in stride(from: 12, through: 60, by: 2) {
            #expect(self.open(&walk, all[index]))
            _ = self.wanted(&walk)
        }
        #expect(walk.window == 0)
    }

    @Test("Threads that share a walk open directories a little out of order, and are listed for all the same")
    func threads() throws {
        let all = self.directories(10..<1010)
        var walk = try #require(Walk(all[0], among: all, at: Self.start))
        for start in stride(from: 1, to: 801, by: 4) {
            for index in [1, 0, 3, 2] {
                #expect(self.open(&walk, all[start + index]))
                _ = self.wanted(&walk)
            }
        }
        #expect(walk.window >= 32)
    }

    @Test("A slow walk is listed ahead for no further than it comes within half the time to live")
    func pace() throws {
        let all = self.directories(10..<1010)
        var walk = try #require(Walk(all[0], among: all, at: Self.start))
        for directory in all[1...20] {
            #expect(self.open(&walk, directory, after: .seconds(1)))
            _ = self.wanted(&walk)
        }
        #expect(walk.nextListing(timeToLive: Self.timeToLive) { _ in nil } == nil)
        // The one opened last is all[20].
        #expect(walk.open(all[26], at: walk.lastOpened, timeToLive: Self.timeToLive) != nil)
        #expect(self.wanted(&walk).first == all[27])
    }

    @Test("What was listed longer ago than it is believed is listed again")
    func old() throws {
        let all = self.directories(10..<1010)
        var walk = try #require(Walk(all[0], among: all, at: Self.start))
        for directory in all[1...10] {
            #expect(self.open(&walk, directory, after: .milliseconds(1)))
            _ = self.wanted(&walk)
        }
        #expect(self.open(&walk, all[11], after: Self.timeToLive))
        for directory in all[12...30] {
            #expect(self.open(&walk, directory, after: .milliseconds(1)))
        }
        #expect(self.wanted(&walk).first == all[31])
    }

    @Test("A walk that stands still has no more listed ahead than the window for each level of the tree")
    func standsStill() throws {
        let tree = Tree(breadth: 50, depth: 3)
        let order = Array(tree.inOrder().dropFirst())
        var walk = try #require(Walk(order[0], among: tree.children(.root), at: Self.start))
        for directory in order[0..<40] {
            if directory != order[0] { #expect(self.open(&walk, directory)) }
            walk.expand(directory) { tree.children(directory) }
        }
        #expect(self.wanted(&walk, tree.children).count <= 3 * Walk.maximumWindow)
    }

    @Test("Where a listing ahead fails, nothing is listed ahead until the walk has gone on")
    func fails() throws {
        let all = self.directories(10..<1010)
        var walk = try #require(Walk(all[0], among: all, at: Self.start))
        for directory in all[1...4] { #expect(self.open(&walk, directory)) }
        let next = try #require(walk.nextListing(timeToLive: Self.timeToLive) { _ in nil })
        walk.fail(at: next)
        #expect(self.wanted(&walk).isEmpty)
        #expect(self.open(&walk, next))
        #expect(self.wanted(&walk) == [all[6]])
    }

    @Test("Sizes are wanted only for a program that asked for two, and for 512 files ahead at most")
    func sizes() throws {
        let all = self.directories(10..<1010)
        var walk = try #require(Walk(all[0], among: all, at: Self.start))
        for directory in all[1...10] {
            #expect(self.open(&walk, directory))
            _ = self.wanted(&walk)
        }
        func sizes() -> Int {
            var count = 0
            while walk.nextSize(timeToLive: Self.timeToLive, next: { $1 < 30 ? ($1, ()) : nil }) != nil {
                count += 1
            }
            return count
        }
        #expect(sizes() == 0)
        walk.noteStat(in: all[10])
        #expect(sizes() == 0)
        walk.noteStat(in: all[10])
        #expect(sizes() == 512)
        #expect(walk.open(all[11], at: walk.lastOpened, timeToLive: Self.timeToLive) == .max)
        #expect(sizes() == 30)
    }
}
