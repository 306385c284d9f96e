import Foundation
import Glibc

/// The folder in which a server keeps everything: the catalogue, the filesystems, and what is being removed.
///
/// docs/server.md draws it.
struct DataDirectory: Sendable {
    /// As the operator wrote it.
    let path: String
    /// The folder itself.
    let root: Descriptor

    /// What the file `format` holds. Another text means another version's folder, which is left alone.
    private static let format = "tetherfs-server data 1\n"

    /// What is said to the operator instead of serving.
    struct Unusable: Error, CustomStringConvertible {
        let description: String
    }

    /// Opens the folder.
    ///
    /// - Parameters:
    ///   - path: As the operator wrote it.
    ///   - create: Whether a folder that is missing or empty becomes a data directory.
    /// - Throws: ``Unusable``.
    init(path: String, create: Bool) throws {
        self.path = path
        if create {
            // Only its owner may look inside: it holds everybody's files.
            if mkdir(path, 0o700) != 0, errno != EEXIST {
                throw Unusable(description: "cannot make the data directory \(path): \(Self.text(errno))")
            }
        }
        do {
            self.root = try Descriptor.openDirectory(path)
        } catch .system(_, let code) {
            throw Unusable(description: "cannot open the data directory \(path): \(Self.text(code))")
        } catch .missing {
            throw Unusable(description: "there is no data directory \(path)")
        } catch {
            throw Unusable(description: "cannot open the data directory \(path)")
        }
        let formatPath = path + "/format"
        if let found = FileManager.default.contents(atPath: formatPath) {
            guard found == Data(Self.format.utf8) else {
                throw Unusable(description: "\(path) was made by another version of tetherfs-server")
            }
        } else {
            let names = (try? self.root.entries()) ?? []
            guard names.isEmpty else {
                throw Unusable(
                    description: "\(path) is neither empty nor a data directory of tetherfs-server"
                )
            }
            guard create else {
                throw Unusable(description: "\(path) is not a data directory of tetherfs-server")
            }
            do {
                try Data(Self.format.utf8).write(to: URL(fileURLWithPath: formatPath), options: .atomic)
            } catch {
                throw Unusable(description: "cannot write in the data directory \(path)")
            }
        }
        for folder in ["filesystems", "removed"] where mkdirat(self.root.number, folder, 0o700) != 0 {
            guard errno == EEXIST else {
                throw Unusable(description: "cannot write in the data directory \(path): \(Self.text(errno))")
            }
        }
    }

    /// Opens the catalogue.
    func openCatalogue() throws -> Catalogue {
        do {
            return try Catalogue(path: self.path + "/catalogue.sqlite")
        } catch {
            throw Unusable(description: "cannot open the catalogue in \(self.path): \(error)")
        }
    }

    /// Takes the folder for one serving process, until the result goes.
    ///
    /// Two servers would each sweep away the other's uploads.
    func lockForServing() throws -> Descriptor {
        let lock = try Descriptor.openLog(self.path + "/lock")
        guard flock(lock.number, LOCK_EX | LOCK_NB) == 0 else {
            throw Unusable(description: "another server is using the data directory \(self.path)")
        }
        return lock
    }

    private static func text(_ code: Int32) -> String { String(cString: strerror(code)) }
}
