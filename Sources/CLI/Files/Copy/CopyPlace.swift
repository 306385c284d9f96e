import WireFormat

/// A file or directory that `tetherfs cp` reads or writes.
enum CopyPlace: Hashable, Sendable {
    /// A path of this machine.
    case local(String)
    /// A place in a filesystem.
    case remote(RemoteLocation)

    /// A child of it.
    func appending(_ name: FileName) -> CopyPlace {
        switch self {
        case .local(let path): .local(FilePath.endsWithSlash(path) ? path + name.string : "\(path)/\(name)")
        case .remote(let location): .remote(location.at(location.path.appending(name)))
        }
    }

    /// As it is shown in a line for a person.
    var shown: String {
        switch self {
        case .local(let path): Printable.text(path, limit: 400)
        case .remote(let location): location.shown
        }
    }

    /// As it stands in a command that somebody is told to run.
    var word: String {
        switch self {
        case .local(let path): Printable.word(path)
        case .remote(let location): Printable.word(location.text)
        }
    }

    /// Whether it is on this machine.
    var isLocal: Bool { if case .local = self { true } else { false } }
}

/// An argument of `tetherfs cp`.
struct CopyArgument: Hashable, Sendable {
    /// What it names.
    let place: CopyPlace
    /// What it is called, and so its copy in another directory; nothing for `dir/.`, `..` and a filesystem's root, of
    /// which only the content is meant.
    let name: FileName?
    /// Whether it ends with a slash, as only a directory may.
    let isDirectory: Bool

    /// Reads a text.
    init(_ text: String) throws(UserError) {
        guard !text.isEmpty else { throw UserError("'' names no file") }
        let isContent = text.utf8.suffix(2).elementsEqual("/.".utf8)
        if let location = try RemoteLocation(text) {
            self.place = .remote(location)
            self.name = isContent ? nil : location.path.name
        } else {
            self.place = .local(text)
            // Nothing for `.`, `..` and `/` either, which are no names.
            self.name = isContent ? nil : FilePath.parts(text).last.flatMap(FileName.init)
        }
        self.isDirectory = isContent || FilePath.endsWithSlash(text)
    }
}
