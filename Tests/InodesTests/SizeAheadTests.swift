import Primitives
import RemoteAPI
import TestKit
import Testing
import WireFormat

@testable import Inodes

@Suite("Sizes that are asked for ahead of need", .timeLimit(.minutes(5)))
struct SizeAheadTests {
    @Test(
        "Sizes are asked for ahead of a program that stats a directory in order, each once and many at once"
    )
    func sweep() async throws {
        let fixture = Fixture()
        for index in 100..<300 { fixture.remote.put("f\(index)", [1]) }
        try await fixture.namespace.refresh(.root)
        fixture.namespace.beginReading(.root)
        let entries = fixture.namespace.snapshot(.root)
        let hold = fixture.remote.hold(.size)
        for entry in entries {
            _ = fixture.namespace.peek(entry.name, in: .root)
            fixture.namespace.noteSizeAsked(entry.inode)
            if entry.inode == entries[0].inode {
                await hold.reached(16)
                hold.release()
            }
            #expect(try await fixture.namespace.version(of: entry.inode).size == 1)
        }
        fixture.namespace.endReading(.root)
        #expect(fixture.remote.count(.size) == 200)
    }

    @Test("Whoever waits for a size does not wait behind those that are asked for ahead")
    func sweepLeavesPlaces() async throws {
        let fixture = Fixture()
        for index in 100..<300 { fixture.remote.put("f\(index)", [1]) }
        try await fixture.namespace.refresh(.root)
        fixture.namespace.beginReading(.root)
        let entries = fixture.namespace.snapshot(.root)
        let hold = fixture.remote.hold(.size)
        _ = fixture.namespace.peek(entries[0].name, in: .root)
        fixture.namespace.noteSizeAsked(entries[0].inode)
        await hold.reached(Ahead.places)
        _ = fixture.namespace.peek(entries[199].name, in: .root)
        let waiting = Task { try await fixture.namespace.version(of: entries[199].inode).size }
        await hold.reached(Ahead.places + 1)
        #expect(fixture.remote.calls.last == "size f299")
        hold.release()
        #expect(try await waiting.value == 1)
    }

    @Test("What is asked for ahead goes behind what is waited for until somebody waits for it")
    func sweepIsRaised() async throws {
        let fixture = Fixture()
        for index in 100..<300 { fixture.remote.put("f\(index)", [1]) }
        try await fixture.namespace.refresh(.root)
        fixture.namespace.beginReading(.root)
        let hold = fixture.remote.hold(.size)
        fixture.namespace.noteSizeAsked(try await fixture.inode("f100"))
        await hold.reached(Ahead.places)
        #expect(fixture.remote.urgency(of: "size f105")?.isWaitedFor == false)
        let file = try await fixture.inode("f105")
        let waiting = Task.immediate { try await fixture.namespace.version(of: file).size }
        #expect(fixture.remote.urgency(of: "size f105")?.isWaitedFor == true)
        #expect(fixture.remote.urgency(of: "size f106")?.isWaitedFor == false)
        hold.release()
        #expect(try await waiting.value == 1)
    }

    @Test("Whoever waits for a size does not wait behind hundreds that others ask for ahead of need")
    func noPlacesAhead() async throws {
        let fixture = Fixture()
        fixture.remote.makeWideDirectory("w", count: 200)
        fixture.remote.put("mine", pattern(3))
        let wide = try await fixture.inode("w")
        try await fixture.namespace.refresh(wide)
        let mine = try await fixture.inode("mine")
        let hold = fixture.remote.hold(.size)
        let ahead = fixture.namespace.files(in: wide, after: nil, limit: 200).map { file in
            Task { try await fixture.namespace.version(of: file, urgency: .ahead()) }
        }
        await hold.reached(200)
        let waiting = Task { try await fixture.namespace.version(of: mine).size }
        await hold.reached(201)
        #expect(fixture.remote.urgency(of: "size mine")?.isWaitedFor == true)
        hold.release()
        #expect(try await waiting.value == 3)
        for task in ahead { _ = try await task.value }
    }

    @Test("Where nothing is believed for any time, no sizes are asked for ahead")
    func noSweepWithoutTime() async throws {
        let fixture = Fixture(timeToLive: .zero)
        for index in 100..<300 { fixture.remote.put("f\(index)", [1]) }
        try await fixture.namespace.refresh(.root)
        fixture.namespace.beginReading(.root)
        for entry in fixture.namespace.snapshot(.root).prefix(20) {
            _ = fixture.namespace.known(entry.name, in: .root)
            fixture.namespace.noteSizeAsked(entry.inode)
            fixture.namespace.noteReading(.root, from: 100)
            #expect(fixture.namespace.ahead.withLock(\.inFlight) == 0)
            _ = try await fixture.namespace.version(of: entry.inode)
        }
        fixture.namespace.endReading(.root)
        #expect(fixture.remote.count(.size) == 20)
    }

    @Test("A stat in the middle of a directory that was just read is no walk through it")
    func noSweepFromTheMiddle() async throws {
        let fixture = Fixture()
        for index in 100..<300 { fixture.remote.put("f\(index)", [1]) }
        let file = try await fixture.inode("f150")
        fixture.namespace.beginReading(.root)
        fixture.namespace.noteSizeAsked(file)
        _ = try await fixture.namespace.version(of: file)
        #expect(fixture.remote.count(.size) == 1)
    }

    @Test("Without the directory open, a stat asks for one size alone")
    func noSweep() async throws {
        let fixture = Fixture()
        for index in 0..<10 { fixture.remote.put("f\(index)", [1]) }
        let file = try await fixture.inode("f0")
        fixture.namespace.noteSizeAsked(file)
        _ = try await fixture.namespace.version(of: file)
        #expect(fixture.remote.count(.size) == 1)
    }
}
