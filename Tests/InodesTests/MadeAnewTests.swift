import Inodes
import RemoteAPI
import TestKit
import Testing
import WireFormat

@Suite("Names that go, and are made anew, while their directory is listed", .timeLimit(.minutes(5)))
struct MadeAnewTests {
    @Test(
        "A listing older than a deletion does not say that the service has what is made under the name since"
    )
    func madeAnewDuring() async throws {
        let fixture = Fixture()
        fixture.remote.put("a", [])
        _ = try await fixture.inode("a")
        let hold = fixture.remote.hold(.list, .beforeAnswering)
        let listing = Task { try await fixture.namespace.refresh(.root) }
        await hold.reached()
        fixture.remote.remove("a")
        fixture.namespace.remove(name("a"), in: .root, at: Fixture.time)
        let file = fixture.namespace.addLocalFile(name("a"), in: .root, at: Fixture.time)
        hold.release()
        try await listing.value
        #expect(!fixture.namespace.isOnServer(file))
        // Whoever makes it there since is seen.
        fixture.remote.put("a", [])
        try await fixture.namespace.refresh(.root)
        #expect(fixture.namespace.isOnServer(file))
    }

    @Test("A name that was here alone as it went, and is made anew, is on the service where a listing has it")
    func madeElsewhereDuring() async throws {
        let fixture = Fixture()
        _ = fixture.namespace.addLocalFile(name("a"), in: .root, at: Fixture.time)
        let hold = fixture.remote.hold(.list, .beforeAnswering)
        fixture.remote.put("a", [])
        let listing = Task { try await fixture.namespace.refresh(.root) }
        await hold.reached()
        fixture.namespace.remove(name("a"), in: .root, at: Fixture.time)
        let file = fixture.namespace.addLocalFile(name("a"), in: .root, at: Fixture.time)
        hold.release()
        try await listing.value
        #expect(fixture.namespace.isOnServer(file))
    }
}
