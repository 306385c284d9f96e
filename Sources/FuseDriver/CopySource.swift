import CFuse
import Glibc

/// The file that a process copies, as proc(5) shows it: read from start to end, as far as its copy is written.
enum CopySource {
    /// A program reads so far ahead of what it writes, in bytes, at most: by its buffer.
    private static let largestBuffer: UInt64 = 4 << 20
    /// What copies has few descriptors; to look through more would hold up its writing.
    private static let descriptorLimit = 64

    /// The size of a copy, guessed by what its writer reads.
    ///
    /// - Parameters:
    ///   - process: What writes the copy.
    ///   - offset: How far, in bytes.
    /// - Returns: The size, in bytes, of a regular file that the process has open for reading, at that offset or a little
    ///   beyond; nothing if there is none, or it cannot be told without waiting.
    static func size(_ process: Int32, _ offset: UInt64) -> UInt64? {
        OpenDescriptors.first(of: process, limit: self.descriptorLimit) { number, fields in
            guard let flags = OpenDescriptors.flags(fields), flags & O_ACCMODE != O_WRONLY,
                let position = fields["pos"].flatMap({ UInt64($0) }),
                (offset...offset + self.largestBuffer).contains(position)
            else { return nil }
            // As the kernel knows it: what is copied may be on a filesystem that answers slowly, or on this one.
            let size = cfuse_known_size("/proc/\(process)/fd/\(number)")
            return UInt64(exactly: size).flatMap { $0 >= position ? $0 : nil }
        }
    }
}
