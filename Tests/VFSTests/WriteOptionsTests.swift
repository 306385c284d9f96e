import Testing
import WireFormat

@testable import VFS

@Suite("Which files wait for another name")
struct WriteOptionsTests {
    @Test(
        "What rsync, git, GLib, vim, sed and browsers write and then rename is temporary",
        arguments: [
            ".photo.jpg.a8Fq2Z", "tmp_obj_8sD2fa", "tmp_pack_x", "index.lock", ".goutputstream-ABC123",
            "4913",
            "notes.txt~", ".notes.txt.swp", "sedA1b2C3", "a.tmp", "film.mkv.part", "x.crdownload",
        ]
    )
    func temporary(_ text: String) throws {
        #expect(TemporaryNames.standard.contain(try #require(FileName(text))))
    }

    @Test(
        "What is meant to stay is not temporary",
        arguments: ["notes.txt", ".bashrc", "49130", "tmp", "partial", "temp.txt", ".config", "sed"]
    )
    func lasting(_ text: String) throws {
        #expect(!TemporaryNames.standard.contain(try #require(FileName(text))))
    }

    @Test("Nothing waits in sync mode unless a delay is given, nor in write-back with a delay of zero")
    func delays() throws {
        let name = try #require(FileName("a.tmp"))
        #expect(!WriteOptions(mode: .sync).defers(name))
        #expect(WriteOptions(mode: .sync, temporaryDelay: .seconds(1)).defers(name))
        #expect(WriteOptions(mode: .writeBack).defers(name))
        #expect(!WriteOptions(mode: .writeBack, temporaryDelay: .zero).defers(name))
    }
}
