import Testing

@testable import CLI

@Suite("How mount(8) calls")
struct MountCallerTests {
    private static let commands: Set<String> = ["mount", "unmount", "filesystems"]

    private func request(_ arguments: String...) throws -> MountCaller.Request {
        try MountCaller.request(arguments, commands: Self.commands)
    }

    @Test("What a person types is left as it is")
    func person() throws {
        #expect(try self.request("tetherfs") == .command([]))
        #expect(try self.request("/usr/bin/tetherfs", "unmount", "/mnt") == .command(["unmount", "/mnt"]))
        #expect(
            try self.request("tetherfs", "mount", "data", "-o", "ro")
                == .command(["mount", "data", "-o", "ro"])
        )
        #expect(try self.request("tetherfs", "data", "/mnt") == .command(["data", "/mnt"]))
    }

    @Test(
        "A helper of mount(8) takes its letters before and after its operands",
        arguments: ["/sbin/mount.fuse.tetherfs", "mount.tetherfs"]
    )
    func letters(program: String) throws {
        #expect(
            try self.request(program, "data", "/mnt", "-o", "rw")
                == .command(["mount", "-o", "rw", "--", "data", "/mnt"])
        )
        #expect(
            try self.request(program, "-sn", "-t", "fuse.tetherfs", "data", "/mnt", "-v", "-orw,umask=022")
                == .command(["mount", "-o", "rw,umask=022", "--", "data", "/mnt"])
        )
        #expect(
            try self.request(program, "data", "/mnt", "-r")
                == .command(["mount", "-o", "ro", "--", "data", "/mnt"])
        )
        #expect(try self.request(program, "--", "-f", "/mnt") == .command(["mount", "--", "-f", "/mnt"]))
    }

    @Test("Mount(8) with -f mounts nothing")
    func fake() throws {
        #expect(try self.request("mount.fuse.tetherfs", "data", "/mnt", "-f", "-o", "rw") == .nothing)
    }

    @Test("Mount_fuse3 calls with a source, a directory and options")
    func mountFuse() throws {
        #expect(
            try self.request("tetherfs", "data", "/mnt", "-o", "rw,dev,suid")
                == .command(["mount", "-o", "rw,dev,suid", "--", "data", "/mnt"])
        )
    }

    @Test("Umount(8) is answered without force")
    func umount() throws {
        #expect(
            try self.request("/sbin/umount.fuse.tetherfs", "/mnt", "-nv")
                == .command(["unmount", "--", "/mnt"])
        )
        #expect(
            try self.request("umount.tetherfs", "/mnt", "-l")
                == .command(["unmount", "--lazy", "--", "/mnt"])
        )
        #expect(
            try self.request("umount.tetherfs", "-f", "/mnt")
                == .command(["unmount", "--lazy", "--", "/mnt"])
        )
    }

    @Test(
        "A helper that is called wrongly says how",
        arguments: [
            ["mount.tetherfs", "data"], ["mount.tetherfs", "data", "/mnt", "-o"], ["umount.tetherfs"],
        ]
    )
    func wrong(arguments: [String]) {
        #expect(throws: UserError.self) { try MountCaller.request(arguments, commands: Self.commands) }
    }
}
