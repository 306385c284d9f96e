import Glibc

/// The kernel's refusal of a call, as a value.
struct SystemError: Error, Equatable, CustomStringConvertible {
    /// The errno.
    let code: Int32

    /// Takes a number, or the calling thread's last one.
    init(_ code: Int32 = errno) { self.code = code }

    /// Whether there is nothing of that name.
    var isMissing: Bool { self.code == ENOENT || self.code == ENOTDIR }

    /// Whether it is of a mount whose driver is gone; the second, if it went while it was asked.
    var isOfDeadMount: Bool { self.code == ENOTCONN || self.code == ECONNABORTED }

    /// The C library's words for it.
    var description: String {
        var buffer = [CChar](repeating: 0, count: 256)
        // strerror is not safe from several threads at once.
        guard strerror_r(self.code, &buffer, buffer.count) == 0 else { return "error \(self.code)" }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
