import FoundationEssentials
import Testing

@testable import CLI

@Suite("Text on a terminal")
struct PrintableTests {
    @Test(
        "East Asian letters and emoji take two columns, marks on letters none",
        arguments: [("ab", 2), ("日本", 4), ("😀", 2), ("e\u{301}", 1), ("é", 1), ("ｱ", 1), ("", 0)]
    )
    func columns(text: String, count: Int) {
        #expect(Printable.columns(text) == count)
    }

    @Test("Text is cut where its columns end, never within a wide letter")
    func limit() {
        #expect(Printable.text("日本語", limit: 6) == "日本語")
        #expect(Printable.text("日本語", limit: 5) == "日本…")
        #expect(Printable.text("日本語", limit: 4) == "日本…")
        #expect(Printable.text("abc", limit: 2) == "ab…")
        #expect(Printable.text("e\u{301}e\u{301}", limit: 2) == "e\u{301}e\u{301}")
    }

    @Test("A text of marks alone, which take no column, is cut as well")
    func marks() {
        let shown = Printable.text(String(repeating: "\u{301}", count: 20), limit: 2)
        #expect(Array(shown.unicodeScalars) == Array(repeating: "\u{301}", count: 8) + ["…"])
    }

    @Test("Columns of a table stand below one another beside wide letters")
    func table() {
        let table = TextTable(titles: ["NAME", "STATE"], rows: [["日本語", "x"], ["abcdef", "y"]])
        #expect(table.lines(width: nil) == ["NAME    STATE", "日本語  x", "abcdef  y"])
        // 13 columns, in fewer letters.
        #expect(table.lines(width: 12).first == "name: 日本語")
    }

    @Test("JSON keeps every character, and shows none that could upset a terminal")
    func json() throws {
        let name = "a\u{9b}31m\u{202e}\u{7f}\u{1}\"\\é日😀\u{e0001}"
        let text = try FilesystemTable.json([name])
        #expect(text == #"["a\u009b31m\u202e\u007f\u0001\"\\é日😀\udb40\udc01"]"#)
        #expect(try JSONDecoder().decode([String].self, from: Data(text.utf8)) == [name])
    }
}
