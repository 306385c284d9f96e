import Testing
import WireFormat

@testable import CLI

@Suite("Places in filesystems, as they are typed")
struct RemoteLocationTests {
    @Test(
        "NAME:/path is a place in a filesystem, also with slashes too many or too few",
        arguments: [
            ("data:/a/b", "a/b"), ("data:a/b", "a/b"), ("data:", ""), ("data:/", ""),
            ("data:/./a//b/.", "a/b"),
            ("data:/a:b", "a:b"),
        ]
    )
    func remote(text: String, path: String) throws {
        let location = try #require(try RemoteLocation(text))
        #expect(location.filesystem == "data")
        #expect(location.path.description == path)
    }

    @Test(
        "What has no colon, or a slash before it, is a local file",
        arguments: ["a", "/a:b", "./a:b", ":a", ""]
    )
    func local(text: String) throws {
        #expect(try RemoteLocation(text) == nil)
    }

    @Test("No path of a filesystem goes up", arguments: ["data:/../a", "data:/a/.."])
    func above(text: String) {
        #expect(throws: UserError.self) { try RemoteLocation(text) }
    }

    @Test("A local path where a place is wanted is refused with what to type")
    func required() {
        let error = #expect(throws: UserError.self) { try RemoteLocation.required("data/photos") }
        #expect(error?.description.hasSuffix("write it as NAME:/path, such as data:/") == true)
    }

    @Test(
        "A name that is near another is taken for a slip",
        arguments: [
            ("dta", "data"), ("Data", "data"), ("daat", "data"), ("backups", "backup"), ("x", nil),
            ("pictures", nil),
            ("", nil),
        ]
    )
    func near(text: String, found: String?) {
        #expect(NearSpelling.of(text, among: ["backup", "data", "y"]) == found)
    }

    @Test(
        "Numbers of bytes are short for persons",
        arguments: [
            (0, "0"), (999, "999"), (1000, "1.0K"), (1024, "1.0K"), (10189, "10K"), (12 << 20, "12M"),
            ((1 << 20) - 1, "1.0M"), (1 << 44, "16T"), (UInt64.max, "16E"),
        ] as [(UInt64, String)]
    )
    func bytes(count: UInt64, text: String) {
        #expect(ByteCountText.short(count) == text)
    }
}
