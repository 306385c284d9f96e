import ArgumentParser
import Testing

@testable import CLI

@Suite("What TAB offers")
struct CompletionTests {
    private func line(_ words: [String], isBash: Bool = true) -> TypedLine {
        TypedLine(words: words, index: words.count - 1, prefix: words.last ?? "", isBash: isBash)
    }

    @Test("What bash cuts at colons is put together, and not offered again")
    func colons() {
        let path = self.line(["tetherfs", "ls", "data", ":", "/ph"])
        #expect(path.current == "data:/ph")
        #expect(path.taken == "data:")
        #expect(path.words == ["tetherfs", "ls"])
        let colon = self.line(["tetherfs", "ls", "data", ":"])
        #expect(colon.current == "data:")
        #expect(colon.taken == "data:")
        let next = self.line(["tetherfs", "cp", "data", ":", "/a", "da"])
        #expect(next.current == "da")
        #expect(next.taken == "")
        #expect(next.words.last == "data:/a")
    }

    @Test("Other shells' words are whole")
    func whole() {
        let line = self.line(["tetherfs", "ls", ":", "data:/ph"], isBash: false)
        #expect(line.current == "data:/ph")
        #expect(line.taken == "")
        #expect(line.words.last == ":")
    }

    @Test("Options are found in either form, also where bash has cut them")
    func options() {
        let line = self.line(
            [
                "tetherfs", "ls", "--endpoint", "http", ":", "//h", ":", "8080/v1", "--ca-file", "=", "x",
                "--json", "",
            ]
        )
        #expect(
            line.arguments(of: ["--endpoint", "--ca-file"]) == [
                "--endpoint", "http://h:8080/v1", "--ca-file=x",
            ]
        )
    }

    @Test("Each shell gets what it takes for the name itself; what would upset a terminal is left out")
    func escaped() {
        let line = self.line(["tetherfs", "ls", "data", ":", "/"])
        let names = ["data:/a $(b)`c`\\:d", "data:/e\u{1b}", "other:/"]
        #expect(CommandCompletion.fit(names, for: line, .bash) == ["/a\\ \\$\\(b\\)\\`c\\`\\\\\\:d"])
        let whole = self.line(["tetherfs", "ls", "data:/"], isBash: false)
        #expect(CommandCompletion.fit(names, for: whole, .zsh) == ["data\\:/a $(b)`c`\\\\\\:d"])
        #expect(CommandCompletion.fit(names, for: whole, .fish) == ["data:/a $(b)`c`\\:d"])
    }

    @Test("A special character that a mark combines with is escaped too, so that no shell runs what follows")
    func combined() {
        let line = self.line(["tetherfs", "ls", "data", ":", "/a"])
        let names = ["data:/a\u{d4e}`\u{d4e};b\u{301};\u{301}`\u{301}", "data:/a\u{d4e}:\u{301}"]
        #expect(
            CommandCompletion.fit(names, for: line, .bash) == [
                "/a\u{d4e}\\`\u{d4e}\\;b\u{301}\\;\u{301}\\`\u{301}", "/a\u{d4e}\\:\u{301}",
            ]
        )
        let whole = self.line(["tetherfs", "ls", "data:/a"], isBash: false)
        #expect(CommandCompletion.fit([names[1]], for: whole, .zsh) == ["data\\:/a\u{d4e}\\:\u{301}"])
    }

    @Test("A name that begins with a combining mark is looked for in the directory that is typed before it")
    func mark() {
        let (above, name) = CommandCompletion.split("data:/d/\u{301}x")
        #expect(above.unicodeScalars.elementsEqual("data:/d/".unicodeScalars))
        #expect(name.unicodeScalars.elementsEqual("\u{301}x".unicodeScalars))
    }
}
