import RemoteAPI
import TestKit
import Testing

@testable import VFS

@Suite("A service that fails", .timeLimit(.minutes(5)))
struct FailureTests {
    @Test("What a change made whose answer did not come is seen at once, not when the listing is too old")
    func doubt() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(10))
        #expect(try await mount.list() == ["a"])
        mount.faulty.loseAnswer(.makeDirectory, with: .timedOut)
        #expect(
            await failure { () throws(FileSystemError) in try await mount.mkdir("d") } == .remote(.timedOut)
        )
        #expect(try await mount.list() == ["a", "d"])
        mount.faulty.loseAnswer(.completeUpload, with: .timedOut)
        #expect(
            await failure { () throws(FileSystemError) in try await mount.rename("a", "b") }
                == .remote(.timedOut)
        )
        #expect(try await mount.list() == ["a", "b", "d"])
        mount.faulty.loseAnswer(.delete, with: .timedOut)
        #expect(
            await failure { () throws(FileSystemError) in try await mount.unlink("b") } == .remote(.timedOut)
        )
        #expect(try await mount.list() == ["a", "d"])
    }

    @Test(
        "A close whose upload fails says so, the old file stays, and the bytes are kept for the next close",
        arguments: [.beginUpload, .putPart, .completeUpload] as [CallKind]
    )
    func failedClose(kind: CallKind) async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(10))
        let handle = try await mount.open("a", writes: true, truncates: true)
        try await mount.write(handle, pattern(20))
        mount.faulty.fail(kind, with: .unavailable("x"))
        #expect(
            await failure { () throws(FileSystemError) in
                try await mount.fileSystem.flush(handle, by: Mount.process)
            } == .remote(.unavailable("x"))
        )
        #expect(mount.remote.bytes(of: "a") == pattern(10))
        #expect(try await mount.read(handle) == pattern(20))
        #expect(mount.fileSystem.unsent.fileCount == 1)
        #expect(mount.fileSystem.unsent.byteCount == 20)
        #expect(mount.staged.contains { $0.hasPrefix("dirty-") })
        try await mount.close(handle)
        #expect(mount.remote.bytes(of: "a") == pattern(20))
        #expect(mount.fileSystem.unsent.fileCount == 0)
    }

    @Test("A failed close is logged once, with the path and the reason")
    func log() async throws {
        let mount = try Mount()
        mount.faulty.fail(.putPart, with: .unavailable("the reason"))
        #expect(await failure { () throws(FileSystemError) in try await mount.put("d file", [1]) } != nil)
        let errors = mount.log.text.filter { $0.hasPrefix("error") }
        #expect(errors.count == 1)
        #expect(errors.first?.contains("path=d file") == true)
        #expect(errors.first?.contains("the reason") == true)
    }

    @Test("A file that was closed with a failure is still there for readers, and drain uploads it")
    func drained() async throws {
        let mount = try Mount()
        mount.faulty.fail(.putPart, with: .timedOut, count: 2)
        #expect(
            await failure { () throws(FileSystemError) in try await mount.put("a", pattern(20)) }
                == .remote(.timedOut)
        )
        #expect(try await mount.get("a") == pattern(20))
        #expect(try await mount.list() == ["a"])
        // Also after listings that do not have it.
        mount.expire()
        #expect(try await mount.size("a") == 20)
        let unsent = await mount.fileSystem.drain()
        #expect(unsent.map(\.place) == ["a"])
        #expect(unsent.map(\.byteCount) == [20])
        #expect(unsent.map(\.error) == [.remote(.timedOut)])
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(mount.remote.bytes(of: "a") == pattern(20))
        #expect(mount.fileSystem.unsent.fileCount == 0)
    }

    @Test("An upload that failed with nobody to tell is told to the next who closes the file")
    func toldLater() async throws {
        let mount = try Mount()
        let handle = try await mount.create("a")
        try await mount.write(handle, [1], by: 0)
        mount.faulty.fail(.putPart, with: .timedOut, count: 2)
        mount.fileSystem.release(handle)
        // The failed attempt has ended when the log has it.
        while mount.fileSystem.unsent.fileCount == 1, mount.log.text.isEmpty { await Task.yield() }
        let next = try await mount.open("a", writes: true)
        #expect(
            await failure { () throws(FileSystemError) in
                try await mount.fileSystem.flush(next, by: Mount.process)
            } == .remote(.timedOut)
        )
        try await mount.close(next)
        #expect(mount.remote.bytes(of: "a") == [1])
    }

    @Test("Bytes that could never be sent are left to the next mount when the mount ends")
    func recovered() async throws {
        let directory = TemporaryDirectory()
        try await {
            let mount = try Mount(in: directory)
            mount.faulty.fail(.putPart, with: .timedOut, count: 9)
            #expect(
                await failure { () throws(FileSystemError) in try await mount.put("a", pattern(20)) } != nil
            )
        }()
        let left = directory.names(in: "cache/f-1/staging").filter { $0.hasPrefix("dirty-") }
        #expect(left.count == 1)
        #expect(directory.bytes(of: "cache/f-1/staging/\(left.first ?? "")") == pattern(20))
        #expect(directory.names(in: "cache/f-1/recovered").isEmpty)
    }

    @Test("A completion whose answer was lost for good fails the close, and the file is uploaded again")
    func lostCompletion() async throws {
        let mount = try Mount()
        mount.faulty.loseAnswer(.completeUpload, with: .timedOut)
        let handle = try await mount.create("a")
        try await mount.write(handle, [1])
        #expect(
            await failure { () throws(FileSystemError) in
                try await mount.fileSystem.flush(handle, by: Mount.process)
            } == .remote(.timedOut)
        )
        try await mount.write(handle, [2])
        try await mount.close(handle)
        #expect(mount.remote.bytes(of: "a") == [2])
        try await mount.unlink("a")
        #expect(mount.remote.tree.isEmpty)
    }

    @Test("A file that was given up after a failed first upload can be removed")
    func unlinkAfterFailure() async throws {
        let mount = try Mount()
        mount.faulty.fail(.putPart, with: .timedOut)
        #expect(await failure { () throws(FileSystemError) in try await mount.put("a", [1]) } != nil)
        try await mount.unlink("a")
        #expect(try await !mount.exists("a"))
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(mount.recovered.isEmpty)
    }

    @Test("A file whose upload failed can be renamed, and arrives under its new name")
    func renameAfterFailure() async throws {
        let mount = try Mount()
        mount.faulty.fail(.putPart, with: .timedOut)
        #expect(await failure { () throws(FileSystemError) in try await mount.put("a", [1]) } != nil)
        try await mount.rename("a", "b")
        #expect(mount.remote.tree == ["b"])
        #expect(mount.fileSystem.unsent.fileCount == 0)
    }

    @Test(
        "A hiccup is never an absence, nor the start of an empty file",
        arguments: [.list, .size] as [CallKind],
        [.unavailable("500"), .timedOut, .malformedAnswer("HTML"), .notFound] as [RemoteError]
    )
    func hiccup(kind: CallKind, error: RemoteError) async throws {
        let mount = try Mount()
        mount.remote.put("d/a", pattern(10))
        _ = try await mount.list("d")
        mount.expire()
        mount.faulty.fail(kind, with: error, count: 99)
        let met = await failure { () throws(FileSystemError) in try await mount.get("d/a") }
        #expect(met != nil && met != .noSuchFile && met != .stale)
        if kind == .list {
            let created = await failure { () throws(FileSystemError) in try await mount.create("d/a") }
            #expect(created != nil && created != .noSuchFile)
        }
        mount.faulty.heal()
        #expect(mount.remote.bytes(of: "d/a") == pattern(10))
        #expect(try await mount.get("d/a") == pattern(10))
    }

    @Test("A read that fails is an error of that read alone")
    func failedRead() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(100))
        let handle = try await mount.open("a")
        mount.faulty.fail(.read, with: .timedOut)
        #expect(
            await failure { () throws(FileSystemError) in try await mount.read(handle) } == .remote(.timedOut)
        )
        #expect(try await mount.read(handle) == pattern(100))
        mount.fileSystem.release(handle)
    }

    @Test("Bytes that a write needs from the service and cannot get fail the close, not the content")
    func missingBase() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(100_000))
        let handle = try await mount.open("a", writes: true)
        try await mount.write(handle, [255], at: 10)
        mount.faulty.fail(.read, with: .timedOut, count: 9)
        #expect(
            await failure { () throws(FileSystemError) in
                try await mount.fileSystem.flush(handle, by: Mount.process)
            } == .remote(.timedOut)
        )
        #expect(mount.remote.bytes(of: "a") == pattern(100_000))
        mount.faulty.heal()
        try await mount.close(handle)
        var expected = pattern(100_000)
        expected[10] = 255
        #expect(mount.remote.bytes(of: "a") == expected)
    }

    @Test("A read that is given up ends at once, with the fetch")
    func interrupted() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(100))
        let handle = try await mount.open("a")
        let hold = mount.remote.hold(.read)
        let answers = Answers()
        guard case .pending(let cancel) = try mount.fileSystem.read(handle, 0..<10, completion: answers.take)
        else {
            Issue.record("not pending")
            return
        }
        await hold.reached()
        cancel()
        await mount.remote.ended(.read)
        #expect(answers.all == [.interrupted])
        hold.release()
        #expect(try await mount.read(handle, 0..<10) == pattern(10))
        mount.fileSystem.release(handle)
    }

    @Test("Every error has an errno that programs take for what it is")
    func errno() {
        let errnos: [(FileSystemError, Int32)] = [
            (.remote(.timedOut), 110), (.remote(.unavailable("x")), 5), (.remote(.malformedAnswer("x")), 5),
            (.remote(.unauthorized), 13), (.remote(.forbidden), 13), (.remote(.outOfSpace), 28),
            (.remote(.notFound), 5), (.noSuchFile, 2), (.notEmpty, 39), (.exists, 17), (.isDirectory, 21),
            (.notDirectory, 20), (.interrupted, 4), (.stale, 116), (.nameTooLong, 36), (.notSupported, 95),
            (.unrepresentableName, 84), (.notPermitted, 1), (.fileTooLarge, 27), (.invalidArgument, 22),
            (.crossesDevices, 18),
        ]
        for (error, number) in errnos { #expect(error.errno.rawValue == number, "\(error)") }
    }

    // MARK: An upload whose last answer was lost

    /// A file of 50 bytes that may have become one of 100, as the answer to its close was lost.
    private func inDoubt(_ writes: WriteOptions = WriteOptions()) async throws -> (Mount, FileHandle) {
        let mount = try Mount(writes: writes)
        mount.remote.put("a", pattern(50))
        _ = try await mount.size("a")
        let handle = try await mount.open("a", writes: true, truncates: true)
        try await mount.write(handle, pattern(100))
        mount.faulty.loseAnswer(.completeUpload, with: .timedOut)
        #expect(
            await failure { () throws(FileSystemError) in
                try await mount.fileSystem.flush(handle, by: Mount.process)
            } == .remote(.timedOut)
        )
        mount.remote.forgetCalls()
        return (mount, handle)
    }

    @Test("The size of an upload in doubt tells its own next attempt that it is there, and no other upload")
    func sizeInDoubt() async throws {
        for isChanged in [false, true] {
            let (mount, handle) = try await self.inDoubt()
            if isChanged { try await mount.write(handle, pattern(100, from: 7)) }
            try await mount.close(handle)
            #expect(mount.remote.previousSizes.last == (isChanged ? 100 : 50))
            #expect(mount.remote.bytes(of: "a") == pattern(100, from: isChanged ? 7 : 0))
        }
    }

    @Test("The size of an upload in doubt does not tell that a file as long took its place by a rename")
    func renamedOverDoubt() async throws {
        let (mount, handle) = try await self.inDoubt()
        mount.remote.put("b", pattern(100, from: 7))
        mount.expire()
        let hold = mount.remote.hold(.completeUpload)
        let renaming = Task { try await mount.rename("b", "a") }
        await hold.reached()
        #expect(try await mount.fileSystem.staging.journal.moves().first?.copied == [path("b"): 100])
        hold.release()
        try await renaming.value
        #expect(mount.remote.previousSizes == [100])
        mount.fileSystem.release(handle)
    }

    @Test("What was written after an upload in doubt is not taken for it by the next mount, though as long")
    func recoveredAfterDoubt() async throws {
        let lastWriter = WriteOptions(onConflict: .lastWriterWins)
        var (mount, handle): (Mount, FileHandle?) = try await self.inDoubt(lastWriter)
        if let handle {
            try await mount.write(handle, pattern(100, from: 7))
            mount.faulty.fail(.completeUpload, with: .timedOut)
            let error = await failure { () throws(FileSystemError) in try await mount.close(handle) }
            #expect(error == .remote(.timedOut))
        }
        handle = nil
        #expect(mount.remote.bytes(of: "a") == pattern(100))
        try await Mount.remount(&mount)
        try await mount.fileSystem.recover()
        #expect(await mount.fileSystem.drain().isEmpty)
        #expect(mount.remote.bytes(of: "a") == pattern(100, from: 7))
    }
}
