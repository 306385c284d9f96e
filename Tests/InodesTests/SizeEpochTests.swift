import Primitives
import RemoteAPI
import TestKit
import Testing
import WireFormat

@testable import Inodes

@Suite("Sizes that are asked for while files beside them are uploaded", .timeLimit(.minutes(5)))
struct SizeEpochTests {
    @Test("A size is the server's latest although another file of the directory was uploaded meanwhile")
    func epochOfNeighbour() async throws {
        let fixture = Fixture()
        fixture.remote.put("a", pattern(7))
        fixture.remote.put("b", pattern(1))
        let (file, other) = (try await fixture.inode("a"), try await fixture.inode("b"))
        _ = try await fixture.namespace.version(of: file)
        fixture.expire()
        try await fixture.namespace.refresh(.root)
        fixture.remote.put("a", pattern(9))
        let hold = fixture.remote.hold(.size, .beforeAnswering)
        let probe = Task { try await fixture.namespace.version(of: file) }
        await hold.reached()
        fixture.namespace.didUpload(other, size: 3, isHeld: false)
        try await fixture.namespace.refresh(.root)
        hold.release()
        #expect(try await probe.value.size == 9)
        #expect(fixture.namespace.freshVersion(of: file)?.size == 9)
    }

    @Test("A size is answered although uploads beside it never leave a pause", arguments: [true, false])
    func noPause(isKnown: Bool) async throws {
        let fixture = Fixture()
        fixture.remote.put("a", pattern(7))
        fixture.remote.put("b", pattern(1))
        let (file, other) = (try await fixture.inode("a"), try await fixture.inode("b"))
        if isKnown {
            _ = try await fixture.namespace.version(of: file)
            fixture.remote.put("a", pattern(9))
            fixture.expire()
            try await fixture.namespace.refresh(.root)
        }
        let answers = Tally()
        var hold = fixture.remote.hold(.size, .beforeAnswering)
        let probe = Task {
            defer { answers.add() }
            return try await fixture.namespace.version(of: file)
        }
        var roundCount = 0
        while roundCount < 20 {
            while hold.count == 0, answers.count == 0 { await Task.yield() }
            if answers.count > 0 { break }
            roundCount += 1
            fixture.namespace.didUpload(other, size: 3, isHeld: false)
            try await fixture.namespace.refresh(.root)
            let next = fixture.remote.hold(.size, .beforeAnswering)
            hold.release()
            hold = next
        }
        hold.release()
        #expect(roundCount <= 4)
        let version = try await probe.value
        #expect(version.size == (isKnown ? 9 : 7))
        // It may be a file of before a change by now.
        #expect(fixture.namespace.freshVersion(of: file) == nil)
        #expect(fixture.namespace.knownVersion(of: file)?.content == version.content)
    }
}
