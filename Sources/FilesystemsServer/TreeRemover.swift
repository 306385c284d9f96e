import Glibc

/// Deletes what lies in `DATA/removed`: filesystems and directories that are out of sight already.
struct TreeRemover: Sendable {
    private let removed: Descriptor

    /// Opens the folder.
    init(_ directory: DataDirectory) throws(FolderError) {
        self.removed = try Descriptor.open("removed", below: directory.root, flags: O_RDONLY | O_DIRECTORY)
    }

    /// Deletes everything there; what cannot be deleted stays for the next time.
    ///
    /// Directories inside are moved up first, so that the deepest tree needs neither a deep stack nor a
    /// descriptor for each level.
    ///
    /// - Parameter known: Names of folders that are emptied only: the catalogue still has those filesystems, as their
    ///   deletion was cut off, and the next start tells by the folder that they are to go.
    /// - Returns: What could not be deleted, for the log.
    func removeAll(leaving known: Set<String>) -> [FolderError] {
        var failures: [FolderError] = []
        var left: Set<[UInt8]> = []
        while true {
            do throws(FolderError) {
                let waiting = try self.removed.entries().filter { !left.contains($0.name) }
                if waiting.isEmpty { return failures }
                for entry in waiting {
                    do throws(FolderError) {
                        let isLeft = known.contains(String(decoding: entry.name, as: UTF8.self))
                        if isLeft { left.insert(entry.name) }
                        try self.remove(entry.name, isDirectory: entry.kind == UInt8(DT_DIR), isLeft: isLeft)
                    } catch .missing {
                        // Another process, a `user remove` beside the server, was there first.
                    } catch {
                        failures.append(error)
                        left.insert(entry.name)
                    }
                }
            } catch {
                return failures + [error]
            }
        }
    }

    private func remove(_ name: [UInt8], isDirectory: Bool, isLeft: Bool) throws(FolderError) {
        let text = Self.cString(name)
        if isDirectory {
            let directory = try Descriptor.open(
                String(decoding: name, as: UTF8.self),
                below: self.removed,
                flags: O_RDONLY | O_DIRECTORY
            )
            for entry in try directory.entries() {
                let child = Self.cString(entry.name)
                let result =
                    entry.kind == UInt8(DT_DIR)
                    ? renameat(directory.number, child, self.removed.number, RandomName.make())
                    : unlinkat(directory.number, child, 0)
                guard result == 0 || errno == ENOENT else {
                    throw FolderError(call: "unlinkat", errno: errno)
                }
            }
        }
        if isLeft { return }
        guard unlinkat(self.removed.number, text, isDirectory ? AT_REMOVEDIR : 0) == 0 || errno == ENOENT
        else {
            throw FolderError(call: "unlinkat", errno: errno)
        }
    }

    private static func cString(_ bytes: [UInt8]) -> [CChar] { bytes.map { CChar(bitPattern: $0) } + [0] }
}
