import Testing

@testable import TOML

@Suite("Changing TOML")
struct EditingTests {
    private static let text = """
        # about
        first = "a"  # kept

        [profile.work]
        # the key
        endpoint = "https://a" # where
        retries = 1

        [profile.home]
        """

    @Test("A value is changed where it stands, and comments stay")
    func replaced() throws {
        var document = try TOMLDocument(Self.text)
        try document.set("endpoint", to: .string("https://b\"\\\u{1}"), in: ["profile", "work"])
        let line = #"endpoint = "https://b\"\\\u0001" # where"#
        #expect(document.text == Self.text.replacing(#"endpoint = "https://a" # where"#, with: line) + "\n")
        #expect(document[["profile", "work"]]?["endpoint"]?.value == .string("https://b\"\\\u{1}"))
    }

    @Test("A new key comes after the table's last, before what follows it")
    func added() throws {
        var document = try TOMLDocument(Self.text)
        try document.set("ca-file", to: .string("x"), in: ["profile", "work"])
        try document.set("insecure", to: .boolean(true), in: ["profile", "home"])
        try document.set("second", to: .integer(2), in: [])
        let expected =
            Self.text.replacing("retries = 1", with: "retries = 1\nca-file = \"x\"")
            .replacing("# kept", with: "# kept\nsecond = 2") + "\ninsecure = true\n"
        #expect(document.text == expected)
    }

    @Test("A table that is not there is added at the end", arguments: ["", "a = 1", "a = 1\n", "a = 1\n\n"])
    func newTable(text: String) throws {
        var document = try TOMLDocument(text)
        try document.set("b", to: .float(0.5), in: ["profile", "new"])
        let before = text.isEmpty ? "" : "a = 1\n\n"
        #expect(document.text == before + "[profile.new]\nb = 0.5\n")
    }

    @Test("A key is taken away with its line; one that is not there is no error")
    func removed() throws {
        var document = try TOMLDocument(Self.text)
        try document.remove("retries", in: ["profile", "work"])
        try document.remove("retries", in: ["profile", "work"])
        try document.remove("endpoint", in: ["profile", "nowhere"])
        #expect(document.text == Self.text.replacing("retries = 1\n", with: "") + "\n")
    }
}
