import RemoteAPI
import Testing
import WireFormat

@testable import CLI

@Suite("Choosing a filesystem")
struct FilesystemChoiceTests {
    private let choice = FilesystemChoice([
        FilesystemBody(filesystemID: "1", filesystemName: "data"),
        FilesystemBody(filesystemID: "2", filesystemName: "twin"),
        FilesystemBody(filesystemID: "3", filesystemName: "twin"),
        FilesystemBody(filesystemID: "4", filesystemName: "1"),
    ])

    @Test("A name or an id finds it, the id before a name that equals it")
    func found() throws {
        #expect(try self.choice.filesystem("data").filesystemID == "1")
        #expect(try self.choice.filesystem("1").filesystemID == "1")
        #expect(try self.choice.filesystem("3").filesystemID == "3")
    }

    @Test("An unknown name is refused with the names that there are")
    func unknown() {
        let error = #expect(throws: UserError.self) { try self.choice.filesystem("nope") }
        #expect(error?.description == "no filesystem 'nope'; there are: 1, data, twin, twin")
    }

    @Test("A name that several have is refused with their ids")
    func ambiguous() {
        let error = #expect(throws: UserError.self) { try self.choice.filesystem("twin") }
        #expect(error?.description.contains("2, 3") == true)
    }

    @Test("What a server says cannot move the cursor or make a second line")
    func printable() throws {
        let endpoint = try #require(Endpoint("https://host/v1"))
        let describe = ServiceErrorText(endpoint: endpoint, keySource: .file("/key"))
        let text = "\u{1b}[2J\nsecond\u{202e}" + String(repeating: "x", count: 5000)
        let line = describe(.rejected(status: 400, message: text)).description
        #expect(line.hasPrefix("the server refused the call (status 400): ?[2J?second?xxx"))
        #expect(line.count < 300)
    }
}
