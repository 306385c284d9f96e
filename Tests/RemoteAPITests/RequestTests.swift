import TestKit
import Testing
import Transport
import WireFormat

@testable import RemoteAPI

@Suite("Requests as they go over the wire")
struct RequestTests {
    private let authorization = "Authorization: \(ScriptedService.key)"

    @Test("A listing is asked for with the directory's encoded path, the root's with none")
    func list() async throws {
        let service = try ScriptedService([
            .listing(directories: ["d"], files: ["f"]), .listing(),
        ])
        let listing = try await service.files.list(.root)
        #expect(listing.entries.map(\.name.string) == ["d", "f"])
        #expect(listing.entries.map(\.kind) == [.directory, .file])
        _ = try await service.files.list(path("a b/ü?"))
        #expect(
            service.transport.lines == [
                "GET http://server:8080/v1/filesystems/f-1/list/",
                "GET http://server:8080/v1/filesystems/f-1/list/a%20b/%C3%BC%3F",
            ]
        )
        #expect(service.transport.sent[0].headers == [self.authorization])
        #expect(service.transport.sent[0].bytes.isEmpty)
    }

    @Test("A long listing has ten times as long to arrive as another answer, and no longer to stand still")
    func listDeadline() async throws {
        let service = try ScriptedService([.listing()])
        _ = try await service.files.list(path("d"))
        #expect(service.transport.sent[0].deadline == .seconds(300))
        #expect(service.transport.sent[0].stallLimit == .seconds(30))
    }

    @Test("A size is asked for with ?init=true")
    func size() async throws {
        let service = try ScriptedService([.size(1 << 44)])
        #expect(try await service.files.size(of: path("a%/b")) == 1 << 44)
        #expect(service.lines == ["GET files/a%25/b?init=true"])
        #expect(service.transport.sent[0].headers == [self.authorization])
    }

    @Test(
        "A size that no file here can have is an error",
        arguments: ["17592186044417", "18446744073709551615"]
    )
    func impossibleSize(size: String) async throws {
        let service = try ScriptedService([.text(200, "{\"size\":\(size)}")], retries: 0)
        let error = await failure { () async throws(RemoteError) in
            try await service.files.size(of: path("a"))
        }
        #expect(error?.isMalformedAnswer("size") == true)
    }

    @Test("A read names its range in Content-Range, END exclusive, and gets time by its length")
    func read() async throws {
        let service = try ScriptedService([.bytes(200, pattern(64 << 10))])
        let sink = CollectingSink()
        let count = try await service.files.read(path("a"), 65_536..<131_072, into: sink)
        #expect(count == 65_536)
        #expect(sink.bytes == pattern(64 << 10))
        #expect(service.lines == ["GET files/a"])
        #expect(service.transport.sent[0].headers == [self.authorization, "Content-Range: 65536-131072"])
        #expect(service.transport.sent[0].deadline == .seconds(31))
        #expect(service.transport.sent[0].stallLimit == .seconds(30))
    }

    @Test("A directory is made with an empty POST")
    func mkdir() async throws {
        let service = try ScriptedService([.text(200)])
        try await service.files.makeDirectory(path("a/b"))
        #expect(service.lines == ["POST mkdir/a/b"])
        #expect(service.transport.sent[0].headers == [self.authorization])
        #expect(service.transport.sent[0].bytes.isEmpty)
    }

    @Test("The root cannot be made, and no request tries to")
    func mkdirRoot() async throws {
        let service = try ScriptedService([])
        #expect(
            await failure { () async throws(RemoteError) in try await service.files.makeDirectory(.root) }
                == .alreadyExists
        )
        #expect(service.lines.isEmpty)
    }

    @Test("An upload begins with its size, and either spelling of the id is taken")
    func begin() async throws {
        let service = try ScriptedService([
            .text(200, #"{"uploadId":"abc"}"#), .text(200, #"{"upload_id":"DEF"}"#),
        ])
        #expect(try await service.files.beginUpload(path("a"), size: 123) == uploadID("abc"))
        #expect(try await service.files.beginUpload(path("a"), size: 7) == uploadID("DEF"))
        #expect(service.lines == ["POST files/a", "POST files/a"])
        #expect(service.transport.sent.map(\.body) == [#"{"size":123}"#, #"{"size":7}"#])
        #expect(service.transport.sent[0].ownHeaders == ["Content-Type: application/json"])
    }

    @Test("A part names its upload and range, and carries exactly its bytes")
    func part() async throws {
        let service = try ScriptedService([.text(200)])
        let body = pattern(128 << 10)
        try await service.files.putPart(path("a"), uploadID("abc"), at: 10, body: ArrayReader(body))
        #expect(service.lines == ["PUT files/a"])
        #expect(service.transport.sent[0].ownHeaders == ["Content-Range: [abc]:10-131082"])
        #expect(service.transport.sent[0].bytes == body)
        #expect(service.transport.sent[0].deadline == .seconds(32))
    }

    @Test("An upload ends with complete, both spellings of its id, and time by its size to put it on disk")
    func complete() async throws {
        let service = try ScriptedService([.text(200)])
        try await service.files.completeUpload(
            path("a"),
            uploadID("abc"),
            size: 256 << 20,
            previousSize: nil
        )
        #expect(service.lines == ["POST files/a"])
        #expect(
            service.transport.sent[0].body == #"{"complete":true,"uploadId":"abc","upload_id":"abc"}"#
        )
        #expect(service.transport.sent[0].deadline == .seconds(34))
        #expect(service.transport.sent[0].stallLimit == .seconds(34))
    }

    @Test("A deletion is one request")
    func delete() async throws {
        let service = try ScriptedService([.text(200), .text(200)])
        try await service.files.delete(path("a"), kind: .file)
        try await service.files.delete(path("d/e"), kind: .directory)
        #expect(service.lines == ["DELETE files/a", "DELETE files/d/e"])
    }

    @Test("The root is never deleted, and no request tries to")
    func deleteRoot() async throws {
        let service = try ScriptedService([])
        #expect(
            await failure { () async throws(RemoteError) in
                try await service.files.delete(.root, kind: .directory)
            } == .forbidden
        )
        #expect(service.lines.isEmpty)
    }

    @Test("Filesystems are listed, made, shared and deleted as the API says")
    func filesystems() async throws {
        let service = try ScriptedService([
            .text(200, #"[{"filesystem_id":"i","filesystem_name":"n"}]"#),
            .text(200, #"{"filesystem_id":"j","filesystem_name":"m"}"#), .text(200), .text(200),
        ])
        let id = try #require(FilesystemID("f-1"))
        #expect(
            try await service.client.filesystems() == [FilesystemBody(filesystemID: "i", filesystemName: "n")]
        )
        #expect(try await service.client.createFilesystem(named: "m").filesystemID == "j")
        try await service.client.shareFilesystem(id, with: "u-2")
        try await service.client.deleteFilesystem(id)
        #expect(
            service.transport.lines == [
                "GET http://server:8080/v1/filesystems", "POST http://server:8080/v1/filesystems",
                "POST http://server:8080/v1/filesystems/f-1/share",
                "DELETE http://server:8080/v1/filesystems/f-1",
            ]
        )
        #expect(
            service.transport.sent.map(\.body) == [
                "", #"{"filesystem_name":"m"}"#, #"{"grantee":"u-2"}"#, "",
            ]
        )
    }

    @Test(
        "An endpoint is an http or https URL without a slash at its end",
        arguments: [
            ("http://h", "http://h"), ("https://h:8443/", "https://h:8443"),
            ("HTTP://h/a/b//", "HTTP://h/a/b"),
            ("http://[::1]:80", "http://[::1]:80"), ("h", nil), ("ftp://h", nil), ("http://", nil),
            ("http:///v1", nil),
            ("http://:80", nil), ("http://u:p@h", nil), ("http://h?x", nil), ("http://h#x", nil),
            ("http://h /", nil),
            ("http://h\n", nil), ("http://hü", nil), ("", nil),
        ] as [(String, String?)]
    )
    func endpoint(text: String, url: String?) {
        #expect(Endpoint(text)?.url == url)
    }

    @Test("An endpoint says whether the key travels encrypted")
    func endpointKinds() {
        #expect(Endpoint("HTTPS://h")?.isEncrypted == true)
        #expect(Endpoint("http://h")?.isEncrypted == false)
    }
}
