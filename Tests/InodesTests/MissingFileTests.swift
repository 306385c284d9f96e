import Primitives
import RemoteAPI
import TestKit
import Testing
import WireFormat

@testable import Inodes

@Suite("A file that is listed and whose size the service does not know", .timeLimit(.minutes(5)))
struct MissingFileTests {
    @Test(
        "A file that the service does not know is absent only if a listing asked for afterwards lacks it too"
    )
    func missing() async throws {
        let fixture = Fixture()
        fixture.remote.put("a", pattern(7))
        let file = try await fixture.inode("a")
        fixture.remote.remove("a")
        let gone = await failure { () async throws(RemoteError) in
            try await fixture.namespace.version(of: file)
        }
        #expect(gone == .notFound)
        #expect(fixture.remote.calls == ["list ", "size a", "list "])
        #expect(try await fixture.state("a") == "absent")
    }

    @Test("Where a listing asked for after a size lacks the file too, a 404 asks for no other one")
    func missingSince() async throws {
        let fixture = Fixture()
        fixture.remote.put("a", pattern(7))
        let file = try #require(fixture.namespace.sibling(try await fixture.inode("a")))
        fixture.remote.remove("a")
        let hold = fixture.remote.hold(.size)
        let probe = Task {
            await failure { () async throws(RemoteError) in try await fixture.namespace.version(of: file) }
        }
        await hold.reached()
        fixture.clock.advance(by: .seconds(1))
        try await fixture.namespace.refresh(.root)
        hold.release()
        #expect(await probe.value == .notFound)
        #expect(fixture.remote.calls == ["list ", "size a", "list "])
        // Nor is it asked for again.
        #expect(try await fixture.namespace.version(of: file) == nil)
        #expect(fixture.remote.count(.size) == 1)
    }

    @Test("A 404 of what is still listed is no absence")
    func listedButMissing() async throws {
        let fixture = Fixture()
        fixture.remote.put("a", pattern(7))
        let file = try await fixture.inode("a")
        fixture.faulty.fail(.size, with: .notFound)
        let error = await failure { () async throws(RemoteError) in
            try await fixture.namespace.version(of: file)
        }
        guard case .malformedAnswer = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(try await fixture.state("a") == "file")
    }

    @Test("A 404 of what is still listed is no absence, be nothing believed for any time")
    func listedButMissingNow() async throws {
        let fixture = Fixture(timeToLive: .zero)
        fixture.remote.put("a", pattern(7))
        let file = try await fixture.inode("a")
        fixture.faulty.fail(.size, with: .notFound)
        let error = await failure { () async throws(RemoteError) in
            try await fixture.namespace.version(of: file)
        }
        guard case .malformedAnswer = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test("A file that went while its directory was being listed is gone, whatever that listing says")
    func listedBefore() async throws {
        let fixture = Fixture()
        fixture.remote.put("a", pattern(7))
        let file = try await fixture.inode("a")
        let hold = fixture.remote.hold(.list, .beforeAnswering)
        let listing = Task { try await fixture.namespace.refresh(.root) }
        await hold.reached()
        fixture.remote.remove("a")
        let probe = Task {
            await failure { () async throws(RemoteError) in try await fixture.namespace.version(of: file) }
        }
        await fixture.remote.ended(.size)
        // So that it comes to join the listing, if it does.
        for _ in 0..<1000 { await Task.yield() }
        hold.release()
        try await listing.value
        #expect(await probe.value == .notFound)
    }

    @Test("A 404 whose listing fails is that failure, not an absence")
    func missingUnknown() async throws {
        let fixture = Fixture()
        fixture.remote.put("a", pattern(7))
        let file = try await fixture.inode("a")
        fixture.faulty.fail(.size, with: .notFound)
        fixture.faulty.fail(.list, with: .timedOut)
        let error = await failure { () async throws(RemoteError) in
            try await fixture.namespace.version(of: file)
        }
        #expect(error == .timedOut)
    }
}
