import Testing

@testable import CLI

@Suite("Reading -o")
struct MountOptionsParserTests {
    @Test("Our options are read in both spellings", arguments: ["api_key_file", "api-key-file"])
    func spellings(name: String) throws {
        let parser = try MountOptionsParser(["\(name)=/etc/key"])
        #expect(parser.settings == [.apiKeyFile: Setting(text: "/etc/key", origin: "-o \(name)")])
    }

    @Test("Of an option given twice the last counts, also across several -o")
    func repeated() throws {
        let parser = try MountOptionsParser(["uid=1,uid=2", "uid=3,ro", "rw"])
        #expect(parser.settings[.uid]?.text == "3")
        #expect(parser.settings[.readOnly] == nil)
    }

    @Test("What mount(8), systemd and people write for themselves is ignored")
    func forOthers() throws {
        let parser = try MountOptionsParser([
            "_netdev,nofail,user,users,nouser,auto,noauto,x-systemd.automount,x-gvfs-show,comment=a b,user=joe,defaults"
        ])
        #expect(parser.settings.isEmpty)
        #expect(parser.kernelOptions.isEmpty)
    }

    @Test("The kernel's options are handed on once, and their opposites take them back")
    func kernelOptions() throws {
        let parser = try MountOptionsParser([
            "nodev,nosuid,noatime,nodev,sync", "suid,async,default_permissions",
        ])
        #expect(parser.kernelOptions == ["nodev", "noatime", "default_permissions"])
    }

    @Test("A comma in a value is written with a backslash")
    func escapedComma() throws {
        let parser = try MountOptionsParser([#"cache_dir=/a\,b,allow_other"#])
        #expect(parser.settings[.cacheDirectory]?.text == "/a,b")
        #expect(parser.settings[.allowOther]?.text == SettingLayers.on)
    }

    @Test(
        "An option that cannot be is refused with its name",
        arguments: [
            ("ro,bogus", "unknown option -o bogus; see: tetherfs mount --help"),
            ("bogus=1", "unknown option -o bogus; see: tetherfs mount --help"),
            ("nodev=1", "unknown option -o nodev; see: tetherfs mount --help"),
            ("uid", "-o uid needs a value: -o uid=…"),
            ("uid=", "-o uid needs a value: -o uid=…"),
            ("allow_other=1", "-o allow_other takes no value"),
        ]
    )
    func refused(text: String, message: String) {
        #expect(throws: UserError(message)) { try MountOptionsParser([text]) }
    }

    @Test("A remount is refused")
    func remount() {
        #expect(throws: UserError.self) { try MountOptionsParser(["remount,ro"]) }
    }
}
