import ArgumentParser
import Staging
import SystemPackage
import WireFormat

/// Where `tetherfs recover` looks.
struct CacheOption: ParsableArguments {
    @Option(
        name: .customLong("cache-dir"),
        help: ArgumentHelp("Where mounts keep what is not uploaded.", valueName: "directory")
    )
    var directory: String?

    @Option(
        help: ArgumentHelp("A profile that names that directory (or TETHERFS_PROFILE).", valueName: "name"),
        completion: CommandCompletion.profiles
    )
    var profile: String?

    private func path() throws(UserError) -> SystemPackage.FilePath {
        var given: [SettingName: Setting] = [:]
        given.take(.cacheDirectory, self.directory)
        given.take(.profile, self.profile)
        let environment = Environment.current
        let layers = try SettingLayers(given: [given], environment: environment)
        guard let path = layers[.cacheDirectory]?.text ?? environment.defaultCacheDirectory, !path.isEmpty
        else {
            throw UserError(
                "there is no home directory to look for a cache in: name a place with --cache-dir"
            )
        }
        return SystemPackage.FilePath(FilePath.absolute(path))
    }

    /// What can be recovered, of all filesystems or of those named by id or cache directory.
    func files(of names: [String]) throws(UserError) -> [RecoverableFile] {
        let parent = try self.path()
        if names.isEmpty { return try Self.files(in: parent, of: nil) }
        var files: [RecoverableFile] = []
        for name in names {
            let path = SystemPackage.FilePath(FilePath.absolute(name)).lexicallyNormalized()
            let isPath = name.contains("/") || name == "."
            let place = isPath ? path.removingLastComponent() : parent
            files += try Self.files(in: place, of: isPath ? path.lastComponent?.string ?? "" : name)
        }
        return files
    }

    private static func files(
        in parent: SystemPackage.FilePath,
        of name: String?
    ) throws(UserError) -> [RecoverableFile] {
        let directories: [(FilesystemID, SystemPackage.FilePath)]
        do throws(CacheDirectoryError) {
            directories = try CacheDirectory.all(in: parent).filter { name == nil || $0.0.rawValue == name }
        } catch {
            throw UserError(Printable.text(error.description))
        }
        if let name, directories.isEmpty {
            throw UserError(
                "no cache of a filesystem '\(Printable.text(name))' in \(Printable.text(parent.string))"
            )
        }
        return directories.flatMap { id, path in
            let (files, isJournalReadable) = RecoverableFile.all(in: path, of: id)
            if !isJournalReadable {
                Terminal.note(
                    "the journal in \(Printable.text(path.string)) cannot be read: nothing is known of its files but "
                        + "their names"
                )
            }
            return files
        }
    }
}

/// Which of the files that can be recovered is meant: a number alone may stand for one of each of several filesystems.
struct RecoverableChoice: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Its filesystem, if several have the number: an id or a cache directory.",
            valueName: "filesystem"
        )
    )
    var filesystem: String?

    @OptionGroup
    var cache: CacheOption

    /// The file of a number.
    ///
    /// - Throws: If there is none, or more than one.
    func file(_ number: UInt64) throws(UserError) -> RecoverableFile {
        let all = try self.cache.files(of: self.filesystem.map { [$0] } ?? [])
        let files = all.filter { $0.number == number }
        guard let file = files.first else {
            throw UserError("there is no file \(number): see tetherfs recover list")
        }
        guard files.count == 1 else {
            let owners = files.map(\.filesystem.rawValue).joined(separator: ", ")
            throw UserError(
                "each of the filesystems \(owners) has a file \(number): say whose it is with --filesystem ID"
            )
        }
        return file
    }
}
