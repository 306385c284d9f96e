import Glibc
import Primitives

/// Which descriptors of a process are open for writing on a file of ours, as proc(5) shows them without touching the mount.
enum OpenDescriptors {
    /// Whether a process has a descriptor open for writing on a file.
    ///
    /// - Parameters:
    ///   - process: The process; 0 for an unknown one has none.
    ///   - inode: The file.
    ///   - device: Our mount's `MAJOR:MINOR`.
    /// - Returns: `false` also if it cannot be told.
    static func has(_ process: Int32, _ inode: InodeNumber, on device: String) -> Bool {
        var isOurs: [Substring: Bool] = [:]
        return self.first(of: process) { _, fields in
            guard fields["ino"] == String(inode.rawValue)[...], let mount = fields["mnt_id"],
                // One for reading alone uploads nothing when it is closed.
                let flags = self.flags(fields), flags & O_ACCMODE != O_RDONLY
            else { return nil }
            // Inode numbers are small here, and other filesystems have the same.
            let isHere = isOurs[mount] ?? self.isMount(mount, of: process, on: device)
            isOurs[mount] = isHere
            return isHere ? true : nil
        } ?? false
    }

    /// Looks through a process's descriptors, those of the lowest numbers, for the first that is something.
    ///
    /// - Parameters:
    ///   - process: The process; 0 for an unknown one has none.
    ///   - limit: How many are looked at.
    ///   - find: Given a descriptor's number and the fields of its `fdinfo`.
    /// - Returns: What `find` returned; nothing also if it cannot be told.
    static func first<Value>(
        of process: Int32,
        limit: Int = .max,
        _ find: (_ number: String, _ fields: [Substring: Substring]) -> Value?
    ) -> Value? {
        guard process > 0, let directory = opendir("/proc/\(process)/fdinfo") else { return nil }
        defer { closedir(directory) }
        var count = 0
        while count < limit, let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard name != ".", name != "..", let text = ProcFile.read("/proc/\(process)/fdinfo/\(name)")
            else {
                continue
            }
            count += 1
            if let value = find(name, self.fields(text)) { return value }
        }
        return nil
    }

    /// How a descriptor was opened.
    static func flags(_ fields: [Substring: Substring]) -> Int32? {
        fields["flags"].flatMap { Int32($0, radix: 8) }
    }

    private static func fields(_ text: String) -> [Substring: Substring] {
        var fields: [Substring: Substring] = [:]
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 1)
            if parts.count == 2 { fields[parts[0]] = parts[1].drop(while: \.isWhitespace) }
        }
        return fields
    }

    private static func isMount(_ id: Substring, of process: Int32, on device: String) -> Bool {
        guard let table = ProcFile.read("/proc/\(process)/mountinfo") else { return false }
        return table.split(separator: "\n").contains { line in
            let fields = line.split(separator: " ", maxSplits: 3)
            return fields.count > 2 && fields[0] == id && fields[2] == device[...]
        }
    }
}
