import Transport

/// A part of a staged file as the body of a request: read from the local file while it is sent.
public struct StagedBodyReader: BodyReader {
    private let file: StagedFile
    private let range: Range<UInt64>

    /// Makes a body of a range that is here.
    public init(_ file: StagedFile, _ range: Range<UInt64>) {
        self.file = file
        self.range = range
    }

    /// The part's length in bytes.
    public var count: UInt64 { UInt64(self.range.count) }

    /// Reads from the local file; nothing if it is shorter now or cannot be read.
    public func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Int? {
        let wanted = min(buffer.count, Int(self.count - min(offset, self.count)))
        let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted])
        guard let count = try? self.file.read(into: part, at: self.range.lowerBound + offset), count > 0
        else {
            return nil
        }
        return count
    }
}
