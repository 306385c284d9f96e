import SystemPackage
import WireFormat

extension Journal {
    /// Where a file stands whose bytes are not on the service yet; a clean one has no record.
    public enum State: String, Sendable, Hashable {
        /// Changed, and not covered by a close or fsync since.
        case open
        /// A close or fsync covers all of it: it is to be uploaded.
        case pending
        /// An upload of it has begun, of which some parts may have arrived.
        case uploading
        /// All parts have arrived, and the call that makes them the file was about to be sent, or its answer was lost.
        case unverified
        /// Its upload was refused; it is tried again at the next close, fsync, unmount or mount.
        case failed
        /// For a person: it was open when the driver died, or its place is gone. Its file lies in `recovered/`.
        case kept
    }

    /// Bytes of a staged file that are here.
    public struct Content: Sendable, Hashable {
        /// The file's size in bytes.
        public var size: UInt64
        /// Which of its bytes are here; nothing if all are. All of them only where the rest was to be cut away: the local
        /// file may be longer then, with nothing in it there.
        public var extents: ExtentMap?

        /// Makes a content.
        public init(size: UInt64, extents: ExtentMap? = nil) {
            self.size = size
            self.extents = extents
        }

        /// Whether all of its bytes are here.
        public var isWhole: Bool { self.extents.map { $0.byteCount == self.size } ?? true }

        /// What is left of it in a file that is no longer than this.
        func clipped(to size: UInt64) -> Content {
            guard size < self.size else { return self }
            var left = Content(size: size, extents: self.extents)
            left.extents?.removeAll(from: size)
            return left
        }

        /// The same after more was written: the file's size, and bytes that are here beside these.
        func grown(by more: Content) -> Content {
            guard var extents = self.extents, let added = more.extents else {
                return Content(size: more.size)
            }
            for extent in added.extents { extents.insert(extent) }
            extents.removeAll(from: more.size)
            return Content(size: more.size, extents: extents)
        }

        /// The same in a local file that turns out to be as long as this: what was added at its end was written here.
        func grown(to size: UInt64) -> Content {
            guard size > self.size else { return self }
            guard var extents = self.extents else { return Content(size: size) }
            extents.insert(self.size..<size)
            return Content(size: size, extents: extents)
        }
    }

    /// An upload that can be gone on with.
    public struct Upload: Sendable, Hashable {
        /// The server's name for it.
        public var id: UploadID
        /// The length of its parts in bytes, but for the last one.
        public var partSize: UInt64
        /// Which parts have arrived, counted from 0.
        public var sentParts: Set<Int>
        /// Whether a power failure leaves just what it sends; else that may take some of it.
        public var isSynced: Bool

        /// Makes an upload.
        public init(id: UploadID, partSize: UInt64, sentParts: Set<Int> = [], isSynced: Bool = false) {
            self.id = id
            self.partSize = partSize
            self.sentParts = sentParts
            self.isSynced = isSynced
        }
    }

    /// What is known of one staged file.
    public struct Record: Sendable, Hashable {
        /// The number in its local file's name.
        public var number: UInt64
        /// Where it goes; nothing if that is not known, or its name is gone.
        public var path: RemotePath?
        /// How far it is.
        public var state: State
        /// The bytes that are here, also those that a power failure might take.
        public var content: Content
        /// The bytes that a power failure leaves; nothing if it may take all.
        public var synced: Content?
        /// Whether a close or fsync reported `synced` as safe: whatever happened to the file since, it is uploaded.
        public var isPromised: Bool
        /// The size in bytes of what it replaces on the service; nothing if there was nothing, or that was not known.
        public var baseSize: UInt64?
        /// Whether it replaces something of which no size was known.
        public var replacesUnknown = false
        /// The size in bytes of an upload of it that may have become the file on the service; nothing if none may.
        public var completingSize: UInt64?
        /// The upload under way, for exactly what is here.
        public var upload: Upload?
        /// Why its state is `failed` or `kept`.
        public var reason: String?
        /// When it first differed from the service's, in seconds since 1970.
        public var time: Int64
        /// The start of the machine in which it was last written.
        var boot = ""

        /// The file's size in bytes.
        public var size: UInt64 { self.content.size }
    }
}

extension Journal.Record {
    /// What becomes of it when a mount finds it.
    ///
    /// - Parameters:
    ///   - length: The length of its local file in bytes.
    ///   - boot: Names the present start of the machine.
    /// - Returns: The state in which it is to be uploaded, or nothing if it is to be kept; and what is here of it.
    func judged(length: UInt64, boot: String) -> (Journal.State?, Journal.Content) {
        let left = self.content.clipped(to: length)
        let found = self.content.extents != nil && self.content.isWhole ? left : left.grown(to: length)
        // Where some bytes are on the service alone, what is beyond the recorded end may as well be what was about to be
        // cut away; all that had been written when its program was told is in the record.
        let certain = self.content.extents == nil ? found : left
        // Of what was emptied nothing is left that was promised.
        let isPromised = self.isPromised && (length > 0 || self.synced?.size == 0)
        guard self.boot == boot else {
            // A power failure may have taken what was not synced.
            guard let synced, length >= synced.size, self.state != .kept else { return (nil, found) }
            if self.state == .open { return isPromised ? (.pending, synced) : (nil, found) }
            return (self.state, synced)
        }
        switch self.state {
        case .kept: return (nil, found)
        // What an fsync reported as safe must be there again, with what came after it, as a local disk would have it.
        case .open: return isPromised ? (.pending, certain) : (nil, found)
        case .pending, .uploading, .unverified, .failed:
            // Of another length it was changed after the record was written.
            if length != self.size { return isPromised ? (.pending, certain) : (nil, found) }
            return (self.state, found)
        }
    }

    /// Why it is kept, for a person.
    func reasonToKeep(boot: String) -> String {
        if self.state == .kept { return self.reason ?? "its place is gone from the server" }
        return self.boot == boot
            ? "it was open when the driver ended" : "the machine stopped before all of it was on the disk"
    }
}
