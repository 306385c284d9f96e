import WireFormat

/// What the service cannot hold of a file or directory, remembered for later mounts; nothing where it was not set.
public struct StoredAttributes: Sendable, Hashable {
    /// A time.
    public struct Time: Sendable, Hashable {
        /// Seconds since 1970.
        public var seconds: Int64
        /// Nanoseconds beyond them, below 10^9.
        public var nanoseconds: Int64

        /// Makes a time.
        public init(seconds: Int64, nanoseconds: Int64) {
            self.seconds = seconds
            self.nanoseconds = nanoseconds
        }
    }

    /// The number that the file or directory shows to programs, and keeps.
    public var number: UInt64
    /// The size in bytes of the file that they belong to; nothing for a directory.
    public var size: UInt64?
    /// The permission bits.
    public var mode: UInt32?
    /// The owner.
    public var userID: UInt32?
    /// The group.
    public var groupID: UInt32?
    /// When it was last read.
    public var accessTime: Time?
    /// When its bytes last changed.
    public var modificationTime: Time?
    /// When anything of it last changed.
    public var changeTime: Time?

    /// Makes attributes of which nothing is set.
    ///
    /// - Parameter number: The number that the file or directory shows to programs.
    public init(number: UInt64 = 0) {
        self.number = number
    }
}
