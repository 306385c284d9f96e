import TestKit
import Testing

@testable import WireFormat

@Suite("Names, paths and ids")
struct NamesTests {
    @Test("A name may hold any character but a slash and NUL")
    func names() {
        for text in [
            "a", " ", "a b", "...", ".a", "..a", "a\nb", "%2F", "ü", "🙂", "a\\b", "\u{7f}", "?", "*",
        ] {
            #expect(FileName(text)?.string == text)
        }
    }

    @Test(
        "What no directory can hold is no name",
        arguments: ["", ".", "..", "/", "a/b", "a\0", "\0"]
    )
    func refusedNames(text: String) {
        #expect(FileName(text) == nil)
    }

    @Test("A name has up to 255 bytes, not characters")
    func nameLength() {
        #expect(FileName(String(repeating: "x", count: 255)) != nil)
        #expect(FileName(String(repeating: "x", count: 256)) == nil)
        #expect(FileName(String(repeating: "ü", count: 127)) != nil)
        #expect(FileName(String(repeating: "ü", count: 128)) == nil)
    }

    @Test("Bytes that are not UTF-8 are no name, and are not mended into one")
    func invalidBytes() {
        #expect(FileName(bytes: [0x61, 0xff]) == nil)
        #expect(FileName(bytes: [0xc3]) == nil)
        #expect(FileName(bytes: [0xed, 0xa0, 0x80]) == nil)
        #expect(FileName(bytes: Array("ü".utf8))?.string == "ü")
    }

    @Test("Two Unicode spellings of a name are two names")
    func normalization() {
        let composed = name("\u{e9}")
        let decomposed = name("e\u{301}")
        #expect(composed != decomposed)
        #expect(Set([composed, decomposed]).count == 2)
        #expect(Array(decomposed.string.utf8) == [0x65, 0xcc, 0x81])
    }

    @Test("Names are ordered by their bytes")
    func order() {
        let sorted = ["b", "a", "Z", "é", "e\u{301}", "a1", "a"].map { name($0) }.sorted().map(\.string)
        #expect(
            sorted.map { Array($0.utf8) }
                == ["Z", "a", "a", "a1", "b", "e\u{301}", "é"].map { Array($0.utf8) }
        )
    }

    @Test("Slashes that are doubled, leading or trailing count for nothing in a path")
    func slashes() {
        #expect(RemotePath("//a///b/")?.description == "a/b")
        #expect(RemotePath("a/b") == RemotePath("/a/b"))
        #expect(RemotePath("")?.isRoot == true)
        #expect(RemotePath("///") == .root)
    }

    @Test(
        "A path that climbs, or has a component that is no name, is none",
        arguments: ["..", "a/../b", "a/./b", ".", "a/\0", "/..", String(repeating: "x", count: 256)]
    )
    func refusedPaths(text: String) {
        #expect(RemotePath(text) == nil)
    }

    @Test("A path knows its name, its parent and its children")
    func family() {
        let file = path("a/b/c")
        #expect(file.name == name("c"))
        #expect(file.parent == path("a/b"))
        #expect(file.parent.appending(name("d")) == path("a/b/d"))
        #expect(RemotePath.root.name == nil)
        #expect(RemotePath.root.parent == .root)
    }

    @Test("In a URL every byte but the unreserved ones and the slashes is encoded")
    func percentEncoded() {
        #expect(path("a b/ü%/?#&+").percentEncoded == "a%20b/%C3%BC%25/%3F%23%26%2B")
        #expect(path("A-Z.a_z~09").percentEncoded == "A-Z.a_z~09")
        #expect(path("…/..a").percentEncoded == "%E2%80%A6/..a")
        #expect(
            path("a\nb\\c\"d'e(f)*!,;:@=$[]").percentEncoded
                == "a%0Ab%5Cc%22d%27e%28f%29%2A%21%2C%3B%3A%40%3D%24%5B%5D"
        )
        #expect(RemotePath.root.percentEncoded == "")
    }

    @Test("Percent-encoding is undone once, whatever the case of its digits")
    func percentDecoding() {
        #expect(PercentEncoding.decode("a%2fb%2F%25%00") == Array("a/b/%\0".utf8))
        #expect(PercentEncoding.decode("%2525") == Array("%25".utf8))
        #expect(PercentEncoding.decode("%ff+") == [0xff, 0x2b])
        #expect(PercentEncoding.decode("") == [])
    }

    @Test(
        "A percent sign without two hexadecimal digits is refused",
        arguments: ["%", "%2", "a%g0", "%-1", "%%41"]
    )
    func brokenEncoding(text: String) {
        #expect(PercentEncoding.decode(text) == nil)
    }

    @Test("Every byte survives encoding and decoding")
    func everyCharacter() {
        let text = String((1...0x2ff).compactMap(Unicode.Scalar.init).map(Character.init))
        #expect(PercentEncoding.decode(PercentEncoding.encode(text)) == Array(text.utf8))
    }

    @Test("Ids are of letters, digits, - and _, so that they are safe in a URL, a header and a path")
    func ids() {
        #expect(FilesystemID("0a1B-_")?.rawValue == "0a1B-_")
        #expect(UploadID("0a1B-_")?.description == "0a1B-_")
        for text in ["", "a/b", "a b", "..", "a]", "a\r\n", "é", "a.b", "a%"] {
            #expect(FilesystemID(text) == nil)
            #expect(UploadID(text) == nil)
        }
    }

    @Test("Ids have a bounded length")
    func idLength() {
        #expect(FilesystemID(String(repeating: "a", count: 64)) != nil)
        #expect(FilesystemID(String(repeating: "a", count: 65)) == nil)
        #expect(UploadID(String(repeating: "a", count: 256)) != nil)
        #expect(UploadID(String(repeating: "a", count: 257)) == nil)
    }
}
