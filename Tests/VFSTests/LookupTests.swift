import Inodes
import Primitives
import RemoteAPI
import TestKit
import Testing

@testable import VFS

@Suite("What the kernel is told of names, and what it forgets", .timeLimit(.minutes(5)))
struct LookupTests {
    @Test("A name of unknown size is told at once, with attributes that hold for no time")
    func unknownSize() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(7))
        guard
            case .entry(_, let nameValidFor, let attributesValidFor) = try await mount.fileSystem.lookup(
                .root,
                Array("a".utf8)
            )
        else {
            Issue.record("absent")
            return
        }
        #expect(nameValidFor == .seconds(10) && attributesValidFor == .zero)
        #expect(mount.remote.count(.size) == 0)
    }

    @Test("A name of known size is told with it, for as long as it holds")
    func knownSize() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(7))
        #expect(try await mount.size("a") == 7)
        mount.clock.advance(by: .seconds(3))
        guard
            case .now(.entry(let attributes, let name, let validFor)) = try mount.fileSystem.lookupNow(
                .root,
                Array("a".utf8)
            )
        else {
            Issue.record("not from memory")
            return
        }
        #expect(attributes.size == 7)
        #expect(name == .seconds(7) && validFor == .seconds(7))
    }

    @Test("A missing name is told from memory, for as long as the listing holds")
    func absent() async throws {
        let mount = try Mount()
        _ = try await mount.list()
        mount.clock.advance(by: .seconds(3))
        guard case .now(.absent(let validFor)) = try mount.fileSystem.lookupNow(.root, Array("x".utf8)) else {
            Issue.record("not absent")
            return
        }
        #expect(validFor == .seconds(7))
        #expect(mount.remote.calls.count == 1)
    }

    @Test("Every lookup and every creation counts, and forgetting them all frees the number")
    func counts() async throws {
        let mount = try Mount()
        mount.remote.put("a", [1])
        let inode = try await mount.inode("a")
        _ = try await mount.inode("a")
        #expect(mount.fileSystem.namespace.lookupCount(of: inode) == 2)
        mount.fileSystem.forget(inode, count: 2)
        #expect(mount.fileSystem.namespace.lookupCount(of: inode) == nil)
        let handle = try await mount.create("new")
        #expect(mount.fileSystem.namespace.lookupCount(of: handle.content.inode) == 1)
        try await mount.close(handle)
    }

    @Test("An open file is kept although the kernel forgets its name")
    func forgottenOpen() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(100))
        let handle = try await mount.open("a")
        mount.fileSystem.forget(handle.content.inode, count: 1)
        #expect(try await mount.read(handle, 0..<100) == pattern(100))
        let inode = handle.content.inode
        mount.fileSystem.release(handle)
        #expect(mount.fileSystem.namespace.lookupCount(of: inode) == nil)
    }

    @Test("A thousand files that were written and forgotten leave a bounded number of staged files")
    func retainedBound() async throws {
        let mount = try Mount()
        for index in 0..<300 {
            let name = "f\(index)"
            try await mount.put(name, [1])
            mount.fileSystem.forget(try await mount.inode(name), count: 2)
        }
        #expect(mount.staged.count <= 256)
        #expect(mount.fileSystem.unsent.fileCount == 0)
    }

    @Test("A directory that is read in parts shows each name once, whatever comes and goes meanwhile")
    func readdirInParts() async throws {
        let mount = try Mount()
        for index in 10..<20 { mount.remote.put("f\(index)", [1]) }
        let handle = try await mount.fileSystem.opendir(.root)
        var names = mount.fileSystem.readdir(handle, from: 0).prefix(5).map(\.name.string)
        try await mount.unlink("f10")
        try await mount.put("f12a", [1])
        names += mount.fileSystem.readdir(handle, from: 5).map(\.name.string)
        #expect(names == (10..<20).map { "f\($0)" })
        #expect(mount.fileSystem.readdir(handle, from: 10).isEmpty)
        #expect(mount.fileSystem.readdir(handle, from: 999).isEmpty)
        // Who goes back to its first name, by seekdir(3), has the same names before them.
        #expect(mount.fileSystem.readdir(handle, from: 0).first?.name.string == "f10")
        #expect(mount.fileSystem.readdir(handle, from: 5).first?.name.string == "f15")
        mount.fileSystem.rewinddir(handle)
        #expect(mount.fileSystem.readdir(handle, from: 0).map(\.name.string).contains("f12a"))
        mount.fileSystem.releasedir(handle)
    }

    @Test("An open directory that is read again from its start shows what others did in it")
    func rewinding() async throws {
        let mount = try Mount()
        mount.remote.put("a", [1])
        let handle = try await mount.fileSystem.opendir(.root)
        defer { mount.fileSystem.releasedir(handle) }
        // What was just listed when it was opened need not be listed again.
        mount.expire()
        #expect(!mount.fileSystem.mustRelist(handle))
        #expect(mount.fileSystem.readdir(handle, from: 0).map(\.name.string) == ["a"])
        mount.remote.put("b", [1])
        #expect(mount.fileSystem.mustRelist(handle))
        try await mount.fileSystem.relist(handle)
        #expect(!mount.fileSystem.mustRelist(handle))
        mount.fileSystem.rewinddir(handle)
        #expect(mount.fileSystem.readdir(handle, from: 0).map(\.name.string) == ["a", "b"])
        #expect(mount.remote.count(.list) == 2)
    }

    @Test("Modes, owners and times that are set stay through writes, renames and listings")
    func attributes() async throws {
        let mount = try Mount()
        try await mount.put("a", [1])
        var change = AttributeChange()
        change.mode = 0o755
        change.userID = 7
        change.modificationTime = FileTime(seconds: 5, nanoseconds: 6)
        try mount.fileSystem.setattr(try await mount.inode("a"), change)
        mount.expire()
        try await mount.rename("a", "b")
        let attributes = try await mount.stat("b")
        #expect(attributes.mode == 0o755 && attributes.userID == 7)
        #expect(attributes.modificationTime == FileTime(seconds: 5, nanoseconds: 6))
    }

    @Test("A write is a change of the file's time")
    func writeTime() async throws {
        let mount = try Mount()
        try await mount.put("a", [1])
        var change = AttributeChange()
        change.modificationTime = FileTime(seconds: 5, nanoseconds: 6)
        try mount.fileSystem.setattr(try await mount.inode("a"), change)
        let handle = try await mount.open("a", writes: true)
        try await mount.write(handle, [2])
        #expect(try await mount.stat("a").modificationTime > FileTime(seconds: 5, nanoseconds: 6))
        try await mount.close(handle)
    }

    @Test("Attributes of what does not exist are not set")
    func missing() throws {
        let mount = try Mount()
        #expect(throws: FileSystemError.noSuchFile) {
            try mount.fileSystem.setattr(InodeNumber(rawValue: 99), AttributeChange())
        }
    }

    @Test(
        "An empty directory that another one has just replaced is stale by its number, so that its name is asked for"
    )
    func replacedDirectory() async throws {
        let mount = try Mount()
        mount.remote.put("d/f", [1])
        mount.remote.makeDirectory("e")
        let replaced = try await mount.inode("e")
        try await mount.rename("d", "e")
        let met = await failure { () async throws(FileSystemError) in
            if let handle = try mount.fileSystem.opendirNow(replaced) { return handle }
            return try await mount.fileSystem.opendir(replaced)
        }
        #expect(met == .stale)
        #expect(try await mount.list("e") == ["f"])
    }

    @Test(
        "A directory that a listing shows before its mkdir has returned is one directory, with what was made in it"
    )
    func listedWhileMade() async throws {
        let mount = try Mount()
        _ = try await mount.list()
        let hold = mount.remote.hold(.makeDirectory, .beforeAnswering)
        let making = Task { try await mount.mkdir("d") }
        await hold.reached()
        mount.expire()
        let handle = try await mount.create("d/f")
        try await mount.write(handle, [7])
        hold.release()
        try await making.value
        try await mount.close(handle)
        #expect(mount.remote.bytes(of: "d/f") == [7])
        #expect(try await mount.list("d") == ["f"])
        #expect(mount.recovered.isEmpty)
    }

    @Test("An open that the kernel did not hear of has the next one keep no pages")
    func unheardOpen() async throws {
        let mount = try Mount()
        mount.remote.put("a", pattern(100))
        let inode = try await mount.inode("a")
        func open() async throws -> (handle: FileHandle, keepsPages: Bool) {
            try await mount.fileSystem.open(inode, OpenMode(reads: true, writes: false), by: Mount.process)
        }
        mount.fileSystem.takeBack(try await open().handle)
        for keepsPages in [false, true] {
            let opened = try await open()
            #expect(opened.keepsPages == keepsPages)
            mount.fileSystem.release(opened.handle)
        }
    }
}
