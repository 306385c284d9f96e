import Primitives
import TestKit
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

    private func places(_ directories: [InodeNumber]) -> [Sibling] {
        directories.map { Sibling(directory: .root, name: name("d\($0.rawValue)"), inode: $0) }
    }

    /// The walk of a program that has opened one of some directories.
    private func walk(_ all: [InodeNumber], from index: Int = 0, isNext: Bool = true) -> Walk {
        Walk(all[index], before: self.places(Array(all[(index + 1)...])), isNext: isNext, at: Self.start)
    }

    /// All that a walk wants listed now; the listings come at once.
    private func wanted(_ walk: inout Walk, _ children: (InodeNumber) -> [InodeNumber] = { _ in [] })
        -> [InodeNumber]
    {
        var wanted: [InodeNumber] = []
        while let next = walk.nextListing(timeToLive: Self.timeToLive, known: { _ in nil }) {
            wanted.append(next.inode)
            walk.expand(next.inode) { self.places(children(next.inode)) }
        }
        return wanted
    }

    private func open(_ walk: inout Walk, _ directory: InodeNumber, after elapsed: Duration = .zero) -> Bool {
        let now = walk.lastOpened + elapsed
        return walk.open(directory, at: now, timeToLive: Self.timeToLive) != nil
    }

    @Test("Who opened the first child may open the second; who does gets as many as can be under way")
    func grows() {
        let all = self.directories(10..<1010)
        var walk = self.walk(all)
        var counts = [self.wanted(&walk).count]
        for directory in all[1...10] {
            #expect(self.open(&walk, directory))
            counts.append(self.wanted(&walk).count)
        }
        #expect(counts == [1, 64, 65, 1, 1, 1, 1, 1, 1, 1, 1])
        #expect(walk.window == Walk.maximumWindow)
    }

    @Test("Who left some out before is listed for once two are opened one after the other")
    func middle() {
        let all = self.directories(10..<20)
        var walk = self.walk(all, from: 4, isNext: false)
        #expect(self.wanted(&walk).isEmpty)
        #expect(self.open(&walk, all[7]))
        #expect(self.wanted(&walk).isEmpty)
        #expect(self.open(&walk, all[8]))
        #expect(self.wanted(&walk) == [all[9]])
    }

    @Test("Each directory of a tree is wanted once at most", arguments: [(2, 9), (40, 2), (1, 30), (5, 4)])
    func everyOne(breadth: Int, depth: Int) {
        let tree = Tree(breadth: UInt64(breadth), depth: min(depth, 8))
        let order = Array(tree.inOrder().dropFirst())
        var walk = self.walk(tree.children(.root))
        var asked: [InodeNumber] = []
        for directory in order {
            #expect(directory == order[0] || self.open(&walk, directory))
            walk.expand(directory) { self.places(tree.children(directory)) }
            asked += self.wanted(&walk, tree.children)
        }
        #expect(Set(asked).count == asked.count)
        // All but the one that began the walk and those that come before the second is known.
        #expect(asked.count >= order.count - 2 * tree.depth)
    }

    @Test("What is below a directory that was listed ahead comes before its siblings")
    func depthFirst() {
        let tree = Tree(breadth: 10, depth: 2)
        let top = tree.children(.root)
        var walk = self.walk(top)
        walk.expand(top[0]) { [] }
        #expect(self.wanted(&walk, tree.children) == [top[1]])
        #expect(self.open(&walk, top[1]))
        let below = tree.children(top[1])
        let others = top[2...].flatMap { [$0] + tree.children($0) }
        #expect(self.wanted(&walk, tree.children) == Array((below + others).prefix(64)))
    }

    @Test("Where few directories have many each, as many are listed at once as can be from first to last")
    func rounds() {
        let tree = Tree(breadth: 99, depth: 2)
        // Few that have many: none is left to be listed while what is in the next one is not known.
        let top = self.children(of: .root, tree).prefix(20)
        let order = top.flatMap { tree.inOrder($0.inode) }
        let places = 60
        var walk = Walk(order[0], before: Array(top.dropFirst()), isNext: true, at: Self.start)
        var listed = Set(top.prefix(2).map(\.inode))
        #expect(walk.nextListing(timeToLive: Self.timeToLive, known: { _ in nil }) == top[1])
        for directory in listed { walk.expand(directory) { self.children(of: directory, tree) } }
        var opened = 0
        var askedCounts: [Int] = []
        while opened + 1 < order.count, askedCounts.count < order.count {
            // The program goes on until it comes to one that is not listed, and asks for that itself.
            while opened + 1 < order.count, listed.contains(order[opened + 1]) {
                opened += 1
                #expect(self.open(&walk, order[opened]))
            }
            var asked: [InodeNumber] = []
            if opened + 1 < order.count {
                opened += 1
                #expect(self.open(&walk, order[opened]))
                if !listed.contains(order[opened]) { asked.append(order[opened]) }
            }
            while asked.count < places,
                let next = walk.nextListing(timeToLive: Self.timeToLive, known: { _ in nil })
            {
                asked.append(next.inode)
            }
            askedCounts.append(asked.count)
            for directory in asked where listed.insert(directory).inserted {
                walk.expand(directory) { self.children(of: directory, tree) }
            }
        }
        #expect(opened + 1 == order.count)
        // But for what is left at the end.
        #expect(askedCounts.prefix(32).allSatisfy { $0 == places }, "\(askedCounts)")
    }

    private func children(of directory: InodeNumber, _ tree: Tree) -> [Sibling] {
        tree.children(directory).map {
            Sibling(directory: directory, name: name("d\($0.rawValue)"), inode: $0)
        }
    }

    @Test("What is listed ahead shows what is in it, however much stands before it by then")
    func manyBefore() {
        let tree = Tree(breadth: 40, depth: 2)
        let top = tree.children(.root)
        var walk = self.walk(top)
        walk.expand(top[0]) { [] }
        #expect(self.wanted(&walk) == [top[1]])
        #expect(self.open(&walk, top[1]))
        var asked: [InodeNumber] = []
        while let next = walk.nextListing(timeToLive: Self.timeToLive, known: { _ in nil }) {
            asked.append(next.inode)
        }
        #expect(asked == Array(top[2...]))
        for directory in asked { walk.expand(directory) { self.places(tree.children(directory)) } }
        #expect(walk.remaining.count == asked.count * 41)
    }

    @Test("A walk past 100,000 directories beside each other is quick", .timeLimit(.minutes(5)))
    func manyBeside() {
        let all = self.directories(10..<100_010)
        var walk = self.walk(all)
        for directory in all[1...] {
            let isOn = self.open(&walk, directory)
            walk.expand(directory) { [] }
            // As the directory is told of twice: once listed ahead, and once read.
            walk.expand(directory) { [] }
            guard isOn else {
                Issue.record("\(directory) is not on the walk")
                return
            }
            _ = self.wanted(&walk)
        }
        #expect(walk.remaining.isEmpty)
    }

    @Test("Who leaves out what was listed for it is listed less for")
    func leavesOut() {
        let all = self.directories(10..<1010)
        var walk = self.walk(all)
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
    func threads() {
        let all = self.directories(10..<1010)
        var walk = self.walk(all)
        for start in stride(from: 1, to: 801, by: 4) {
            for index in [1, 0, 3, 2] {
                #expect(self.open(&walk, all[start + index]))
                _ = self.wanted(&walk)
            }
        }
        #expect(walk.window >= 32)
    }

    @Test("A slow walk is listed ahead for no further than it comes within half the time to live")
    func pace() {
        let all = self.directories(10..<1010)
        var walk = self.walk(all)
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
    func old() {
        let all = self.directories(10..<1010)
        var walk = self.walk(all)
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
    func standsStill() {
        let tree = Tree(breadth: 50, depth: 3)
        let order = Array(tree.inOrder().dropFirst())
        var walk = self.walk(tree.children(.root))
        for directory in order[0..<40] {
            if directory != order[0] { #expect(self.open(&walk, directory)) }
            walk.expand(directory) { self.places(tree.children(directory)) }
        }
        #expect(self.wanted(&walk, tree.children).count <= 3 * Walk.maximumWindow)
    }

    @Test("Where a listing ahead fails, nothing is listed ahead until the walk has gone on")
    func fails() throws {
        let all = self.directories(10..<1010)
        var walk = self.walk(all)
        for directory in all[1...4] { #expect(self.open(&walk, directory)) }
        let next = try #require(walk.nextListing(timeToLive: Self.timeToLive) { _ in nil })
        walk.fail(at: next.inode)
        #expect(self.wanted(&walk).isEmpty)
        #expect(self.open(&walk, next.inode))
        #expect(self.wanted(&walk) == [all[6]])
    }

    @Test("Sizes are wanted only for a program that asked for two, and for 512 files ahead at most")
    func sizes() {
        let all = self.directories(10..<1010)
        var walk = self.walk(all)
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

    @Test("A walk with nothing left to ask for is not gone through again before it goes on, or more is known")
    func idle() {
        let all = self.directories(10..<1010)
        var walk = self.walk(all)
        for directory in all[1...10] { #expect(self.open(&walk, directory)) }
        for _ in 0..<2 { walk.noteStat(in: all[10]) }
        /// How many directories were looked at until there was nothing left to ask for.
        func look(limit: Int = .max) -> Int {
            let before = walk.lookCount
            while walk.nextListing(timeToLive: Self.timeToLive, limit: limit, known: { _ in nil }) != nil {}
            while walk.nextSize(timeToLive: Self.timeToLive, next: { $1 < 2 ? ($1, ()) : nil }) != nil {}
            return walk.lookCount - before
        }
        #expect(look(limit: 5) > 0)
        #expect(look(limit: 5) == 0)
        // More may be listed at once by now.
        #expect(look() > 0)
        #expect(look() == 0)
        walk.expand(all[11]) { [] }
        #expect(look() > 0)
        #expect(look() == 0)
        #expect(self.open(&walk, all[11]))
        #expect(look() > 0)
    }
}

@Suite("What remains of walks", .timeLimit(.minutes(5)))
struct WalkNodesTests {
    private let fixture = Fixture()

    /// So many directories, read by a program.
    private func directories(_ count: Int) async throws -> [Namespace.Dirent] {
        for index in 0..<count { self.fixture.remote.makeDirectory("d\(1000 + index)") }
        try await self.fixture.namespace.refresh(.root)
        self.fixture.namespace.beginReading(.root)
        self.fixture.namespace.endReading(.root)
        return Array(self.fixture.namespace.snapshot(.root))
    }

    /// A program opens a directory, and the kernel forgets it.
    private func open(_ directory: Namespace.Dirent) async {
        let namespace = self.fixture.namespace
        _ = namespace.known(directory.name, in: .root)
        _ = namespace.countLookup(directory.inode)
        namespace.noteOpened(directory.inode)
        namespace.forget(directory.inode, count: 1)
        while namespace.ahead.withLock(\.inFlight) > 0 { await Task.yield() }
    }

    private var walkCount: Int { self.fixture.namespace.ahead.withLock { $0.walks.count } }

    @Test("Directories opened in reverse, or each far from the other, are no walk")
    func noOrder() async throws {
        let all = try await self.directories(300)
        for directory in all.reversed().prefix(10) { await self.open(directory) }
        for index in [50, 200, 10, 100, 250] { await self.open(all[index]) }
        #expect(self.walkCount == 0)
        #expect(self.fixture.namespace.memory.nodeCount == 1)
        #expect(self.fixture.remote.count(.list) == 1)
    }

    @Test("Directories opened one after the other are a walk, wherever it begins")
    func fromTheMiddle() async throws {
        let all = try await self.directories(300)
        for directory in all[100..<103] { await self.open(directory) }
        // The second one is followed by one, the third by as many as can be under way.
        #expect(self.fixture.remote.count(.list) == 1 + 1 + 64)
        // What was listed ahead and not opened yet.
        #expect(self.fixture.namespace.memory.nodeCount == 1 + 64)
    }

    @Test("What a walk lists ahead and its program leaves out is not kept")
    func leftOut() async throws {
        let all = try await self.directories(300)
        for directory in all[0..<6] { await self.open(directory) }
        #expect(self.fixture.namespace.memory.nodeCount > 16)
        for index in stride(from: 60, to: 300, by: 8) { await self.open(all[index]) }
        #expect(self.fixture.namespace.memory.nodeCount < 16)
        self.fixture.expire()
        await self.open(all[5])
        #expect(self.walkCount == 0)
        #expect(self.fixture.namespace.memory.nodeCount == 1)
    }
}
