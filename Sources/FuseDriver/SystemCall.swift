import CFuse
import Glibc

/// What a thread waits for, as `/proc/THREAD/syscall` shows it (proc(5)).
///
/// The kernel asks for a file's attributes in the same way for stat(2) and, to look at the modes, for open(2).
struct SystemCall {
    private let number: Int
    private let arguments: [UInt]

    /// Looks a thread up that waits for us; nothing if it is not seen from here, or not waiting yet.
    init?(thread: Int32) {
        guard thread > 0, let text = ProcFile.read("/proc/\(thread)/syscall") else { return nil }
        self.init(text)
    }

    /// Reads the file's text: the call's number, six arguments, and two registers.
    init?(_ text: some StringProtocol) {
        let words = text.split(whereSeparator: \.isWhitespace)
        guard words.count >= 7, let number = words.first.flatMap({ Int($0) }) else { return nil }
        self.number = number
        self.arguments = words[1...6].map { UInt($0.dropFirst(2), radix: 16) ?? 0 }
    }

    /// Whether the thread opens a file of which it may read what is there.
    var opensForReading: Bool {
        switch self.number {
        case cfuse_call_open: Self.isForReading(self.arguments[1])
        case cfuse_call_openat: Self.isForReading(self.arguments[2])
        case cfuse_call_openat2, cfuse_call_execve, cfuse_call_execveat: true
        default: false
        }
    }

    private static func isForReading(_ flags: UInt) -> Bool {
        let flags = Int32(truncatingIfNeeded: flags)
        return flags & O_ACCMODE != O_WRONLY && flags & O_TRUNC == 0
    }
}
