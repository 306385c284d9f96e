import Glibc
import Logging
import Synchronization
import SystemPackage
import WireFormat

/// The name of a staged file on the local disk, which says whether its bytes are only here.
struct StagingName: Sendable {
    let number: UInt64
    /// Tells a person which file it was: the end of its path, encoded.
    let label: String

    var clean: String { "clean-\(self.number)" }
    var dirty: String { "dirty-\(self.number)-\(self.label)" }
}

/// The staged files of a mount, in `staging/` of its cache directory.
///
/// What a crashed mount left there unsent is kept in `recovered/`.
public final class StagingStore: Sendable {
    /// Where bytes that a mount could not upload are kept.
    public let recoveryDirectory: FilePath
    private let directory: FilePath
    private let cache: CacheDirectory
    /// Frees so many bytes of the disk: whether it did.
    let makeRoom: @Sendable (Int) -> Bool
    /// Counted up from the time of the start, so that no name that an earlier mount left is met again.
    private let nextNumber: Mutex<UInt64>

    /// Opens the store.
    ///
    /// - Parameters:
    ///   - cache: Where it is; held as long as the store lives.
    ///   - makeRoom: Called, on any thread, when the disk has no room for so many bytes: frees what can be fetched
    ///     again, and says whether it did.
    ///   - logger: Told of what a crashed mount left.
    /// - Throws: If its directories cannot be made.
    public init(
        in cache: CacheDirectory,
        makeRoom: @escaping @Sendable (Int) -> Bool = { _ in false },
        logger: Logger
    ) throws(CacheDirectoryError) {
        self.cache = cache
        self.makeRoom = makeRoom
        self.directory = try cache.makeSubdirectory("staging")
        self.recoveryDirectory = try cache.makeSubdirectory("recovered")
        self.nextNumber = Mutex(UInt64(time(nil)) << 20)
        self.keepLeftovers(logger)
    }

    /// Makes a staged file of which nothing is here yet.
    ///
    /// - Parameters:
    ///   - path: Whose bytes it stages.
    ///   - size: Its size in bytes on the service; 0 for a new file.
    /// - Returns: The file, clean and without a byte here.
    /// - Throws: The local disk's error.
    public func makeFile(for path: RemotePath?, size: UInt64) throws(Errno) -> StagedFile {
        let number = self.nextNumber.withLock { number in
            defer { number += 1 }
            return number
        }
        // 200 bytes leave room for what stands before it in a name.
        let label = PercentEncoding.encode(path?.description ?? "unnamed").suffix(200)
        let name = StagingName(number: number, label: String(label))
        let descriptor: FileDescriptor
        do {
            descriptor = try FileDescriptor.open(
                self.directory.appending(name.clean),
                .readWrite,
                options: [.create, .exclusiveCreate, .closeOnExec],
                permissions: [.ownerReadWrite]
            )
        } catch {
            throw error as? Errno ?? .ioError
        }
        guard ftruncate(descriptor.rawValue, off_t(size)) == 0 else {
            let cause = Errno(rawValue: errno)
            try? descriptor.close()
            self.remove(name, isDirty: false)
            throw cause
        }
        return StagedFile(descriptor: descriptor, name: name, size: size, store: self)
    }

    func markDirty(_ name: StagingName) throws(Errno) {
        guard rename(self.path(name.clean), self.path(name.dirty)) == 0 else { throw Errno(rawValue: errno) }
    }

    func markClean(_ name: StagingName) {
        // Should it fail, the bytes are kept once too often.
        _ = rename(self.path(name.dirty), self.path(name.clean))
    }

    /// Takes a staged file off the disk, or, if its bytes are only here, puts it where a person finds it.
    func remove(_ name: StagingName, isDirty: Bool) {
        if isDirty {
            _ = self.keep(name.dirty)
        } else {
            unlink(self.path(name.clean))
        }
    }

    /// What a crashed mount left: its dirty files are kept, the others are copies of what the service has.
    private func keepLeftovers(_ logger: Logger) {
        for name in CacheDirectory.names(in: self.directory) {
            if name.hasPrefix("dirty-") {
                let kept = self.keep(name)
                logger.warning(
                    "bytes that an earlier mount did not upload are kept",
                    metadata: ["file": "\(kept)"]
                )
            } else {
                unlink(self.path(name))
            }
        }
    }

    /// Moves a file to the recovery directory; where that fails it stays where it is.
    func keep(_ name: String) -> String {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        let kept = self.recoveryDirectory.appending("\(time.tv_sec)-\(name)").string
        return rename(self.path(name), kept) == 0 ? kept : self.path(name)
    }

    private func path(_ name: String) -> String { self.directory.appending(name).string }
}
