import Primitives
import RemoteAPI
import TestKit
import Testing
import WireFormat

@testable import Inodes

@Suite("A directory's compact table agrees with a plain dictionary", .timeLimit(.minutes(5)))
struct DirectoryTests {
    /// The table and the dictionary, changed in lockstep.
    private struct Run {
        var random: SeededGenerator
        var directory = Directory(epoch: 0)
        var model: [FileName: Entry] = [:]
        /// Names changed since the listing under way was asked for.
        var changed: Set<FileName>?
        var nextInode: UInt64 = 2
        var epoch: UInt64 = 0

        /// Of all lengths, so that some share their first bytes and some are the beginning of others.
        static let names: [FileName] = (0..<600).map { index in
            let prefix = String(repeating: "x", count: index % 13)
            let suffix = index % 5 == 0 ? "é" : ""
            return name("\(prefix)\(index * 7919 % 1000)\(suffix)")
        }

        mutating func chance(_ count: Int) -> Bool { Int.random(in: 0..<count, using: &self.random) == 0 }

        mutating func anyName() -> FileName {
            Self.names[Int.random(in: 0..<Self.names.count, using: &self.random)]
        }

        mutating func makeInode() -> InodeNumber {
            defer { self.nextInode += 1 }
            return InodeNumber(rawValue: self.nextInode)
        }

        mutating func add() {
            let name = self.anyName()
            var entry = Entry(
                kind: self.chance(3) ? .directory : .file,
                inode: self.makeInode(),
                isOnServer: !self.chance(3),
                isHeld: self.chance(3)
            )
            self.epoch += 1
            entry.facts.epoch = self.epoch
            self.directory.add(name, entry)
            self.model[name] = entry
            self.changed?.insert(name)
        }

        mutating func remove() {
            let name = self.anyName()
            self.directory.remove(name)
            self.model[name] = nil
            self.changed?.insert(name)
        }

        mutating func update() {
            let name = self.anyName()
            guard var entry = self.directory[name] else { return }
            switch Int.random(in: 0..<4, using: &self.random) {
            case 0: entry.isHeld.toggle()
            case 1: entry.isOnServer.toggle()
            default:
                entry.facts.size = UInt64.random(in: 0...9, using: &self.random)
                entry.facts.content = ContentID(rawValue: .random(in: 1...9, using: &self.random))
                let age = Duration.nanoseconds(Int64.random(in: 0...9_000_000_000, using: &self.random))
                entry.facts.sizeAsOf = Self.start - age
            }
            self.directory[name] = entry
            self.model[name] = entry
        }
        static let start = ContinuousClock.now

        mutating func beginListing() {
            self.directory.flightCount = 1
            self.changed = []
        }

        /// A listing's answer comes: the rules are those of docs/architecture.md, A listing.
        mutating func list() -> Bool {
            var listing: [FileName: EntryKind] = [:]
            for name in Self.names where self.chance(2) {
                let isOther = self.chance(20)
                listing[name] = self.model[name].map { isOther ? .directory : $0.kind } ?? .file
            }
            let hidden = Set(Self.names.shuffled(using: &self.random).prefix(3))
            let old = self.model
            let entries = listing.map { (name: $0.key, kind: $0.value) }
            var next = self.nextInode
            let (directory, replaced) = self.directory.replaced(
                by: NameTable(RemoteListing(entries: entries)),
                without: hidden,
                makeInode: {
                    defer { next += 1 }
                    return InodeNumber(rawValue: next)
                }
            )
            self.nextInode = next
            self.directory = directory
            self.directory.flightCount = 0
            self.directory.changedInFlight = []
            self.model = [:]
            for (name, kind) in listing where !hidden.contains(name) {
                if self.changed?.contains(name) == true { continue }
                guard var entry = old[name], entry.kind == kind else {
                    // Its number is new, whatever it is.
                    guard let new = directory[name], !old.values.contains(where: { $0.inode == new.inode })
                    else { return false }
                    self.model[name] = Entry(kind: kind, inode: new.inode)
                    continue
                }
                entry.isOnServer = true
                self.model[name] = entry
            }
            for (name, var entry) in old where entry.isHeld && self.model[name] == nil {
                entry.isOnServer = false
                self.model[name] = entry
            }
            for name in self.changed ?? [] {
                self.model[name] = old[name]
                let isSeen = listing[name] == .file && !hidden.contains(name)
                if isSeen, old[name]?.kind == .file { self.model[name]?.isOnServer = true }
            }
            self.changed = nil
            let gone = old.filter { self.model[$0.key]?.inode != $0.value.inode }.map(\.value.inode)
            return Set(gone) == Set(replaced.map(\.entry.inode)) && gone.count == replaced.count
        }

        mutating func shrink() {
            let isKept: (Entry) -> Bool = { $0.isHeld || !$0.isOnServer || $0.inode.rawValue % 3 == 0 }
            self.directory.shrink(keeping: isKept)
            self.model = self.model.filter { isKept($0.value) }
        }

        /// Where the two differ; nothing if they agree.
        func difference() -> String? {
            for name in Self.names {
                let (real, expected) = (self.directory[name], self.model[name])
                guard real?.inode == expected?.inode, real?.kind == expected?.kind,
                    real?.isHeld == expected?.isHeld, real?.isOnServer == expected?.isOnServer,
                    real?.facts.size == expected?.facts.size, real?.facts.content == expected?.facts.content,
                    real?.facts.sizeAsOf == expected?.facts.sizeAsOf,
                    real?.facts.epoch ?? 0 >= expected?.facts.epoch ?? 0, real?.facts.epoch ?? 0 <= self.epoch
                else { return "\(name): \(String(describing: real)), not \(String(describing: expected))" }
            }
            let names = DirectorySnapshot(table: self.directory.merged())
            guard names.map(\.name) == self.model.keys.sorted() else { return "other names, or out of order" }
            for dirent in names where self.model[dirent.name]?.inode != dirent.inode {
                return "\(dirent.name) is listed with another number"
            }
            guard self.directory.liveCount == self.model.count, self.directory.isEmpty == self.model.isEmpty,
                self.directory.holdsUnsentFile == self.model.values.contains(where: \.isHeld)
            else { return "another count" }
            return self.differenceByIndex()
        }

        private func differenceByIndex() -> String? {
            for index in 0..<self.directory.nameCount {
                let name = self.directory.name(at: index)
                guard self.directory.index(of: name) == index,
                    self.directory.entry(at: index)?.inode == self.model[name]?.inode
                else { return "\(name) is not at \(index)" }
            }
            return nil
        }
    }

    @Test("Random additions, removals, listings and evictions", arguments: 0..<8)
    func operations(run number: Int) {
        let seed = UInt64.random(in: 0 ... .max)
        var run = Run(random: SeededGenerator(seed: seed))
        for step in 0..<600 {
            var agrees = true
            switch Int.random(in: 0..<40, using: &run.random) {
            case 0 where run.changed == nil: run.beginListing()
            case 1: agrees = run.list()
            case 2 where run.changed == nil: run.shrink()
            case 3...14: for _ in 0..<20 { run.add() }
            case 15...25: for _ in 0..<20 { run.remove() }
            default: for _ in 0..<20 { run.update() }
            }
            guard agrees, step % 5 != 0 || run.difference() == nil else {
                let difference = run.difference() ?? "something else is said to be gone"
                Issue.record("seed \(seed), step \(step): \(difference)")
                return
            }
        }
    }

    @Test("Names are in byte order, whatever they share and however long they are")
    func order() {
        let texts = ["", "a", "ab", "abcdefgh", "abcdefgh!", "abcdefgi", "é", "e", "😀", "ab\u{1}", "\u{1}"]
        let names = texts.map { name("p\($0)") }
        let table = NameTable(RemoteListing(entries: names.map { ($0, .file) }))
        #expect((0..<table.count).map(table.name(at:)) == names.sorted())
        for (index, name) in names.sorted().enumerated() {
            #expect(table.index(of: name) == index)
            #expect(table.lowerBound(of: name) == index)
        }
        #expect(table.index(of: name("pb")) == nil)
        #expect(NameTable().index(of: name("a")) == nil)
    }
}
