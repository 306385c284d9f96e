import ArgumentParser
import Glibc
import RemoteAPI
import WireFormat

/// What TAB offers for arguments of which only the service or this machine knows.
///
/// A shell waits for it: it ends within two seconds, and says nothing where there is nothing to offer.
enum CommandCompletion {
    /// Filesystems.
    static let filesystems = Self.kind { line in
        try Self.connection(line).filesystems().map(\.filesystemName).filter { !$0.isEmpty }
    }

    /// Places in filesystems.
    static let places = Self.kind { try Self.places($0) }

    /// The same, and local files.
    static let placesAndFiles = Self.kind { line in
        let files = Self.files(line.current)
        return files + ((try? Self.places(line)) ?? [])
    }

    /// Profiles of the configuration files.
    static let profiles = Self.kind { _ in try ConfigurationFiles(.current).names }

    /// Levels of the log.
    static let logLevels = CompletionKind.list(LogState.levels)

    /// Where filesystems are mounted.
    static let mountPoints = Self.kind { _ in
        try MountTable.current().entries.filter(\.isTetherfs).map(\.mountPoint)
    }

    private static func kind(_ offer: @escaping @Sendable (TypedLine) throws -> [String]) -> CompletionKind {
        .custom { words, index, prefix in
            // The end of the process, whatever it waits for: a silent server, a mount that hangs.
            alarm(2)
            let nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC)
            if nowhere >= 0 { dup2(nowhere, STDERR_FILENO) }
            let shell = CompletionShell.requesting
            let line = TypedLine(words: words, index: index, prefix: prefix, isBash: shell == .bash)
            let candidates = (try? offer(line)) ?? []
            return Self.fit(candidates, for: line, shell)
        }
    }

    /// Those that go on with what is typed, as the shell's script takes them. Names that would upset a terminal are not
    /// offered.
    static func fit(_ candidates: [String], for line: TypedLine, _ shell: CompletionShell?) -> [String] {
        candidates.filter {
            $0.unicodeScalars.starts(with: line.current.unicodeScalars)
                && Printable.text($0, limit: .max) == $0
        }.map { candidate in
            let rest = String(candidate.unicodeScalars.dropFirst(line.taken.unicodeScalars.count))
            return switch shell {
            // The script's compgen(1) takes words as a shell does: `$(…)` in a name would be run.
            case .bash?: Printable.escaped(rest) { $0.isASCII && !Self.isPlain($0) }
            // The script's _describe: what follows a colon is a description.
            case .zsh?: Printable.escaped(rest) { $0 == ":" || $0 == "\\" }
            default: rest
            }
        }
    }

    private static func isPlain(_ scalar: Unicode.Scalar) -> Bool {
        scalar.properties.isAlphabetic || ("0"..."9").contains(scalar) || scalar == "/"
    }

    private static func connection(_ line: TypedLine) throws -> ServiceConnection {
        let names = ["profile", "endpoint", "api-key-file", "ca-file", "client-certificate", "client-key"]
        var arguments = line.arguments(of: Set(names.map { "--" + $0 }))
        if line.words.contains("--insecure") { arguments.append("--insecure") }
        return try ConnectionOptions.parse(arguments).connect()
    }

    /// Names of filesystems with a colon, or what is in a directory of one.
    private static func places(_ line: TypedLine) throws -> [String] {
        let connection = try Self.connection(line)
        guard line.current.contains(":") else {
            if line.current.contains("/") { return [] }
            return try connection.filesystems().map(\.filesystemName).filter {
                (try? RemoteLocation($0 + ":"))??.filesystem == $0
            }.map { $0 + ":/" }
        }
        let (above, _) = Self.split(line.current)
        guard let directory = try RemoteLocation(above) else { return [] }
        let remote = connection.client.filesystem(try connection.filesystem(directory.filesystem).checkedID)
        let entries = try connection.call { try await remote.list(directory.path) }.entries
        let start = above.unicodeScalars.last == ":" ? above + "/" : above
        return entries.sorted { $0.name < $1.name }.map {
            start + $0.name.string + ($0.kind == .directory ? "/" : "")
        }
    }

    /// What is in a local directory.
    private static func files(_ typed: String) -> [String] {
        let (above, name) = Self.split(typed)
        guard !above.contains(":") else { return [] }
        var directory = above.isEmpty ? "." : above
        if directory.hasPrefix("~/"), let home = Environment.current["HOME"] {
            directory = home + directory.dropFirst()
        }
        let entries = (try? LocalDisk.list(directory))?.entries ?? []
        func isHidden(_ name: String) -> Bool { name.unicodeScalars.first == "." }
        return entries.filter { isHidden(name) || !isHidden($0.name.string) }.map { entry in
            let isDirectory =
                (try? LocalDisk.kind(of: "\(directory)/\(entry.name)", followsLinks: true)) == .directory
            return above + entry.name.string + (isDirectory ? "/" : "")
        }
    }

    /// The part up to the last slash, or the colon, and what follows, which may begin with a mark that combines with it.
    static func split(_ typed: String) -> (above: String, name: String) {
        let scalars = typed.unicodeScalars
        let end = scalars.lastIndex { $0 == "/" || $0 == ":" }.map(scalars.index(after:))
        let start = end ?? scalars.startIndex
        return (String(scalars[..<start]), String(scalars[start...]))
    }
}
