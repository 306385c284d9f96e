import SystemPackage
import TestKit
import Testing
import WireFormat

@testable import Staging

@Suite("How many local files are open")
struct OpenStagedFilesTests {
    @Test("Few are open however many wait, and a closed one is read, written and synced as before")
    func bound() async throws {
        let directory = TemporaryDirectory()
        let store = try StagingStore(
            in: CacheDirectory(in: FilePath(directory.path), for: try #require(FilesystemID("f-1"))),
            logger: CapturedLog().logger
        )
        var files: [StagedFile] = []
        for number in 0..<1000 {
            let file = try store.makeFile(for: RemotePath("f-\(number)"), size: 0)
            try [UInt8(number % 251)].withUnsafeBytes { try file.write($0, at: 0) }
            file.recordPending()
            files.append(file)
        }
        while store.openFiles.count > 256 { await Task.yield() }
        for (number, file) in files.enumerated() {
            var byte: UInt8 = 255
            let count = try withUnsafeMutableBytes(of: &byte) { try file.read(into: $0, at: 0) }
            #expect(count == 1 && byte == UInt8(number % 251))
        }
        try [UInt8(7)].withUnsafeBytes { try files[0].write($0, at: 1) }
        try await files[0].makeDurable()
        #expect(files[0].size == 2)
        for file in files { file.discard() }
    }
}
