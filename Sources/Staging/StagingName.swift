import WireFormat

/// The name of a staged file on the local disk, which says whether its bytes are only here.
struct StagingName: Sendable {
    let number: UInt64
    /// Tells a person which file it was: the end of its path, encoded.
    let label: String

    var clean: String { "clean-\(self.number)" }
    var dirty: String { "dirty-\(self.number)-\(self.label)" }

    init(number: UInt64, label: String) {
        self.number = number
        self.label = label
    }

    init(number: UInt64, path: RemotePath?) {
        // 200 bytes leave room for what stands before it in a name.
        let label = PercentEncoding.encode(path?.description ?? "unnamed").suffix(200)
        self.init(number: number, label: String(label))
    }

    /// Reads a dirty file's name, also one that was moved to the recovery directory; nothing if it is none.
    init?(dirty name: String) {
        let rest = name.hasPrefix("dirty-") ? name[...] : name.drop { $0 != "-" }.dropFirst()
        let words = rest.split(separator: "-", maxSplits: 2, omittingEmptySubsequences: false)
        guard words.count == 3, words[0] == "dirty", let number = UInt64(words[1]) else { return nil }
        self.init(number: number, label: String(words[2]))
    }

    /// The end of the path, for a person.
    var labelText: String {
        PercentEncoding.decode(self.label).map { String(decoding: $0, as: UTF8.self) } ?? self.label
    }
}
