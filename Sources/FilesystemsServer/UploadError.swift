/// What an upload refuses.
enum UploadError: Error {
    /// There is no upload of that id, or it is of another file, or it ended.
    case unknown
    /// The part's range ends after the declared size, in bytes.
    case outsideFile(size: UInt64)
    /// The part's body is not as long as its range, in bytes.
    case lengthMismatch(expected: UInt64)
    /// These bytes, and maybe more, have not arrived.
    case incomplete(gap: Range<UInt64>)
    /// Its completion is under way: no more parts.
    case finishing
    /// So many uploads are open that no more are begun.
    case tooMany
}
