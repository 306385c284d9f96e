import Primitives

// What the kernel takes a file's size to be: it hears late of a smaller one, or not at all, as it takes no size from an
// answer that it asked for before it was last made to forget the file.

extension Namespace {
    /// The kernel is told a file's size.
    public func tell(_ inode: InodeNumber, size: UInt64) {
        self.state.withLock { $0.tell(inode, size: size) }
    }

    /// Whether the kernel takes a file to have bytes of a range beyond the size that the file has: what a read lacks of
    /// them it shows as zeros.
    ///
    /// A request that goes beyond the file's last page, and not beyond that of a larger size that the kernel was told
    /// before, was sent before it heard of the size.
    ///
    /// - Parameters:
    ///   - range: What is read: offsets in bytes, end exclusive.
    ///   - inode: The file.
    ///   - size: The size that it has, in bytes.
    ///   - isDirect: Whether its reader opened it with O_DIRECT. Such a read may go far beyond the end, and is given what
    ///     there is; only what the kernel takes to be left then is read as pages.
    /// - Returns: Whether a read of the range would be filled up.
    public func kernelExpects(
        _ range: Range<UInt64>,
        of inode: InodeNumber,
        beyond size: UInt64,
        isDirect: Bool = false
    ) -> Bool {
        let (told, former) = self.state.withLock { state in
            (state.nodes[inode]?.toldSize ?? 0, state.formerSizes[inode] ?? 0)
        }
        if min(range.upperBound, told) > size { return true }
        if isDirect { return range.lowerBound >= size && range.lowerBound < former }
        let (pageEnd, formerPageEnd) = (Self.pageEnd(of: size), Self.pageEnd(of: former))
        return range.upperBound > pageEnd && range.upperBound <= formerPageEnd
    }

    /// Where the last page of a file of so many bytes ends: the kernel asks for nothing beyond.
    private static func pageEnd(of size: UInt64) -> UInt64 { (size + 4095) / 4096 * 4096 }

    /// Whether the kernel was ever told that a file goes on after an offset in bytes: it may take it for so large still.
    public func kernelMayExpectMore(than end: UInt64, of inode: InodeNumber) -> Bool {
        self.state.withLock { state in
            guard let node = state.nodes[inode] else { return false }
            return max(node.toldSize, state.formerSizes[inode] ?? 0) > end
        }
    }

    /// A read failed as the kernel takes the file for what it is no more; it is made to forget it if this says so.
    ///
    /// - Returns: `false` if it was told no size since it was last made to that is larger than the file's: then it asks
    ///   before it believes anything, and takes the answer only if it is not made to forget once more meanwhile.
    public func mustBeForgotten(_ inode: InodeNumber) -> Bool {
        self.state.withLock { state in
            guard state.nodes[inode] != nil else { return true }
            if let told = state.forgotten[inode], told <= state.facts(of: inode)?.size ?? 0 { return false }
            state.forgotten[inode] = 0
            return true
        }
    }
}

extension Namespace.State {
    mutating func tell(_ inode: InodeNumber, size: UInt64) {
        guard let told = self.nodes[inode]?.toldSize else { return }
        if size < told { self.formerSizes[inode] = max(self.formerSizes[inode] ?? 0, told) }
        self.nodes[inode]?.toldSize = size
        // Of most mounts' files none.
        guard !self.forgotten.isEmpty, let told = self.forgotten[inode] else { return }
        self.forgotten[inode] = max(told, size)
    }
}
