/// Words of commands that somebody is told to run.
public enum ShellWord {
    /// A word as a shell takes it, whatever is in it: in quotes where it needs them.
    public static func quoted(_ word: String) -> String {
        let isPlain = word.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), 0x80...:
                true
            default: "/._-+:@%=,".utf8.contains(byte)
            }
        }
        guard word.isEmpty || !isPlain else { return word }
        // By scalars: a mark that joins a quote would make another character of it.
        let scalars = word.unicodeScalars.map { $0 == "'" ? "'\\''" : String($0) }
        return "'" + scalars.joined() + "'"
    }
}
