import Glibc
import SystemPackage

/// How much memory a mount may take for what it keeps.
enum MemoryBudget {
    /// What the whole process takes at most beyond what it needs to run at all, in bytes.
    static let standard = 128 << 20
    /// Less than this makes every read wait, in bytes.
    static let least = 16 << 20

    /// The standard, or a quarter of what the process, its control group or the machine may use, if that is less.
    static func automatic(limits: [Int] = Self.systemLimits()) -> Int {
        max(Self.least, min(Self.standard, (limits.min() ?? .max) / 4))
    }

    /// What bounds this process, in bytes: the machine's memory, and `memory.max` of its control group and all above.
    private static func systemLimits() -> [Int] {
        let pages = sysconf(Int32(_SC_PHYS_PAGES))
        let machine = pages > 0 ? [pages * sysconf(Int32(_SC_PAGESIZE))] : []
        return machine + Self.groupLimits(of: Self.text(of: "/proc/self/cgroup") ?? "") { Self.text(of: $0) }
    }

    /// The limits of a control group and of those above it (cgroups(7)).
    ///
    /// - Parameters:
    ///   - membership: What /proc/self/cgroup says.
    ///   - read: The text of a file; nothing if it cannot be read.
    /// - Returns: Those that are set, in bytes.
    static func groupLimits(of membership: String, _ read: (String) -> String?) -> [Int] {
        // "0::/PATH" is the one line of the unified hierarchy.
        guard let line = membership.split(separator: "\n").first(where: { $0.hasPrefix("0::/") }) else {
            return []
        }
        let group = line.dropFirst("0::".count)
        var limits: [Int] = []
        var path = SystemPackage.FilePath("/sys/fs/cgroup" + group)
        while path.starts(with: "/sys/fs/cgroup") {
            let text = read("\(path)/memory.max")?.split(separator: "\n").first
            if let limit = text.flatMap({ Int($0) }) { limits.append(limit) }
            guard path.removeLastComponent() else { break }
        }
        return limits
    }

    private static func text(of path: String) -> String? {
        (try? Descriptor.readFile(path)).map { String(decoding: $0, as: UTF8.self) }
    }
}
