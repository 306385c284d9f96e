import RemoteAPI
import TestKit
import Testing
import WireFormat

@testable import CLI

@Suite("What cp copies where")
struct CopyPlanTests {
    private func plan(
        _ sources: [String],
        to target: String,
        _ kind: EntryKind?,
        holding names: [String: EntryKind] = [:]
    ) throws -> [String] {
        let known = Dictionary(
            uniqueKeysWithValues: names.compactMap { name, kind in FileName(name).map { ($0, kind) } }
        )
        return try CopyPlan.pairs(
            try sources.map { try CopyArgument($0) },
            to: try CopyArgument(target),
            of: kind,
            holding: known
        ) {
            self.id($0.filesystem == "alias" ? "data" : $0.filesystem)
        }.map { "\($0.source.shown) > \($0.target.shown)\($0.existing.map { " \($0)" } ?? "")" }
    }

    private func id(_ text: String) -> FilesystemID {
        guard let id = FilesystemID(text) else { preconditionFailure("\(text) is an id") }
        return id
    }

    @Test("One thing becomes what is not there, or takes a file's place")
    func renamed() throws {
        #expect(try self.plan(["a/b"], to: "data:/c", nil) == ["a/b > data:/c"])
        #expect(try self.plan(["data:/x/y"], to: "c", .file) == ["data:/x/y > c file"])
    }

    @Test("Into a directory each goes under its own name, and what is there of that name is known")
    func into() throws {
        #expect(
            try self.plan(
                ["a/b", "/c/", "e:/f"],
                to: "data:/d",
                .directory,
                holding: ["c": .file, "x": .file]
            )
                == ["a/b > data:/d/b", "/c/ > data:/d/c file", "e:/f > data:/d/f"]
        )
        #expect(try self.plan(["data:/a:b"], to: "dir/", .directory) == ["data:/a:b > dir/a:b"])
    }

    @Test(
        "Of what has no name of its own the content goes there",
        arguments: ["d/.", ".", "..", "/", "data:", "data:/", "data:/d/."]
    )
    func content(source: String) throws {
        let target = source.hasPrefix("data") ? "local" : "other:/t"
        let pairs = try self.plan([source], to: target, .directory)
        #expect(pairs.count == 1)
        #expect(pairs[0].hasSuffix("> \(target) directory"))
    }

    @Test("Nothing is copied onto itself or into itself, and what begins alike is something else")
    func itself() throws {
        #expect(throws: UserError.self) { try self.plan(["data:/a"], to: "data:/a/b", nil) }
        #expect(throws: UserError.self) { try self.plan(["data:/a"], to: "alias:/a/b", nil) }
        #expect(throws: UserError.self) { try self.plan(["data:/"], to: "data:/b", nil) }
        #expect(throws: UserError.self) { try self.plan(["data:/d/a"], to: "data:/d", .directory) }
        #expect(try self.plan(["data:/a"], to: "data:/ab", nil).count == 1)
        #expect(try self.plan(["data:/a"], to: "other:/a", nil).count == 1)
    }

    @Test("A temporary stands beside its file, also if that has the longest name there can be")
    func temporary() {
        #expect(PartFile.temporaryPath(for: "/x/y") == "/x/.y.tetherfs-part")
        #expect(PartFile.temporaryPath(for: "y") == ".y.tetherfs-part")
        let long = PartFile.temporaryPath(for: "d/" + String(repeating: "n", count: 255))
        #expect(long.hasPrefix("d/.@") && long.utf8.count < 60)
        #expect(PartFile.temporaryPath(for: "d/\u{301}a") == "d/.\u{301}a.tetherfs-part")
        for size in 225...255 {
            let target = "/" + String(repeating: "n", count: size)
            #expect(PartFile.temporaryPath(for: target).utf8.count <= 256)
        }
        #expect(PartFile.isTemporary("x/.y.tetherfs-part"))
        #expect(PartFile.isTemporary("/\u{d4e}/.\u{301}.tetherfs-part"))
        #expect(!PartFile.isTemporary(".y.tetherfs-part/y") && !PartFile.isTemporary("y.tetherfs-part"))
    }

    @Test("A slash is one, whatever letter or mark stands beside it")
    func marks() throws {
        let (mark, letter) = ("\u{301}a", "\u{d4e}")
        #expect(FilePath.parts("/\(letter)/\(mark)/") == [letter, mark])
        #expect(FilePath.isAbsolute("/\(mark)") && FilePath.endsWithSlash("\(letter)/"))
        #expect(FilePath.absolute("/\(mark)") == "/\(mark)")
        #expect(try self.plan(["\(letter)/\(mark)"], to: "data:/", .directory).count == 1)
        let argument = try CopyArgument("\(letter)/.")
        #expect(argument.name == nil && argument.isDirectory)
        #expect(try CopyArgument("x/\(mark)").name?.string == mark)
        #expect(CopyPlace.local("\(letter)/").appending(try #require(FileName("x"))) == .local("\(letter)/x"))
        let place = try #require(try RemoteLocation("data:/\(mark)/\(letter)/x"))
        #expect(place.path.components.map(\.string) == [mark, letter, "x"])
    }

    @Test("Private directories are made, and mount points found, with names that begin with a combining mark")
    func directoriesWithMarks() throws {
        let directory = TemporaryDirectory()
        let path = "\(directory.path)/\u{301}a/\u{d4e}"
        try PrivateDirectory.make(path + "/\u{301}")
        #expect(try FilePath.realInParent("\(path)/\u{301}") == "\(path)/\u{301}")
        #expect(FileStatus(of: path + "/\u{301}")?.isDirectory == true)
    }
}

@Suite("The line of a copy that goes on")
struct CopyProgressLineTests {
    private var counts = CopyProgress.Counts(
        files: 12,
        copied: 3,
        skipped: 1,
        failed: 0,
        totalBytes: 40 << 20,
        bytes: 10 << 20,
        isComplete: true
    )

    @Test("Bar, files, bytes, rate and time left")
    func complete() {
        var line = CopyProgressLine()
        _ = line.text(CopyProgress.Counts(), at: .zero, width: 78)
        #expect(
            line.text(self.counts, at: .seconds(2), width: 78)
                == "[#####---------------]  4/12 files  10M/40M 25%  5.0M/s  0:06 left"
        )
    }

    @Test("What is to come is not guessed as long as it is not known")
    func incomplete() {
        var (line, counts) = (CopyProgressLine(), self.counts)
        counts.isComplete = false
        _ = line.text(CopyProgress.Counts(), at: .zero, width: 78)
        #expect(line.text(counts, at: .seconds(2), width: 78) == "4/12+ files  10M  5.0M/s")
    }

    @Test("A narrow terminal has no bar and is not overrun")
    func narrow() {
        var line = CopyProgressLine()
        _ = line.text(CopyProgress.Counts(), at: .zero, width: 78)
        #expect(
            line.text(self.counts, at: .seconds(2), width: 39) == "4/12 files  10M/40M 25%  5.0M/s  0:06 l"
        )
    }

    @Test("The rate is that of the last seconds")
    func rate() {
        var (line, counts) = (CopyProgressLine(), self.counts)
        for second in 0...20 {
            counts.bytes = UInt64(min(second, 10)) << 20
            _ = line.text(counts, at: .seconds(second), width: 78)
        }
        #expect(line.text(counts, at: .seconds(21), width: 78).hasSuffix("0/s"))
    }

    @Test(
        "A time is a clock's",
        arguments: [(0, "0:00"), (59.2, "1:00"), (3600, "1:00:00"), (1e18, "99:59:59")]
    )
    func clock(seconds: Double, text: String) {
        #expect(CopyProgressLine.clock(seconds) == text)
    }
}
