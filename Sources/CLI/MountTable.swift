/// What is mounted where in this mount namespace, as /proc/self/mountinfo has it; see proc(5).
struct MountTable: Sendable {
    /// One mount.
    struct Entry: Sendable, Equatable {
        /// The mount's id, new with every mount.
        var id: Int
        /// The id of the mount it is on.
        var parentID: Int
        /// MAJ:MIN, as in /sys/class/bdi and /sys/fs/fuse/connections.
        var device: String
        /// Its path.
        var mountPoint: String
        /// The filesystem's type, `fuse.tetherfs` for ours.
        var type: String
        /// What is mounted.
        var source: String
        /// The filesystem's own options.
        var options: [String]

        /// Whether the driver is ours.
        var isTetherfs: Bool { self.type == "fuse.tetherfs" }

        /// The user who mounted it, for a FUSE mount.
        var userID: UInt32? {
            let prefix = "user_id="
            return self.options.lazy.compactMap {
                $0.hasPrefix(prefix) ? UInt32($0.dropFirst(prefix.count)) : nil
            }.first
        }
    }

    /// The mounts, in the kernel's order: of several at one path the last is the one that is seen.
    let entries: [Entry]

    /// The table of this process, as it is now.
    static func current() throws(UserError) -> MountTable {
        do {
            return MountTable(
                String(decoding: try Descriptor.readFile("/proc/self/mountinfo"), as: UTF8.self)
            )
        } catch {
            throw UserError("cannot read /proc/self/mountinfo: \(error)")
        }
    }

    /// Reads the file's text; lines that are not understood are left out.
    init(_ text: String) {
        // By bytes: a mark that a name begins with would join the blank before it.
        self.entries = text.utf8.split(separator: UInt8(ascii: "\n")).compactMap { Self.entry($0) }
    }

    /// What is seen at a path, if something is mounted exactly there.
    func mount(at path: String) -> Entry? {
        // As bytes: the same letters may be spelt in more than one way, and are not the same name then.
        self.entries.last { $0.mountPoint.utf8.elementsEqual(path.utf8) }
    }

    /// `36 35 98:0 /root /mnt/a\040b rw,noatime master:1 - ext4 /dev/sda1 rw`, with any number of fields before the `-`.
    private static func entry(_ line: Substring.UTF8View) -> Entry? {
        let fields = line.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
            .map { Substring($0) }
        guard let separator = fields.firstIndex(of: "-"), separator >= 6, fields.count > separator + 3,
            let id = Int(fields[0]), let parentID = Int(fields[1])
        else { return nil }
        return Entry(
            id: id,
            parentID: parentID,
            device: String(fields[2]),
            mountPoint: self.unescape(fields[4]),
            type: self.unescape(fields[separator + 1]),
            source: self.unescape(fields[separator + 2]),
            options: fields[separator + 3].split(separator: ",").map(String.init)
        )
    }

    /// Blanks, tabs, line ends, backslashes and `#` stand as a backslash and three octal digits.
    static func unescape(_ text: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = text.utf8
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "\\"), let escaped = UInt8(String(Substring(rest.prefix(3))), radix: 8),
                rest.prefix(3).count == 3
            {
                rest = rest.dropFirst(3)
                bytes.append(escaped)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
