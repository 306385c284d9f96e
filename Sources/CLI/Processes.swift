import Glibc

/// Other processes, as /proc shows them.
enum Processes {
    /// Whether a process still has something open; one that only waits for its parent to take note has not.
    static func isRunning(_ id: Int32) -> Bool {
        // `1234 (name) S …`, where the name may hold anything; see proc(5).
        guard let bytes = try? Descriptor.readFile("/proc/\(id)/stat", limit: 4096),
            let end = bytes.lastIndex(of: UInt8(ascii: ")")), end + 2 < bytes.count
        else { return false }
        guard bytes[end + 2] == UInt8(ascii: "Z") || bytes[end + 2] == UInt8(ascii: "X") else { return true }
        // The state is the first thread's, which can be over while others hold what the process has open.
        return self.names(in: "/proc/\(id)/task").count > 1
    }

    /// Who uses something below a mount point, as far as this user may see: `1234 bash`.
    ///
    /// Reads links of /proc alone, which never asks the mount itself.
    ///
    /// - Parameters:
    ///   - mountPoint: The absolute path.
    ///   - limit: How many are named.
    /// - Returns: Their ids and names.
    static func users(of mountPoint: String, limit: Int = 8) -> [String] {
        var users: [String] = []
        for name in self.names(in: "/proc") {
            guard users.count < limit, let id = Int32(name), id != getpid() else { continue }
            if self.uses(mountPoint, process: "/proc/\(name)") {
                users.append("\(id) \(self.command(of: id))")
            }
        }
        return users
    }

    private static func uses(_ mountPoint: String, process: String) -> Bool {
        let isBelow = { (path: String) in path == mountPoint || path.hasPrefix(mountPoint + "/") }
        let links = ["cwd", "root", "exe"] + self.names(in: process + "/fd").map { "fd/" + $0 }
        if links.contains(where: { self.target(of: "\(process)/\($0)").map(isBelow) ?? false }) {
            return true
        }
        // A file stays in use while it is mapped, also after its descriptor was closed.
        guard let maps = try? Descriptor.readFile(process + "/maps", limit: 8 << 20) else { return false }
        return String(decoding: maps, as: UTF8.self).contains(" \(mountPoint)/")
    }

    private static func command(of id: Int32) -> String {
        guard let bytes = try? Descriptor.readFile("/proc/\(id)/comm", limit: 64) else { return "?" }
        return Printable.text(String(decoding: bytes.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self))
    }

    private static func target(of link: String) -> String? {
        var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let count = buffer.withUnsafeMutableBytes { bytes in
            bytes.bindMemory(to: CChar.self).baseAddress.map { readlink(link, $0, bytes.count) } ?? -1
        }
        return count < 0 ? nil : String(decoding: buffer.prefix(count), as: UTF8.self)
    }

    private static func names(in directory: String) -> [String] {
        guard let stream = opendir(directory) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            names.append(
                withUnsafeBytes(of: &entry.pointee.d_name) {
                    String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                }
            )
        }
        return names.filter { $0 != "." && $0 != ".." }
    }
}
