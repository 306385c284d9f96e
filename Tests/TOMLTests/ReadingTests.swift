import Testing

@testable import TOML

@Suite("Reading TOML")
struct ReadingTests {
    /// The value of the only line's key.
    private func value(_ text: String) throws -> TOMLDocument.Value? {
        try TOMLDocument("key = \(text)\n").tables[0]["key"]?.value
    }

    @Test("Keys are in the table whose header came last, with their lines")
    func tables() throws {
        let document = try TOMLDocument(
            "# a\na = 1\r\n\n[ b . \"c d\" ] # e\n\tx-y_Z9 = 'f'#g\n\"h i\"=true\n[b]"
        )
        #expect(document.tables.map(\.name) == [[], ["b", "c d"], ["b"]])
        #expect(document.tables.map(\.line) == [0, 4, 7])
        #expect(document[["b", "c d"]]?.entries.map(\.key) == ["x-y_Z9", "h i"])
        #expect(document[["b", "c d"]]?["h i"]?.line == 6)
        #expect(document[["b", "c d"]]?["x-y_Z9"]?.value == .string("f"))
        #expect(document[[]]?["a"]?.line == 2)
        #expect(document[["no"]] == nil)
    }

    @Test("An empty text has no keys", arguments: ["", "\n", "# only a comment", " \t\r\n"])
    func empty(text: String) throws {
        #expect(try TOMLDocument(text).tables.map(\.entries) == [[]])
    }

    @Test(
        "Texts are as they are written, with escapes between double quotes alone",
        arguments: [
            (#""""#, ""), (#""a b""#, "a b"), (#"'C:\n'"#, #"C:\n"#), (#""a # b" # c"#, "a # b"),
            (#""\b\t\n\f\r\"\\""#, "\u{8}\t\n\u{c}\r\"\\"), (#""\u00fc\U0001F600""#, "ü😀"), ("'ü漢'", "ü漢"),
            (#"'say "x"'"#, #"say "x""#), (#""it's""#, "it's"), ("\"a\tb\"", "a\tb"),
        ]
    )
    func texts(written: String, text: String) throws {
        #expect(try self.value(written) == .string(text))
    }

    @Test(
        "Whole numbers are read in every way to write them",
        arguments: [
            ("0", 0), ("-0", 0), ("+7", 7), ("-12", -12), ("1_000_000", 1_000_000), ("0xfF", 255),
            ("0o755", 493),
            ("0b101", 5), ("9223372036854775807", .max), ("-9223372036854775808", .min), ("3#c", 3),
        ]
    )
    func integers(written: String, number: Int) throws {
        #expect(try self.value(written) == .integer(number))
    }

    @Test(
        "Numbers with a fraction or an exponent are read",
        arguments: [("0.5", 0.5), ("-1.25e2", -125), ("1e3", 1000), ("+2E-1", 0.2), ("1_0.2_5", 10.25)]
    )
    func floats(written: String, number: Double) throws {
        #expect(try self.value(written) == .float(number))
    }

    @Test("Only the words true and false are booleans")
    func booleans() throws {
        #expect(try self.value("true") == .boolean(true))
        #expect(try self.value("false # no") == .boolean(false))
        #expect(throws: TOMLError.self) { try self.value("True") }
    }

    @Test(
        "A value that is none is an error, as is one that would need more of TOML",
        arguments: [
            "", "#", "abc", "10G", "022", "1__0", "_1", "1_", "0x", "0x-1", "+0x1", "1.", ".5", "1.e2", "1e",
            "1e+",
            "nan", "inf", "1e999", "9223372036854775808", "1979-05-27", "07:32:00", "[1]", "[", "{a = 1}",
            #""a"#, "'a", #""\x""#, #""\u12""#, #""\ud800""#, #""\u+123""#, #""""a""""#, "'''a'''", "1 2",
            #""a" b"#,
            "true false", "\"a\u{1}b\"", #""\"#, "--1", "1-1", "tru", "0o8", "0b2",
        ]
    )
    func badValues(written: String) {
        let error = #expect(throws: TOMLError.self) { try TOMLDocument("a = 1\n\nkey = \(written)\n") }
        #expect(error?.line == 3)
    }

    @Test(
        "A line that is none is an error with its number",
        arguments: [
            "key", "key 1", "= 1", "a.b = 1", "a . b = 1", "ü = 1", "a b = 1", "[", "[]", "[a", "[a.]",
            "[.a]", "[a] b",
            "[[a]]", "[a b]", "a = 1", "'a' = 2", "[t]", "\u{feff}b = 1", "a\u{0}", "b = 1 \u{7f}",
        ]
    )
    func badLines(line: String) {
        let error = #expect(throws: TOMLError.self) { try TOMLDocument("a = 1\n[t]\n[u]\na = 1\n\(line)\n") }
        #expect(error?.line == 5)
    }

    @Test("No value is repeated in an error: it may be a secret")
    func noValueInErrors() {
        for line in [
            "key = s3cret", "key = \"s3cret", "key = \"s3cret\" x", "key = \"s3cret\\x\"", "key \"s3cret\"",
        ] {
            let error = #expect(throws: TOMLError.self) { try TOMLDocument(line) }
            #expect(error?.description.contains("s3cret") == false)
        }
    }

    @Test("Whatever bytes a file has, reading it ends with a document or an error")
    func anything() {
        let pieces = [
            "[", "]", "a", ".", "=", "\"", "'", "\\", "u", "1", "_", "\n", "\r", " ", "#", "ü", "e", "-",
            "true",
        ]
        var seed: UInt64 = 1
        for _ in 0..<20_000 {
            var text = ""
            for _ in 0..<12 {
                seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                text += pieces[Int(seed >> 33) % pieces.count]
            }
            if let document = try? TOMLDocument(text) {
                // What is read is read again from what is written.
                #expect((try? TOMLDocument(document.text))?.tables == document.tables)
            }
        }
    }
}
