import WireFormat

/// Someone who may call the server.
struct User: Hashable, Sendable {
    /// A UUID in lower case.
    let id: String
    /// The name the operator gave.
    let name: String
}

/// A filesystem as the catalogue knows it.
struct FilesystemRecord: Hashable, Sendable {
    /// A UUID in lower case.
    let id: FilesystemID
    /// The id of the user who made it, and who alone may delete and share it.
    let owner: String
    /// Unique among its owner's.
    let name: String
}

/// All of the catalogue at one moment: what a request is checked against without touching the disk.
struct CatalogueSnapshot: Sendable {
    /// SQLite's `data_version` when this was read, of the connection that read it.
    var version = 0
    /// Every user and the hash of its key.
    var users: [KeyHash: User] = [:]
    /// Every filesystem.
    var filesystems: [FilesystemID: FilesystemRecord] = [:]
    /// Who else may use a filesystem: user ids.
    var grantees: [FilesystemID: Set<String>] = [:]

    /// What a caller may do with a filesystem.
    enum Access: Sendable {
        /// Everything.
        case owner
        /// Everything but deleting and sharing it.
        case grantee
    }

    /// The user whose key it is.
    func user(with key: APIKey) -> User? {
        let hash = key.hash
        // The dictionary finds by hash value and compares in a time of its own; the answer rests on `matches`.
        guard let index = self.users.index(forKey: hash), self.users[index].key.matches(hash) else {
            return nil
        }
        return self.users[index].value
    }

    /// What the user may do; nothing if for it the filesystem does not exist.
    func access(of user: User, to id: FilesystemID) -> Access? {
        guard let filesystem = self.filesystems[id] else { return nil }
        if filesystem.owner == user.id { return .owner }
        return self.grantees[id]?.contains(user.id) == true ? .grantee : nil
    }

    /// The filesystems that the user owns or that are shared with it, by name.
    func filesystems(visibleTo user: User) -> [FilesystemRecord] {
        self.filesystems.values
            .filter { self.access(of: user, to: $0.id) != nil }
            .sorted { ($0.name, $0.id.rawValue) < ($1.name, $1.id.rawValue) }
    }
}
