import Glibc
import TestKit
import Testing
import Transport
import WireFormat

@testable import RemoteAPI

@Suite("Answers that are not as promised, and what is never shown")
struct AnswerTests {
    private func listing(_ json: String) async throws -> RemoteListing {
        try await ScriptedService([.text(200, json)]).files.list(.root)
    }

    @Test("A name that no directory can hold is left out and counted, the others are shown")
    func refusedNames() async throws {
        let long = String(repeating: "x", count: 256)
        let listing = try await self.listing(
            #"{"directories":["a/b","..","","good"],"files":["x\u0000","\#(long)",".","fine","/"]}"#
        )
        #expect(listing.entries.map(\.name.string) == ["good", "fine"])
        #expect(listing.refusedNameCount == 7)
    }

    @Test("A name that is half of a surrogate pair, as of bytes that are not UTF-8, hides no other")
    func surrogates() async throws {
        let listing = try await self.listing(
            #"{"directories":[],"files":["bad\udcff","\ud83d\ude00","\ud83d","a\\ud800","z"]}"#
        )
        #expect(listing.entries.map(\.name.string) == ["😀", #"a\ud800"#, "z"])
        #expect(listing.refusedNameCount == 2)
    }

    @Test("A name of raw bytes that are not UTF-8 hides no other")
    func rawBytes() async throws {
        let json = Array(#"{"directories":[],"files":[""#.utf8) + [0xff, 0x41] + Array(#"","z"]}"#.utf8)
        let listing = try await ScriptedService([.bytes(200, json)]).files.list(.root)
        #expect(listing.entries.map(\.name.string) == ["z"])
        #expect(listing.refusedNameCount == 1)
    }

    @Test(
        "A listing is read alike by the scanner and by the decoder of any JSON, however it is written",
        arguments: [
            #"{"directories":["d"],"files":["a","b"]}"#, #"{"files":[],"directories":[]}"#,
            " {\n\t\"files\" : [ \"a\" , \"b\" ],\r\n \"directories\":[ ] } \n",
            #"{"directories":[],"files":["\"\\\b\f\n\r\tz","\u00e9\ud83d\ude00","\u00E9","é😀","a\/b","\u0000"]}"#,
            #"{"directories":["a","b"],"files":["b","c","c","e\u0301","é"]}"#,
        ]
    )
    func scanned(json: String) async throws {
        var names: [EntryKind: [FileName?]] = [.directory: [], .file: []]
        let isUnderstood = ListingScanner.scan(Array(json.utf8)) { names[$1]?.append($0) } == .understood
        #expect(isUnderstood)
        let body = try JSONBody.decode(ListingBody.self, Array(json.utf8))
        #expect(names[.directory] == body.directories.map { FileName($0) })
        #expect(names[.file] == body.files.map { FileName($0) })
        let listing = try await self.listing(json)
        let all = body.directories.compactMap { FileName($0) } + body.files.compactMap { FileName($0) }
        #expect(Set(listing.entries.map(\.name)) == Set(all))
        #expect(Set(all).count == listing.entries.count)
    }

    @Test(
        "What the scanner does not understand is left to the decoder, at whichever byte it ends",
        arguments: [
            #"{"directories":[],"files":["a"],"more":1}"#, #"{"directories":[],"files":["\ud83d"]}"#,
            #"{"directories":[],"files":["\udc00"]}"#, #"{"directories":[],"files":["\x"]}"#,
            #"{"directories":[],"files":["a",]}"#, #"{"directories":[],"directory":[]}"#,
            #"{"directories":[],"files":["\u12"]}"#,
            "{\"directories\":[],\"files\":[\"a\nb\"]}",
        ]
    )
    func notScanned(json: String) {
        let bytes = Array(json.utf8)
        for end in 0...bytes.count {
            #expect(ListingScanner.scan(Array(bytes[..<end])) { _, _ in } == .unknown)
        }
    }

    @Test(
        "A listing that has its files twice is not half of them",
        arguments: [
            #"{"files":["a"],"directories":[],"files":["b"]}"#, #"{"files":["a"],"files":[]}"#,
            #"{"directories":["x"],"files":[],"directories":["y"]}"#,
        ]
    )
    func repeatedKey(json: String) async throws {
        let service = try ScriptedService([.text(200, json)], retries: 0)
        let error = await failure { () async throws(RemoteError) in try await service.files.list(.root) }
        #expect(error?.isMalformedAnswer("twice") == true)
    }

    @Test("A name listed as a directory and as a file is one name, a directory")
    func bothKinds() async throws {
        let listing = try await self.listing(#"{"files":["a","b","b"],"directories":["a"]}"#)
        #expect(listing.entries.map(\.name.string) == ["a", "b"])
        #expect(listing.entries.map(\.kind) == [.directory, .file])
        #expect(listing.refusedNameCount == 0)
    }

    @Test(
        "JSON of other types is no listing, and not an empty one",
        arguments: [
            "", "{}", "[]", "null", #"{"files":[]}"#, #"{"directories":null,"files":[]}"#,
            #"{"directories":[],"files":[1]}"#, #"{"directories":[],"files":{}}"#,
            #"{"directories":[],"files":["a"#, #"{"directories":[],"files":["a"]}x"#,
            #"{"error":"oops"}"#, "OK",
        ]
    )
    func noListing(json: String) async throws {
        let service = try ScriptedService([.text(200, json)], retries: 0)
        let error = await failure { () async throws(RemoteError) in try await service.files.list(.root) }
        #expect(error?.isMalformedAnswer("JSON") == true)
        #expect(service.lines.count == 1)
    }

    @Test(
        "JSON of other types is no size",
        arguments: [
            "", "{}", "7", #"{"size":"7"}"#, #"{"size":-1}"#, #"{"size":1.5}"#, #"{"size":1e99}"#,
            #"{"size":null}"#,
        ]
    )
    func noSize(json: String) async throws {
        let service = try ScriptedService([.text(200, json)], retries: 0)
        let error = await failure { () async throws(RemoteError) in
            try await service.files.size(of: path("a"))
        }
        #expect(error?.isMalformedAnswer("JSON") == true)
    }

    @Test(
        "An upload id that could end a header is refused",
        arguments: [
            #"{"uploadId":"a]:0-1"}"#, #"{"uploadId":"a\r\nX: y"}"#, #"{"uploadId":""}"#, #"{"uploadId":7}"#,
            "{}",
        ]
    )
    func badUploadID(json: String) async throws {
        let service = try ScriptedService([.text(200, json)], retries: 0)
        let error = await failure { () async throws(RemoteError) in
            try await service.files.beginUpload(path("a"), size: 1)
        }
        #expect(error?.isMalformedAnswer() == true)
    }

    @Test("A part that cannot be read from here is not sent again and again")
    func unreadablePart() async throws {
        let service = try ScriptedService([.text(200)])
        let error = await failure { () async throws(RemoteError) in
            try await service.files.putPart(
                path("a"),
                uploadID("u"),
                at: 0,
                body: ArrayReader(pattern(5), declared: 10)
            )
        }
        #expect(error == .unreadableBody)
        #expect(service.lines.count == 1)
    }

    @Test("A part that is sent again is sent whole")
    func partAgain() async throws {
        let service = try ScriptedService([.fail(.interrupted("reset")), .text(200)])
        try await service.files.putPart(path("a"), uploadID("u"), at: 0, body: ArrayReader(pattern(1000)))
        #expect(service.transport.sent.map(\.bytes) == [pattern(1000), pattern(1000)])
    }

    @Test("A server that echoes the key does not bring it into an error or a log")
    func hiddenKey() async throws {
        let key = ScriptedService.key
        for status in [400, 402, 500, 501] {
            let service = try ScriptedService(
                [Step](repeating: .text(status, "bad key \(key), \(key)!"), count: 3),
                retries: 2
            )
            let error = await failure { () async throws(RemoteError) in try await service.files.list(.root) }
            #expect(error.map { "\($0)" }?.contains("bad key <hidden>, <hidden>!") == true)
            #expect(!service.log.text.joined().contains(key))
            #expect(!"\(service.client)\(service.files)".contains(key))
            var dumped = ""
            dump(service.client, to: &dumped)
            #expect(!dumped.contains(key))
        }
    }

    @Test("Credentials show nothing of the key however they are printed")
    func printedCredentials() throws {
        let credentials = try Credentials(key: "sk-secret")
        var dumped = ""
        dump(credentials, to: &dumped)
        let texts = [
            "\(credentials)", String(reflecting: credentials), dumped, "\(Mirror(reflecting: credentials))",
        ]
        #expect(texts.allSatisfy { !$0.contains("sk-secret") })
    }

    @Test(
        "What is no key is refused, with one line that does not quote it",
        arguments: ["", " \n", "sk secret", "sk\u{0}secret", "sk-sécret", "sk\nsecret"]
    )
    func noKey(text: String) throws {
        let error = #expect(throws: CredentialsError.self) { try Credentials(key: text) }
        #expect(error?.description.contains("secret") == false)
        let directory = TemporaryDirectory()
        directory.write(Array(text.utf8), to: "key")
        let fileError = #expect(throws: CredentialsError.self) {
            try Credentials(file: directory.path + "/key")
        }
        #expect(fileError?.description.contains("secret") == false)
        #expect(fileError?.description.contains(directory.path + "/key") == true)
    }

    @Test("A key file that is not there, is a directory or is far too large is refused")
    func noKeyFile() {
        let directory = TemporaryDirectory()
        #expect(throws: CredentialsError.self) { try Credentials(file: directory.path + "/none") }
        #expect(throws: CredentialsError.self) { try Credentials(file: directory.path) }
        directory.write([UInt8](repeating: 0x41, count: 20_000), to: "large")
        #expect(throws: CredentialsError.self) { try Credentials(file: directory.path + "/large") }
    }

    @Test(
        "A key file that others can read is refused, with what to run",
        arguments: [0o640, 0o604, 0o644, 0o660]
    )
    func exposedKeyFile(mode: UInt32) throws {
        let directory = TemporaryDirectory()
        directory.write(Array("sk-secret".utf8), to: "key")
        let path = directory.path + "/key"
        chmod(path, mode)
        let error = #expect(throws: CredentialsError.self) { try Credentials(file: path) }
        #expect(
            error?.description == "the API key file \(path) can be read by others; run: chmod 600 \(path)"
        )
        chmod(path, 0o400)
        #expect(throws: Never.self) { try Credentials(file: path) }
    }

    @Test(
        "Only root lends a secret to a group",
        arguments: [
            (0o600, 1, 1, false), (0o400, 0, 0, false), (0o440, 0, 1, false), (0o440, 0, 0, true),
            (0o440, 1, 1, true), (0o604, 0, 1, true), (0o620, 1, 1, true), (0o601, 1, 1, true),
        ] as [(UInt32, UInt32, UInt32, Bool)]
    )
    func exposed(permissions: UInt32, owner: UInt32, reader: UInt32, isExposed: Bool) {
        #expect(SecretFile.isExposed(permissions: permissions, owner: owner, reader: reader) == isExposed)
    }

    @Test(
        "HTTP's dates are read, and nothing that only looks like one",
        arguments: [
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777), ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Thu, 29 Feb 2024 23:59:59 GMT", 1_709_251_199),
            ("Fri, 01 Mar 2024 00:00:00 GMT", 1_709_251_200),
            ("Fri, 31 Dec 2100 00:00:00 GMT", 4_133_894_400), ("Sunday, 06-Nov-94 08:49:37 GMT", nil),
            ("Sun Nov  6 08:49:37 1994", nil), ("Sun, 06 Nov 1994 08:49:37 CET", nil),
            ("Sun, 06 Foo 1994 08:49:37 GMT", nil), ("Sun, 06 Nov 1994 25:49:37 GMT", nil), ("", nil),
            ("7", nil),
        ] as [(String, Int64?)]
    )
    func dates(text: String, seconds: Int64?) {
        #expect(WallClock.seconds(fromHTTPDate: text) == seconds)
    }
}
