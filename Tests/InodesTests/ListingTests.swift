import Inodes
import RemoteAPI
import TestKit
import Testing
import WireFormat

@Suite("Names, which come from listings", .timeLimit(.minutes(5)))
struct ListingTests {
    @Test("A directory is listed once for all its names, those it does not have too")
    func once() async throws {
        let fixture = Fixture()
        fixture.remote.put("a", [])
        fixture.remote.makeDirectory("d")
        #expect(try await fixture.state("a") == "file")
        #expect(try await fixture.state("d") == "directory")
        #expect(try await fixture.state("x") == "absent")
        #expect(fixture.remote.calls == ["list "])
        #expect(fixture.names() == ["a", "d"])
    }

    @Test("What is known is believed for the time to live and no longer")
    func timeToLive() async throws {
        let fixture = Fixture()
        #expect(try await fixture.state("a") == "absent")
        fixture.remote.put("a", [])
        fixture.clock.advance(by: .milliseconds(9999))
        #expect(try await fixture.state("a") == "absent")
        fixture.clock.advance(by: .milliseconds(1))
        #expect(try await fixture.state("a") == "file")
        #expect(fixture.remote.count(.list) == 2)
    }

    @Test("An answer says how long it holds: until its listing grows too old")
    func validFor() async throws {
        let fixture = Fixture()
        _ = try await fixture.state("a")
        fixture.clock.advance(by: .seconds(4))
        guard case .absent(let validFor) = fixture.namespace.peek(name("a"), in: .root) else {
            Issue.record("not absent")
            return
        }
        #expect(validFor == .seconds(6))
    }

    @Test("With a time to live of 0 every question is asked, and answered")
    func noTimeToLive() async throws {
        let fixture = Fixture(timeToLive: .zero)
        fixture.remote.put("d/a", [1])
        let directory = try await fixture.inode("d")
        let file = try await fixture.inode("a", in: directory)
        #expect(try await fixture.inode("a", in: directory) == file)
        #expect(try await fixture.state("b", in: directory) == "absent")
        #expect(try await fixture.namespace.version(of: file).size == 1)
        #expect(fixture.remote.count(.list) == 4)
    }

    @Test("Who asks for the same directory at once shares one listing")
    func shared() async throws {
        let fixture = Fixture()
        fixture.remote.put("a", [])
        let hold = fixture.remote.hold(.list)
        let readers = (0..<10).map { _ in Task.immediate { try await fixture.state("a") } }
        await hold.reached()
        hold.release()
        for reader in readers { #expect(try await reader.value == "file") }
        #expect(fixture.remote.count(.list) == 1)
    }

    @Test("A name keeps its number from listing to listing, and gets a new one when its kind changes")
    func numbers() async throws {
        let fixture = Fixture()
        fixture.remote.put("a", [])
        let first = try await fixture.inode("a")
        fixture.expire()
        #expect(try await fixture.inode("a") == first)
        fixture.remote.remove("a")
        fixture.remote.makeDirectory("a")
        fixture.expire()
        #expect(try await fixture.inode("a") != first)
        #expect(fixture.namespace.path(of: first) == nil)
    }

    @Test(
        "A failure proves no absence, and does not last",
        arguments: [.unavailable("500"), .timedOut, .forbidden, .malformedAnswer("HTML")] as [RemoteError]
    )
    func failed(error: RemoteError) async throws {
        let fixture = Fixture()
        fixture.remote.put("a", [])
        fixture.faulty.fail(.list, with: error)
        await #expect(throws: error) { try await fixture.state("a") }
        #expect(try await fixture.state("a") == "file")
    }

    @Test("A failure leaves what was known, for those who look at it alone")
    func failureKeeps() async throws {
        let fixture = Fixture()
        fixture.remote.put("a", [])
        _ = try await fixture.state("a")
        fixture.expire()
        fixture.faulty.fail(.list, with: .timedOut)
        await #expect(throws: RemoteError.timedOut) { try await fixture.state("a") }
        #expect(fixture.names() == ["a"])
    }

    @Test(
        "An empty listing of a directory is believed when its parent shows it",
        arguments: InMemoryRemote.Behaviour.allCases
    )
    func emptyConfirmed(behaviour: InMemoryRemote.Behaviour) async throws {
        let fixture = Fixture(behaviour)
        fixture.remote.makeDirectory("d")
        let directory = try await fixture.inode("d")
        #expect(try await fixture.state("x", in: directory) == "absent")
        #expect(fixture.remote.calls == ["list ", "list d"])
    }

    @Test(
        "An empty listing of a directory that is gone shows that it is gone, not empty",
        arguments: InMemoryRemote.Behaviour.allCases
    )
    func emptyRefuted(behaviour: InMemoryRemote.Behaviour) async throws {
        let fixture = Fixture(behaviour)
        fixture.remote.put("d/a", [])
        let directory = try await fixture.inode("d")
        #expect(try await fixture.state("a", in: directory) == "file")
        fixture.remote.remove("d")
        fixture.expire()
        await #expect(throws: RemoteError.notFound) { try await fixture.state("a", in: directory) }
        #expect(fixture.remote.calls.suffix(2) == ["list d", "list "])
        #expect(fixture.namespace.path(of: directory) == nil)
        #expect(try await fixture.state("d") == "absent")
    }

    @Test("An empty listing of what became a file shows no empty directory")
    func emptyOfFile() async throws {
        let fixture = Fixture(.deployed)
        fixture.remote.makeDirectory("d")
        let directory = try await fixture.inode("d")
        fixture.remote.remove("d")
        fixture.remote.put("d", [1])
        fixture.expire()
        await #expect(throws: RemoteError.notFound) { try await fixture.namespace.refresh(directory) }
        #expect(try await fixture.state("d") == "file")
    }

    @Test("An empty listing whose parent cannot be asked is neither empty nor gone")
    func emptyUnknown() async throws {
        let fixture = Fixture(.deployed)
        fixture.remote.put("d/a", [])
        let directory = try await fixture.inode("d")
        _ = try await fixture.state("a", in: directory)
        fixture.remote.remove("d")
        fixture.expire()
        fixture.faulty.fail(.list, with: .timedOut, skipping: 1)
        await #expect(throws: RemoteError.timedOut) { try await fixture.namespace.refresh(directory) }
        #expect(fixture.names(directory) == ["a"])
    }

    @Test("The root may be empty without a parent to ask")
    func emptyRoot() async throws {
        let fixture = Fixture()
        #expect(try await fixture.state("x") == "absent")
        #expect(fixture.names().isEmpty)
    }

    @Test("In a directory that is gone, or in a file, there is nothing to ask for")
    func noDirectory() async throws {
        let fixture = Fixture()
        fixture.remote.put("a", [])
        let file = try await fixture.inode("a")
        #expect(try await fixture.state("x", in: file) == "gone")
        fixture.namespace.remove(name("a"), in: .root, at: Fixture.time)
        #expect(fixture.namespace.path(of: file) == nil)
    }

    @Test("Names that cannot be held are logged once and hide no other")
    func refusedNames() async throws {
        let fixture = Fixture()
        fixture.remote.put("a", [])
        fixture.remote.putRefusedNames(in: "", count: 3)
        #expect(try await fixture.state("a") == "file")
        fixture.expire()
        #expect(try await fixture.state("a") == "file")
        #expect(fixture.log.text.count == 1)
        #expect(fixture.log.text.first?.contains("count=3") == true)
    }

    @Test("A file made here while its directory is listed is there afterwards")
    func addedDuring() async throws {
        let fixture = Fixture()
        let hold = fixture.remote.hold(.list, .beforeAnswering)
        let listing = Task { try await fixture.namespace.refresh(.root) }
        await hold.reached()
        let file = fixture.namespace.addLocalFile(name("new"), in: .root, at: Fixture.time)
        hold.release()
        try await listing.value
        #expect(try await fixture.inode("new") == file)
    }

    @Test("A name removed here while its directory is listed stays removed, although the listing has it")
    func removedDuring() async throws {
        let fixture = Fixture()
        fixture.remote.put("a", [])
        _ = try await fixture.inode("a")
        let hold = fixture.remote.hold(.list, .beforeAnswering)
        let listing = Task { try await fixture.namespace.refresh(.root) }
        await hold.reached()
        fixture.namespace.remove(name("a"), in: .root, at: Fixture.time)
        fixture.remote.remove("a")
        hold.release()
        try await listing.value
        #expect(try await fixture.state("a") == "absent")
    }

    @Test("A file moved here while its directory is listed is where it was moved to, and keeps its number")
    func movedDuring() async throws {
        let fixture = Fixture()
        fixture.remote.put("a", [])
        let file = try await fixture.inode("a")
        let hold = fixture.remote.hold(.list, .beforeAnswering)
        let listing = Task { try await fixture.namespace.refresh(.root) }
        await hold.reached()
        fixture.namespace.move(name("a"), in: .root, to: name("b"), in: .root, at: Fixture.time)
        hold.release()
        try await listing.value
        #expect(try await fixture.state("a") == "absent")
        #expect(try await fixture.inode("b") == file)
        #expect(fixture.namespace.path(of: file) == path("b"))
    }

    @Test("What was learnt of a file while its directory is listed is not forgotten")
    func learntDuring() async throws {
        let fixture = Fixture()
        let hold = fixture.remote.hold(.list, .beforeAnswering)
        let listing = Task { try await fixture.namespace.refresh(.root) }
        await hold.reached()
        let file = fixture.namespace.addLocalFile(name("a"), in: .root, at: Fixture.time)
        fixture.namespace.didUpload(file, size: 7, isHeld: false)
        fixture.namespace.setHeld(file, true)
        hold.release()
        try await listing.value
        #expect(fixture.namespace.knownVersion(of: file)?.size == 7)
        // Its bytes wait here: the next listing, which lacks it, takes nothing away.
        try await fixture.namespace.refresh(.root)
        #expect(try await fixture.inode("a") == file)
    }

    @Test("An upload that ends while its directory is listed leaves no name of its own behind")
    func uploadEndsDuring() async throws {
        let fixture = Fixture(.deployed)
        let upload = try await fixture.remote.beginUpload(path("a"), size: 1)
        let hidden = fixture.namespace.hideStagingName(of: upload, for: name("a"), in: .root)
        let hold = fixture.remote.hold(.list, .beforeAnswering)
        let listing = Task { try await fixture.namespace.refresh(.root) }
        await hold.reached()
        fixture.namespace.unhideStagingName(try #require(hidden), in: .root)
        hold.release()
        try await listing.value
        #expect(fixture.names().isEmpty)
    }

    @Test("A directory that is listed but cannot be is an error of the service, not an absence")
    func listedButMissing() async throws {
        let fixture = Fixture()
        fixture.remote.put("d/a", [])
        let directory = try await fixture.inode("d")
        for inode in [directory, .root] {
            fixture.faulty.fail(.list, with: .notFound)
            let error = await failure { () async throws(RemoteError) in
                try await fixture.namespace.refresh(inode)
            }
            guard case .malformedAnswer = error else {
                Issue.record("\(String(describing: error))")
                continue
            }
        }
    }

    @Test("A directory of names that cannot be shown is not empty")
    func refusedNamesCount() async throws {
        let fixture = Fixture()
        fixture.remote.makeDirectory("d")
        fixture.remote.putRefusedNames(in: "d", count: 1)
        let directory = try await fixture.inode("d")
        try await fixture.namespace.refresh(directory)
        #expect(!fixture.namespace.isKnownEmpty(directory))
        #expect(fixture.namespace.holdsRefusedNames(directory))
    }

    @Test("A directory removed here while it is listed is not brought back")
    func directoryRemovedDuring() async throws {
        let fixture = Fixture()
        fixture.remote.put("d/a", [])
        let directory = try await fixture.inode("d")
        let hold = fixture.remote.hold(.list, .beforeAnswering)
        let listing = Task { try await fixture.namespace.refresh(directory) }
        await hold.reached()
        fixture.namespace.remove(name("d"), in: .root, at: Fixture.time)
        hold.release()
        try? await listing.value
        #expect(fixture.names(directory).isEmpty)
        #expect(try await fixture.state("d") == "absent")
    }

    @Test(
        "A file whose bytes wait here stays, whatever a listing says; once they are sent the listing counts"
    )
    func held() async throws {
        let fixture = Fixture()
        let file = fixture.namespace.addLocalFile(name("new"), in: .root, at: Fixture.time)
        try await fixture.namespace.refresh(.root)
        #expect(try await fixture.inode("new") == file)
        #expect(!fixture.namespace.isOnServer(file))
        fixture.namespace.didUpload(file, size: 5, isHeld: false)
        #expect(fixture.namespace.isOnServer(file))
        try await fixture.namespace.refresh(.root)
        #expect(try await fixture.state("new") == "absent")
    }

    @Test("Our uploads under way are not shown, other names that look so are")
    func stagingNames() async throws {
        let fixture = Fixture(.deployed)
        let upload = try await fixture.remote.beginUpload(path("a"), size: 1)
        _ = try await fixture.remote.beginUpload(path("b"), size: 1)
        fixture.namespace.hideStagingName(of: upload, for: name("a"), in: .root)
        try await fixture.namespace.refresh(.root)
        #expect(fixture.names() == ["b.UUUUUUUUUUUUUUUUUUU2"])
    }

    @Test("An upload that a listing showed before it was known to be ours is hidden from then on")
    func stagingNameLate() async throws {
        let fixture = Fixture(.deployed)
        let upload = try await fixture.remote.beginUpload(path("a"), size: 1)
        try await fixture.namespace.refresh(.root)
        #expect(fixture.names() == ["a.\(upload)"])
        fixture.namespace.hideStagingName(of: upload, for: name("a"), in: .root)
        #expect(fixture.names().isEmpty)
    }

    @Test("What was taken back while it was hidden is not shown by a listing that was under way")
    func unhiddenDuring() async throws {
        let fixture = Fixture()
        fixture.namespace.hide(name("a"), in: .root)
        fixture.remote.put("a", [1])
        let hold = fixture.remote.hold(.list, .beforeAnswering)
        let listing = Task { try await fixture.namespace.refresh(.root) }
        await hold.reached()
        fixture.remote.remove("a")
        fixture.namespace.unhide(name("a"), in: .root)
        hold.release()
        try await listing.value
        #expect(fixture.names().isEmpty)
    }

    @Test("A name that is hidden no more is shown if a listing has it")
    func unhidden() async throws {
        let fixture = Fixture(.deployed)
        let upload = try await fixture.remote.beginUpload(path("a"), size: 1)
        let hidden = fixture.namespace.hideStagingName(of: upload, for: name("a"), in: .root)
        fixture.namespace.unhideStagingName(try #require(hidden), in: .root)
        try await fixture.namespace.refresh(.root)
        #expect(fixture.names() == ["a.\(upload)"])
    }

    @Test("A listing that was on its way when what it says became doubtful is asked for once more")
    func expiredInFlight() async throws {
        let fixture = Fixture()
        let lists = fixture.remote.hold(.list, .beforeAnswering)
        let state = Task { try await fixture.state("d") }
        await lists.reached()
        fixture.remote.makeDirectory("d")
        fixture.namespace.expireListing(.root)
        lists.release()
        #expect(try await state.value == "directory")
        #expect(try await fixture.state("d") == "directory")
        #expect(fixture.remote.count(.list) == 2)
    }

    @Test("A file made here under a name that a listing has brought by then is known to replace that")
    func madeOverListed() async throws {
        let fixture = Fixture()
        fixture.remote.put("f", [1])
        _ = try await fixture.inode("f")
        let file = fixture.namespace.addLocalFile(name("f"), in: .root, at: Fixture.time)
        #expect(fixture.namespace.isOnServer(file))
    }
}
