import CFuse
import Glibc
import Inodes
import Primitives
import RemoteAPI
import VFS

/// The kernel's forms of what VFS says.
enum Replies {
    /// What programs are advised to read and write at once, in bytes: what coreutils take anyway.
    private static let blockSize = 128 << 10

    /// The attributes as stat(2) has them.
    static func stat(_ attributes: FileAttributes) -> stat {
        var stat = Glibc.stat()
        stat.st_ino = UInt(attributes.inode.rawValue)
        stat.st_mode = self.type(attributes.kind) | (attributes.mode & 0o7777)
        // 1 for directories too: find(1) takes 2 for "no directories in it".
        stat.st_nlink = attributes.isUnlinked ? 0 : 1
        stat.st_uid = attributes.userID
        stat.st_gid = attributes.groupID
        stat.st_size = off_t(attributes.size)
        stat.st_blksize = self.blockSize
        stat.st_blocks = blkcnt_t((attributes.size + 511) / 512)
        stat.st_atim = self.time(attributes.accessTime)
        stat.st_mtim = self.time(attributes.modificationTime)
        stat.st_ctim = self.time(attributes.changeTime)
        return stat
    }

    /// A name's type, as readdir(3) has it.
    static func type(_ kind: EntryKind) -> mode_t { kind == .directory ? S_IFDIR : S_IFREG }

    /// A name's entry; for an absent one the number is 0, which the kernel remembers as long as it is valid.
    static func entry(_ reply: LookupReply) -> fuse_entry_param {
        var entry = fuse_entry_param()
        switch reply {
        case .absent(let validFor):
            entry.entry_timeout = self.seconds(validFor)
        case .entry(let attributes, let nameValidFor, let attributesValidFor):
            entry.ino = attributes.inode.rawValue
            entry.attr = self.stat(attributes)
            entry.entry_timeout = self.seconds(nameValidFor)
            entry.attr_timeout = self.seconds(attributesValidFor)
        }
        return entry
    }

    /// Whole and parts of seconds.
    static func seconds(_ duration: Duration) -> Double {
        let (seconds, attoseconds) = duration.components
        return Double(seconds) + Double(attoseconds) / 1e18
    }

    /// Answers with bytes in pieces.
    static func data(_ request: fuse_req_t, _ slices: [ByteSlice]) -> Int32 {
        var vectors = slices.map { slice in
            // The kernel only reads them.
            iovec(iov_base: .init(mutating: slice.bytes.baseAddress), iov_len: slice.range.count)
        }
        // The buffers' memory lives as long as the slices.
        return withExtendedLifetime(slices) { fuse_reply_iov(request, &vectors, Int32(vectors.count)) }
    }

    private static func time(_ time: FileTime) -> timespec {
        timespec(tv_sec: Int(time.seconds), tv_nsec: Int(time.nanoseconds))
    }
}
