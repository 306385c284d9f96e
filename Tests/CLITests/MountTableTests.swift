import Testing

@testable import CLI

@Suite("Reading /proc/self/mountinfo")
struct MountTableTests {
    private let table = MountTable(
        #"""
        22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
        90 22 0:50 / /mnt/with\040blank\134 rw,nosuid - fuse.tetherfs my\040data\043 rw,user_id=1000,group_id=100
        91 22 0:51 / /mnt/x rw shared:1 master:2 propagate_from:2 - tmpfs tmpfs rw
        92 91 0:52 / /mnt/x rw - fuse.tetherfs data rw,user_id=0,group_id=0,allow_other
        nonsense
        """#
    )

    @Test("Escaped bytes come out as they were")
    func escapes() {
        let mount = self.table.mount(at: #"/mnt/with blank\"#)
        #expect(mount?.source == "my data#")
        #expect(mount?.userID == 1000)
        #expect(mount?.device == "0:50")
        #expect(mount?.isTetherfs == true)
    }

    @Test("Of two mounts at one path the upper is seen")
    func stacked() {
        #expect(self.table.mount(at: "/mnt/x")?.id == 92)
    }

    @Test("Lines that make no sense are left out, and other paths have no mount")
    func others() {
        #expect(self.table.entries.count == 4)
        #expect(self.table.mount(at: "/mnt") == nil)
    }

    @Test("A mount is found whose filesystem or mount point begins with a mark that joins what is before it")
    func marks() {
        let table = MountTable("90 22 0:50 / /mnt/a rw - fuse.tetherfs \u{301}a rw,user_id=7\n")
        #expect(table.mount(at: "/mnt/a")?.source == "\u{301}a")
        #expect(table.mount(at: "/mnt/a")?.userID == 7)
    }

    @Test("Mount points that differ in how a letter is spelt are two")
    func spellings() {
        let table = MountTable("90 22 0:50 / /mnt/\u{e9} rw - fuse.tetherfs data rw,user_id=7\n")
        #expect(table.mount(at: "/mnt/\u{e9}") != nil)
        #expect(table.mount(at: "/mnt/e\u{301}") == nil)
    }

    @Test(
        "A backslash that escapes nothing stays",
        arguments: [(#"a\0"#, #"a\0"#), (#"\999"#, #"\999"#), (#"\"#, #"\"#)]
    )
    func strayBackslash(text: String, expected: String) {
        #expect(MountTable.unescape(Substring(text)) == expected)
    }
}
