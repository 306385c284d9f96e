import RemoteAPI
import Testing

@Suite("Words of commands that somebody is told to run")
struct ShellWordTests {
    @Test(
        "What a shell would take for something else stands in quotes",
        arguments: [
            ("/home/joe/.config/a-b_c,d=1@x%:+", "/home/joe/.config/a-b_c,d=1@x%:+"),
            ("/tmp/no such dir", "'/tmp/no such dir'"), ("it's", "'it'\\''s'"), ("$HOME;`x`", "'$HOME;`x`'"),
            ("", "''"), ("/ünï/日本", "/ünï/日本"), ("~", "'~'"), ("'\u{301}", "''\\''\u{301}'"),
        ]
    )
    func quoted(word: String, quoted: String) {
        #expect(ShellWord.quoted(word) == quoted)
    }
}
