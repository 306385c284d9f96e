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

    @Test("Columns of a table stand below one another beside wide letters")
    func table() {
        let table = TextTable(titles: ["NAME", "STATE"], rows: [["日本語", "x"], ["abcdef", "y"]])
        #expect(table.lines(width: nil) == ["NAME    STATE", "日本語  x", "abcdef  y"])
        // 13 columns, in fewer letters.
        #expect(table.lines(width: 12).first == "name: 日本語")
    }
}
