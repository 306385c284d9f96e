import WireFormat

/// Finds the filesystem that a name or an id stands for.
struct FilesystemChoice {
    private let filesystems: [FilesystemBody]

    /// Takes what the server lists.
    init(_ filesystems: [FilesystemBody]) {
        self.filesystems = filesystems
    }

    /// The one filesystem of that id, else of that name.
    ///
    /// - Throws: If there is none, with the names that there are; if several have the name, with their ids.
    func filesystem(_ text: String) throws(UserError) -> FilesystemBody {
        // The id first: somebody else's filesystem, shared with us, may have any name, also one of our ids.
        if let match = self.filesystems.first(where: { $0.filesystemID == text }) { return match }
        let matches = self.filesystems.filter { $0.filesystemName == text }
        if let match = matches.first, matches.count == 1 { return match }
        let shown = Printable.text(text)
        guard matches.isEmpty else {
            let ids = matches.map { Printable.text($0.filesystemID, limit: 64) }.joined(separator: ", ")
            throw UserError("'\(shown)' is the name of several filesystems; give the id of one: \(ids)")
        }
        guard !self.filesystems.isEmpty else {
            throw UserError(
                "no filesystem '\(shown)': there are none; make it with: tetherfs filesystems create "
                    + Printable.word(text)
            )
        }
        let near = NearSpelling.of(text, among: self.filesystems.map(\.filesystemName))
        let question = near.map { "; did you mean '\(Printable.text($0, limit: 60))'?" } ?? ";"
        throw UserError("no filesystem '\(shown)'\(question) there are: \(self.names)")
    }

    private var names: String {
        // 20: one line that can be read.
        let limit = 20
        let names = self.filesystems.map { Printable.text($0.filesystemName, limit: 60) }.sorted()
        let more = names.count > limit ? " and \(names.count - limit) more" : ""
        return names.prefix(limit).joined(separator: ", ") + more
    }
}
