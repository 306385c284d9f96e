import RemoteAPI
import TestKit
import Testing
import Transfers

@testable import VFS

@Suite("Files that go up while they are written", .timeLimit(.minutes(5)))
struct EarlyUploadTests {
    private let mount: Mount
    /// What any upload of 24 KiB in parts of 8 asks for.
    private let requests: Set = [
        "begin a 24576", "put a 0-8192", "put a 8192-16384", "put a 16384-24576", "complete a",
    ]

    init() throws {
        self.mount = try Mount(lanes: UploadLanes(maximumCount: 16, partSize: UInt64(8 * kibibyte)))
    }

    @Test("A file whose size was set first goes up while it is written, with no more requests than otherwise")
    func truncatedFirst() async throws {
        let handle = try await self.mount.create("a")
        try await self.mount.truncate(handle, to: 24)
        try await self.mount.write(handle, blocks: 0..<17)
        await self.mount.remote.ended(.putPart, 2)
        #expect(self.mount.remote.count(.completeUpload) == 0)
        try await self.mount.write(handle, blocks: 17..<24)
        try await self.mount.close(handle)
        #expect(self.mount.remote.bytes(of: "a") == blocks(24))
        #expect(self.mount.changes.count == 5 && Set(self.mount.changes) == self.requests)
    }

    @Test("So does one for which room was made first")
    func allocatedFirst() async throws {
        let handle = try await self.mount.create("a")
        try await self.mount.fileSystem.allocate(handle, 0..<UInt64(24 * kibibyte), by: Mount.process)
        try await self.mount.write(handle, blocks: 0..<17)
        await self.mount.remote.ended(.putPart, 2)
        try await self.mount.write(handle, blocks: 17..<24)
        try await self.mount.close(handle)
        #expect(self.mount.remote.bytes(of: "a") == blocks(24))
        #expect(self.mount.changes.count == 5 && Set(self.mount.changes) == self.requests)
    }

    @Test("So does one for which room was made first without making it longer")
    func reservedFirst() async throws {
        let handle = try await self.mount.create("a")
        try await self.mount.reserve(handle, blocks: 0..<24)
        #expect(try await self.mount.size("a") == 0)
        try await self.mount.write(handle, blocks: 0..<17)
        await self.mount.remote.ended(.putPart, 2)
        try await self.mount.write(handle, blocks: 17..<24)
        try await self.mount.close(handle)
        #expect(self.mount.remote.bytes(of: "a") == blocks(24))
        #expect(self.mount.changes.count == 5 && Set(self.mount.changes) == self.requests)
    }

    @Test("So does one whose size is guessed from what its writer copies")
    func guessed() async throws {
        let handle = try await self.mount.streaming()
        try await self.mount.write(handle, blocks: 17..<24)
        try await self.mount.close(handle)
        #expect(self.mount.remote.bytes(of: "a") == blocks(24))
        #expect(self.mount.changes.count == 5 && Set(self.mount.changes) == self.requests)
        #expect(self.mount.fileSystem.unsent.fileCount == 0)
    }

    @Test("So does one that is written over from its start; what is not written over stays as it was")
    func overwritten() async throws {
        self.mount.remote.put("a", blocks(24, 100))
        let handle = try await self.mount.open("a", writes: true)
        try await self.mount.write(handle, blocks: 0..<17)
        await self.mount.remote.ended(.putPart, 2)
        try await self.mount.close(handle)
        #expect(self.mount.remote.bytes(of: "a") == blocks(17) + blocks(24, 100)[(17 * kibibyte)...])
        #expect(self.mount.changes.count == 5 && Set(self.mount.changes) == self.requests)
    }

    @Test("So does one that is written over from its middle on; what is around that stays as it was")
    func overwrittenInTheMiddle() async throws {
        self.mount.remote.put("a", blocks(40, 100))
        let handle = try await self.mount.open("a", writes: true)
        try await self.mount.write(handle, blocks: 14..<33)
        await self.mount.remote.ended(.putPart, 2)
        #expect(Set(self.mount.changes) == ["begin a 40960", "put a 16384-24576", "put a 24576-32768"])
        try await self.mount.close(handle)
        let old = blocks(40, 100)
        let expected = old[..<(14 * kibibyte)] + blocks(33)[(14 * kibibyte)...] + old[(33 * kibibyte)...]
        #expect(self.mount.remote.bytes(of: "a") == Array(expected))
        #expect(self.mount.changes.count == 7)
    }

    @Test("So does one whose writes come a little out of order")
    func outOfOrder() async throws {
        let handle = try await self.mount.create("a")
        try await self.mount.truncate(handle, to: 24)
        for number in 0..<18 { try await self.mount.write(handle, blocks: (number ^ 1)..<(number ^ 1) + 1) }
        await self.mount.remote.ended(.putPart, 2)
        try await self.mount.write(handle, blocks: 18..<24)
        try await self.mount.close(handle)
        #expect(self.mount.remote.bytes(of: "a") == blocks(24))
        #expect(self.mount.changes.count == 5 && Set(self.mount.changes) == self.requests)
    }

    @Test("So does one that gets its header last")
    func headerLast() async throws {
        let handle = try await self.mount.create("a")
        try await self.mount.truncate(handle, to: 32)
        try await self.mount.write(handle, blocks: 1..<32)
        await self.mount.remote.ended(.putPart, 2)
        try await self.mount.write(handle, blocks: 0..<1)
        try await self.mount.close(handle)
        #expect(self.mount.remote.bytes(of: "a") == blocks(32))
        #expect(self.mount.changes.count == 6)
    }

    @Test("So does one that is written in very many places before it is written in order")
    func scattered() async throws {
        let handle = try await self.mount.create("a")
        try await self.mount.truncate(handle, to: 32)
        for index in 0..<100 { try await self.mount.write(handle, [7], at: 2 * index) }
        try await self.mount.write(handle, blocks: 8..<32)
        await self.mount.remote.ended(.putPart, 2)
        try await self.mount.write(handle, blocks: 0..<8)
        try await self.mount.close(handle)
        #expect(self.mount.remote.bytes(of: "a") == blocks(32))
        #expect(self.mount.changes.count == 6)
    }

    @Test(
        "A file that ends before it was expected to is uploaded as it is, and so is a longer one",
        arguments: [18, 27]
    )
    func wrongGuess(count: Int) async throws {
        let handle = try await self.mount.streaming()
        try await self.mount.write(handle, blocks: 17..<count)
        try await self.mount.close(handle)
        #expect(self.mount.remote.bytes(of: "a") == blocks(count))
        #expect(self.mount.remote.count(.beginUpload) == 2)
        #expect(self.mount.remote.count(.completeUpload) == 1)
    }

    @Test("A file that comes to be larger than it was is sent as large as room was made for")
    func reservedBeyondTheEnd() async throws {
        self.mount.remote.put("a", blocks(17, 100))
        let handle = try await self.mount.open("a", writes: true)
        try await self.mount.reserve(handle, blocks: 0..<24)
        try await self.mount.write(handle, blocks: 0..<24)
        try await self.mount.close(handle)
        #expect(self.mount.remote.bytes(of: "a") == blocks(24))
        #expect(self.mount.changes.count == 5 && Set(self.mount.changes) == self.requests)
    }

    @Test(
        "A file that does not become as large as room was made for is uploaded as it is",
        arguments: [20, 26]
    )
    func reservedInVain(count: Int) async throws {
        let handle = try await self.mount.create("a")
        try await self.mount.reserve(handle, blocks: 0..<24)
        try await self.mount.write(handle, blocks: 0..<17)
        await self.mount.remote.ended(.putPart, 2)
        try await self.mount.write(handle, blocks: 17..<count)
        try await self.mount.close(handle)
        #expect(self.mount.remote.bytes(of: "a") == blocks(count))
        #expect(self.mount.remote.count(.completeUpload) == 1)
    }

    @Test("Nothing goes up early where room is made piece by piece")
    func reservedInPieces() async throws {
        let handle = try await self.mount.create("a")
        try await self.mount.reserve(handle, blocks: 8..<24)
        try await self.mount.write(handle, blocks: 0..<24)
        #expect(self.mount.changes.isEmpty)
        try await self.mount.close(handle)
        #expect(self.mount.remote.bytes(of: "a") == blocks(24))
    }

    @Test("A part that is changed after it was sent is sent as it is in the end", arguments: [true, false])
    func changed(isBeforeTheRest: Bool) async throws {
        let handle = try await self.mount.streaming()
        if !isBeforeTheRest { try await self.mount.write(handle, blocks: 17..<24) }
        try await self.mount.write(handle, [255], at: 3 * kibibyte)
        if isBeforeTheRest { try await self.mount.write(handle, blocks: 17..<24) }
        try await self.mount.close(handle)
        var expected = blocks(24)
        expected[3 * kibibyte] = 255
        #expect(self.mount.remote.bytes(of: "a") == expected)
        #expect(self.mount.remote.count(.completeUpload) == 1)
    }

    @Test("A part that is changed while it is being sent is sent as it is in the end")
    func changedUnderWay() async throws {
        self.mount.fileSystem.guessSizes { _, _ in UInt64(24 * kibibyte) }
        let hold = self.mount.remote.hold(.putPart)
        let handle = try await self.mount.create("a")
        try await self.mount.write(handle, blocks: 0..<9)
        await hold.reached(1)
        try await self.mount.write(handle, [255], at: 0)
        hold.release()
        try await self.mount.write(handle, blocks: 9..<24)
        try await self.mount.close(handle)
        #expect(self.mount.remote.bytes(of: "a") == [255] + blocks(24)[1...])
    }

    @Test("Nothing that was sent before a change is used, also if the close comes as that is noticed")
    func changedByAnother() async throws {
        let handle = try await self.mount.create("a")
        try await self.mount.write(handle, blocks: 0..<8)
        let staged = try #require(handle.content.staged)
        let uploader = self.mount.fileSystem.uploader
        let size = UInt64(24 * kibibyte)
        let upload = EarlyUpload(staged, size: size, path: path("a"), in: .root, uploader: uploader) { true }
        upload.advance(0..<UInt64(8 * kibibyte), in: 0..<UInt64(8 * kibibyte))
        // What a writer does that sees it, while the close has the upload in its hands.
        upload.drop()
        staged.unseal()
        #expect(!upload.end(for: size, at: path("a")))
        self.mount.fileSystem.release(handle)
    }

    @Test("An upload that is given up while it begins is not left in listings")
    func givenUpWhileItBegins() async throws {
        var writes = WriteOptions()
        // Else it would be deleted meanwhile where the machine is busy.
        writes.givenUpDelay = .seconds(3600)
        let lanes = UploadLanes(maximumCount: 16, partSize: UInt64(8 * kibibyte))
        let mount = try Mount(.deployed, lanes: lanes, writes: writes)
        mount.fileSystem.guessSizes { _, _ in UInt64(24 * kibibyte) }
        let hold = mount.remote.hold(.beginUpload, .beforeAnswering)
        let handle = try await mount.create("a")
        try await mount.write(handle, blocks: 0..<9)
        await hold.reached(1)
        try await mount.write(handle, [255], at: 0)
        hold.release()
        try await mount.close(handle)
        #expect(mount.remote.uploadCount == 1)
        // Told of in the moment after it began.
        repeat { mount.expire() } while try await mount.list() != ["a"]
    }

    @Test("A file that is cut and grown again has zeros, also where parts had been sent")
    func cut() async throws {
        let handle = try await self.mount.streaming()
        try await self.mount.truncate(handle, to: 4)
        try await self.mount.truncate(handle, to: 24)
        try await self.mount.close(handle)
        let expected = blocks(4) + [UInt8](repeating: 0, count: 20 * kibibyte)
        #expect(self.mount.remote.bytes(of: "a") == expected)
    }

    @Test("A change through another handle counts as well")
    func otherHandle() async throws {
        let handle = try await self.mount.streaming()
        let other = try await self.mount.open("a", writes: true, by: 7)
        try await self.mount.write(other, [255], at: 0, by: 7)
        try await self.mount.write(handle, blocks: 17..<24)
        try await self.mount.close(handle)
        try await self.mount.close(other, by: 7)
        #expect(self.mount.remote.bytes(of: "a") == [255] + blocks(24)[1...])
    }

    @Test("A file that is renamed while it goes up is whole under the new name, and gone under the old one")
    func renamed() async throws {
        let handle = try await self.mount.streaming()
        try await self.mount.rename("a", "b")
        try await self.mount.write(handle, blocks: 17..<24)
        try await self.mount.close(handle)
        #expect(self.mount.remote.tree == ["b"])
        #expect(self.mount.remote.bytes(of: "b") == blocks(24))
    }

    @Test("A file that is unlinked while it goes up is not on the service in the end")
    func unlinked() async throws {
        let handle = try await self.mount.streaming()
        try await self.mount.unlink("a")
        self.mount.remote.forgetCalls()
        try await self.mount.write(handle, blocks: 17..<24)
        try await self.mount.close(handle)
        #expect(self.mount.remote.tree.isEmpty)
        #expect(self.mount.changes.isEmpty)
    }

    @Test("An fsync in between puts on the service what is there, and the file goes on")
    func synced() async throws {
        let handle = try await self.mount.streaming()
        try await self.mount.fileSystem.fsync(handle)
        #expect(self.mount.remote.bytes(of: "a") == blocks(17))
        try await self.mount.write(handle, blocks: 17..<24)
        try await self.mount.close(handle)
        #expect(self.mount.remote.bytes(of: "a") == blocks(24))
    }

    @Test("A part that fails while the program writes is sent again at the close, alone")
    func failedPart() async throws {
        self.mount.faulty.fail(.putPart, with: .timedOut)
        self.mount.fileSystem.guessSizes { _, _ in UInt64(24 * kibibyte) }
        let handle = try await self.mount.create("a")
        try await self.mount.write(handle, blocks: 0..<24)
        try await self.mount.close(handle)
        #expect(self.mount.remote.bytes(of: "a") == blocks(24))
        #expect(self.mount.changes.count == 5 && Set(self.mount.changes) == self.requests)
    }

    @Test("An upload that cannot begin while the program writes begins at the close")
    func failedBegin() async throws {
        self.mount.faulty.fail(.beginUpload, with: .timedOut)
        self.mount.fileSystem.guessSizes { _, _ in UInt64(24 * kibibyte) }
        let handle = try await self.mount.create("a")
        try await self.mount.write(handle, blocks: 0..<24)
        try await self.mount.close(handle)
        #expect(self.mount.remote.bytes(of: "a") == blocks(24))
        #expect(self.mount.remote.count(.beginUpload) == 1)
    }

    @Test("An upload that the server has forgotten by the close is begun anew")
    func forgotten() async throws {
        let handle = try await self.mount.streaming()
        try await self.mount.write(handle, blocks: 17..<24)
        self.mount.faulty.fail(.completeUpload, with: .notFound)
        try await self.mount.close(handle)
        #expect(self.mount.remote.bytes(of: "a") == blocks(24))
        #expect(self.mount.remote.count(.beginUpload) == 2)
    }

    @Test("Nothing goes up early of a small file, one of unknown size, or one that is not written in order")
    func notEarly() async throws {
        let small = try await self.mount.create("small")
        try await self.mount.truncate(small, to: 15)
        try await self.mount.write(small, blocks: 0..<14)
        let unknown = try await self.mount.create("unknown")
        try await self.mount.write(unknown, blocks: 0..<20)
        let backwards = try await self.mount.create("backwards")
        try await self.mount.truncate(backwards, to: 24)
        for number in (1..<24).reversed() {
            try await self.mount.write(backwards, block(number), at: number * kibibyte)
        }
        #expect(self.mount.changes.isEmpty)
        for handle in [small, unknown, backwards] { try await self.mount.close(handle) }
        #expect(self.mount.remote.bytes(of: "unknown") == blocks(20))
    }

    @Test("A file of a temporary name that waits for its other one does not go up early")
    func temporary() async throws {
        let mount = try Mount(
            lanes: UploadLanes(maximumCount: 16, partSize: UInt64(8 * kibibyte)),
            writes: WriteOptions(temporaryDelay: .seconds(30))
        )
        let handle = try await mount.create("a.part")
        try await mount.truncate(handle, to: 24)
        try await mount.write(handle, blocks: 0..<17)
        #expect(mount.changes.isEmpty)
        mount.fileSystem.release(handle)
    }

    @Test(
        "Whatever is done to a file while it goes up, the service has what the program wrote",
        arguments: UInt64(0)..<30
    )
    func anything(seed: UInt64) async throws {
        var chance = SeededGenerator(seed: seed)
        self.mount.fileSystem.guessSizes { _, _ in UInt64(24 * kibibyte) }
        let handle = try await self.mount.create("a")
        var expected: [UInt8] = []
        func write(_ bytes: [UInt8], at offset: Int) async throws {
            try await self.mount.write(handle, bytes, at: offset)
            let end = offset + bytes.count
            if end > expected.count { expected += [UInt8](repeating: 0, count: end - expected.count) }
            expected.replaceSubrange(offset..<end, with: bytes)
        }
        for step in 0..<40 {
            switch Int.random(in: 0..<40, using: &chance) {
            case 0:
                let count = Int.random(in: 0...26, using: &chance)
                try await self.mount.truncate(handle, to: count)
                let size = count * kibibyte
                if size > expected.count {
                    expected += [UInt8](repeating: 0, count: size - expected.count)
                } else {
                    expected.removeLast(expected.count - size)
                }
            case 1: try await write([UInt8(step)], at: Int.random(in: 0...expected.count, using: &chance))
            case 2: try await self.mount.fileSystem.fsync(handle)
            case 3: try await self.mount.reserve(handle, blocks: 0..<Int.random(in: 20...26, using: &chance))
            case 4..<10:
                let count = Int.random(in: 1...9, using: &chance)
                let start = Int.random(in: 0...16, using: &chance)
                for number in start..<start + count { try await write(block(step), at: number * kibibyte) }
            default: if expected.count < 26 * kibibyte { try await write(block(step), at: expected.count) }
            }
        }
        try await self.mount.close(handle)
        #expect(self.mount.remote.bytes(of: "a") == expected)
    }
}
