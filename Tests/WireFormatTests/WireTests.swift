import FoundationEssentials
import TestKit
import Testing

@testable import WireFormat

@Suite("Headers and bodies, byte for byte")
struct WireTests {
    @Test("A download asks for START-END, END exclusive")
    func downloadHeader() {
        #expect(ContentRange.download(0..<8_388_608) == "0-8388608")
        #expect(ContentRange.download(.max - 1..<UInt64.max) == "18446744073709551614-18446744073709551615")
    }

    @Test("A part names its upload in square brackets, then its range")
    func partHeader() {
        #expect(ContentRange.part(5..<10, of: uploadID("abc-1")) == "[abc-1]:5-10")
    }

    @Test("The form of downloads is read as it is written, an empty range too")
    func parseDownload() {
        #expect(ContentRange.parseDownload("0-8388608") == 0..<8_388_608)
        #expect(ContentRange.parseDownload("7-7") == 7..<7)
        #expect(ContentRange.parseDownload("007-010") == 7..<10)
    }

    @Test(
        "A malformed range is no range",
        arguments: [
            "", "-", "1-", "-1", "2-1", "a-b", "1-2-3", "+1-2", "1-+2", " 1-2", "1-2 ", "bytes=0-1",
            "0x1-0x2",
            "1–2", "18446744073709551616-18446744073709551617", "١-٢",
        ]
    )
    func malformedDownload(text: String) {
        #expect(ContentRange.parseDownload(text) == nil)
    }

    @Test("The form of parts is read as it is written")
    func parsePart() {
        let part = ContentRange.parsePart("[0a-F_]:1-2")
        #expect(part?.upload == uploadID("0a-F_"))
        #expect(part?.range == 1..<2)
    }

    @Test(
        "A malformed part is no part",
        arguments: [
            "", "[a]", "[a]1-2", "a:1-2", "[]:1-2", "[a:1-2", "[a]:2-1", "[a/b]:1-2", "[[a]]:1-2", "[a] :1-2",
        ]
    )
    func malformedPart(text: String) {
        #expect(ContentRange.parsePart(text) == nil)
    }

    private func encoded(_ body: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        return String(decoding: try encoder.encode(body), as: UTF8.self)
    }

    private func decoded<Body: Decodable>(_: Body.Type, _ json: String) throws -> Body {
        try JSONDecoder().decode(Body.self, from: Data(json.utf8))
    }

    @Test("Requests are written as the API spells them")
    func requests() throws {
        #expect(
            try self.encoded(CreateFilesystemBody(filesystemName: "a\"b")) == #"{"filesystem_name":"a\"b"}"#
        )
        #expect(try self.encoded(ShareBody(grantee: "u")) == #"{"grantee":"u"}"#)
        #expect(try self.encoded(UploadRequestBody.begin(size: 123)) == #"{"size":123}"#)
        #expect(
            try self.encoded(UploadRequestBody.finish(uploadID: "u", complete: true))
                == #"{"complete":true,"uploadId":"u","upload_id":"u"}"#
        )
        #expect(
            try self.encoded(UploadRequestBody.finish(uploadID: "u", complete: false))
                == #"{"complete":false,"uploadId":"u","upload_id":"u"}"#
        )
    }

    @Test("Answers are written as the API spells them")
    func answers() throws {
        #expect(
            try self.encoded(FilesystemBody(filesystemID: "i", filesystemName: "n"))
                == #"{"filesystem_id":"i","filesystem_name":"n"}"#
        )
        #expect(
            try self.encoded(ListingBody(directories: ["d"], files: ["f", "g"]))
                == #"{"directories":["d"],"files":["f","g"]}"#
        )
        #expect(
            try self.encoded(FileInfoBody(size: 9_007_199_254_740_993, downloadID: "x"))
                == #"{"download_id":"x","size":9007199254740993}"#
        )
        #expect(try self.encoded(UploadStartedBody(uploadID: "u")) == #"{"uploadId":"u"}"#)
    }

    @Test("The id of an upload is read in both spellings, the new one first")
    func uploadStarted() throws {
        #expect(try self.decoded(UploadStartedBody.self, #"{"uploadId":"u"}"#).uploadID == "u")
        #expect(try self.decoded(UploadStartedBody.self, #"{"upload_id":"u"}"#).uploadID == "u")
        #expect(
            try self.decoded(UploadStartedBody.self, #"{"upload_id":"o","uploadId":"n"}"#).uploadID == "n"
        )
        #expect(throws: (any Error).self) { try self.decoded(UploadStartedBody.self, "{}") }
        #expect(throws: (any Error).self) { try self.decoded(UploadStartedBody.self, #"{"uploadId":7}"#) }
    }

    @Test(
        "An upload's end is read in both spellings of the id and of the boolean",
        arguments: [
            (#"{"uploadId":"u","complete":true}"#, true), (#"{"uploadId":"u","complete":"true"}"#, true),
            (#"{"upload_id":"u","complete":"True"}"#, true), (#"{"upload_id":"u","complete":false}"#, false),
            (#"{"uploadId":"u","complete":"false","size":3}"#, false),
        ]
    )
    func uploadEnd(json: String, isComplete: Bool) throws {
        guard case .finish("u", isComplete) = try self.decoded(UploadRequestBody.self, json) else {
            Issue.record("not the end of the upload u")
            return
        }
    }

    @Test("An upload's start is read")
    func uploadStart() throws {
        guard
            case .begin(18_446_744_073_709_551_615) = try self.decoded(
                UploadRequestBody.self,
                #"{"size":18446744073709551615}"#
            )
        else {
            Issue.record("not the start of an upload")
            return
        }
    }

    @Test(
        "Other JSON is neither an upload's start nor its end",
        arguments: [
            "{}", #"{"size":-1}"#, #"{"size":1.5}"#, #"{"size":"1"}"#, #"{"size":null}"#,
            #"{"uploadId":"u"}"#,
            #"{"uploadId":"u","complete":"yes"}"#, #"{"uploadId":"u","complete":1}"#, #"{"complete":true}"#,
            "[]", "7",
        ]
    )
    func noUpload(json: String) {
        #expect(throws: (any Error).self) { try self.decoded(UploadRequestBody.self, json) }
    }

    @Test("A size counts whatever the download id is", arguments: ["7", "null", #""x""#, #"{"a":[1]}"#])
    func downloadID(json: String) throws {
        #expect(try self.decoded(FileInfoBody.self, #"{"download_id":\#(json),"size":7}"#).size == 7)
    }

    @Test("A size may come without a download id, but not as text, negative or not at all")
    func fileInfo() throws {
        #expect(try self.decoded(FileInfoBody.self, #"{"size":7}"#).size == 7)
        for json in [#"{"size":"7"}"#, #"{"size":-7}"#, #"{"download_id":"x"}"#, #"{"size":null}"#] {
            #expect(throws: (any Error).self) { try self.decoded(FileInfoBody.self, json) }
        }
    }
}
