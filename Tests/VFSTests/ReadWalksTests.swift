import Inodes
import Primitives
import TestKit
import Testing
import WireFormat

@testable import VFS

/// A program that reads files of directories, and what is asked for ahead of it.
private struct Walker {
    var walks: ReadWalks
    var now = ContinuousClock.now
    let fileCount: Int
    let size: UInt64

    init(fileCount: Int = 1000, size: UInt64 = 4096, byteLimit: UInt64 = 16 << 20) {
        self.walks = ReadWalks(byteLimit: byteLimit)
        self.fileCount = fileCount
        self.size = size
    }

    func file(_ index: Int, in directory: UInt64) -> Sibling {
        Sibling(
            directory: InodeNumber(rawValue: directory),
            name: name("f\(10_000 + index)"),
            inode: InodeNumber(rawValue: directory * 100_000 + UInt64(index))
        )
    }

    private func inode(_ index: Int, in directory: UInt64) -> InodeNumber? {
        0..<self.fileCount ~= index ? self.file(index, in: directory).inode : nil
    }

    /// Reads a file; returns which files are asked for then.
    mutating func read(_ index: Int, in directory: UInt64 = 1) -> [Int] {
        let neighbours = (self.inode(index - 1, in: directory), self.inode(index + 1, in: directory))
        let file = self.file(index, in: directory)
        return self.take(self.walks.didRead(file, size: self.size, neighbours: neighbours, at: self.now))
    }

    /// Comes into a directory from another one; returns which files are asked for then.
    mutating func enter(_ directory: UInt64, from origin: UInt64, isEmpty: Bool = false) -> [Int] {
        let (directory, origin) = (InodeNumber(rawValue: directory), InodeNumber(rawValue: origin))
        guard self.walks.origins(of: directory, parent: nil, at: self.now).contains(origin) else { return [] }
        return self.take(self.walks.enter(directory, from: origin, isEmpty: isEmpty, at: self.now))
    }

    private mutating func take(_ ahead: ReadWalks.Ahead?) -> [Int] {
        guard let ahead else { return [] }
        let directory = ahead.directory.rawValue
        let first = ahead.name.flatMap { Int($0.string.dropFirst()) }.map { $0 - 10_000 + 1 } ?? 0
        var taken: [Int] = []
        for index in first..<max(first, min(first + ahead.count, self.fileCount)) {
            guard self.walks.take(self.file(index, in: directory), size: nil, countedBytes: { $0 }) else {
                break
            }
            taken.append(index)
        }
        return taken
    }
}

@Suite("Which files are asked for ahead of a program that reads one after the other")
struct ReadWalksTests {
    @Test("Two files in a row make a pattern, whose window doubles up to 48")
    func growth() {
        var walker = Walker()
        #expect(walker.read(10) == [])
        #expect(walker.read(11) == [12, 13])
        #expect(walker.read(12) == Array(14...16))
        #expect(walker.read(13) == Array(17...21))
        for index in 14..<60 { _ = walker.read(index) }
        #expect(walker.walks.unreadCount == 48)
        #expect(walker.read(60) == [108 + 1 - 1])
    }

    @Test("Every file of a directory is asked for once, and none after the last")
    func once() {
        var walker = Walker(fileCount: 200)
        var asked: [Int] = []
        for index in 0..<200 { asked += walker.read(index) }
        #expect(asked == Array(2..<200))
        #expect(walker.walks.unreadCount == 0)
    }

    @Test("Files read backwards, every second one, or one again and again cause no requests")
    func noPattern() {
        var walker = Walker()
        for index in (0..<100).reversed() { #expect(walker.read(index) == []) }
        for index in stride(from: 100, to: 300, by: 2) { #expect(walker.read(index) == []) }
        for _ in 0..<10 { #expect(walker.read(500) == []) }
    }

    @Test("A step back, or over what is ahead, ends the pattern")
    func stops() {
        var walker = Walker()
        for index in 0..<10 { _ = walker.read(index) }
        #expect(walker.read(3) == [])
        #expect(walker.walks.unreadCount == 0)
        #expect(walker.read(500) == [])
        #expect(walker.read(501) == [502, 503])
    }

    @Test("A program that turns to every second file causes a handful of vain requests and no more")
    func skips() {
        var walker = Walker()
        for index in 0..<10 { _ = walker.read(index) }
        var asked = 0
        for index in stride(from: 11, to: 500, by: 2) { asked += walker.read(index).count }
        #expect(asked <= 48)
        #expect(walker.walks.unreadCount == 0)
    }

    @Test("Workers that read a little out of order keep the pattern")
    func workers() {
        var walker = Walker(fileCount: 400)
        for index in 0..<8 { _ = walker.read(index) }
        for index in stride(from: 8, to: 390, by: 4) {
            for step in [2, 0, 3, 1] { _ = walker.read(index + step) }
            let isActive = walker.walks.isActive(InodeNumber(rawValue: 1))
            #expect(isActive)
        }
    }

    @Test("Programs in different directories have their own patterns, and share what may be ahead")
    func several() {
        var walker = Walker()
        for index in 0..<40 {
            for directory in 1...3 { _ = walker.read(index, in: UInt64(directory)) }
        }
        #expect(walker.walks.unreadCount <= 48)
        for directory in 1...3 { #expect(walker.walks.isActive(InodeNumber(rawValue: UInt64(directory)))) }
    }

    @Test("The next directory begins with the window that the last one ended with, once")
    func carriesOver() {
        var walker = Walker(fileCount: 100)
        for index in 0..<100 { _ = walker.read(index, in: 1) }
        #expect(walker.enter(2, from: 1).count == 48)
        #expect(walker.enter(3, from: 1) == [])
        #expect(walker.read(0, in: 2) == [48])
        #expect(walker.read(1, in: 2) == [49])
    }

    @Test("Of two tasks that come into a directory at once, both are given up in the end")
    func enteredTwice() {
        var walker = Walker(fileCount: 100)
        for directory in 1...2 { for index in 0..<100 { _ = walker.read(index, in: UInt64(directory)) } }
        let next = InodeNumber(rawValue: 3)
        for origin in 1...2 {
            let origin = InodeNumber(rawValue: UInt64(origin))
            _ = walker.walks.enter(next, from: origin, isEmpty: false, at: walker.now)
        }
        _ = walker.walks.takeDropped()
        walker.now += ReadWalks.patience
        _ = walker.read(0, in: 4)
        #expect(Set(walker.walks.takeDropped()).count == 2)
    }

    @Test("The window goes on through a directory without files")
    func carriesOverEmpty() {
        var walker = Walker(fileCount: 100)
        for index in 0..<100 { _ = walker.read(index, in: 1) }
        #expect(walker.enter(2, from: 1, isEmpty: true) == [])
        #expect(walker.enter(3, from: 2).count == 48)
    }

    @Test("What is ahead stays within its share of memory, and counts until it is read")
    func bytes() {
        var walker = Walker(size: 1 << 20, byteLimit: 16 << 20)
        for index in 0..<60 {
            _ = walker.read(index)
            #expect(walker.walks.unreadByteCount <= 16 << 20)
        }
        #expect(walker.walks.unreadCount == 16)
    }

    @Test("A file that turns out larger than what is left is not fetched whole")
    func turnsOutLarge() {
        var walker = Walker(size: 4096, byteLimit: 1 << 20)
        for index in 0..<10 { _ = walker.read(index) }
        let fits = walker.walks.resize(walker.file(10, in: 1), to: 512 << 10)
        let fitsToo = walker.walks.resize(walker.file(11, in: 1), to: 512 << 10)
        #expect(fits && !fitsToo)
        #expect(walker.walks.unreadByteCount <= 1 << 20)
    }

    @Test("A walk that stands still for a while has stopped")
    func patience() {
        var walker = Walker(fileCount: 100)
        for index in 0..<10 { _ = walker.read(index) }
        walker.now += ReadWalks.patience
        #expect(walker.read(10) == [])
        #expect(walker.walks.unreadCount == 0)
        for index in 11..<100 { _ = walker.read(index) }
        walker.now += ReadWalks.patience
        #expect(walker.enter(2, from: 1) == [])
    }

    @Test("Guesses are spent by stats, and earned back by reads")
    func guesses() {
        var guesses = ReadGuesses()
        var made = 0
        for _ in 0..<100 where guesses.spend() { made += 1 }
        #expect(made == 4)
        guesses.earn()
        for _ in 0..<100 where guesses.spend() { made += 1 }
        #expect(made == 5)
    }

    @Test("Two programs that come from one directory into others at once find no walk there that is none")
    func enteredAtOnce() {
        var walker = Walker(fileCount: 3)
        for index in 0..<3 { _ = walker.read(index) }
        let came = walker.walks.origins(of: InodeNumber(rawValue: 2), parent: nil, at: walker.now)
        #expect(!walker.enter(3, from: 1).isEmpty)
        walker.now += ReadWalks.patience
        // No pattern yet.
        _ = walker.read(0)
        let asked = came.map {
            walker.walks.enter(InodeNumber(rawValue: 2), from: $0, isEmpty: false, at: walker.now)
        }
        #expect(asked.allSatisfy { $0 == nil } && asked.count == 1)
    }
}
