import RemoteAPI
import Synchronization
import Transport
import WireFormat

extension Range<UInt64> {
    /// What is looked at of a part's bytes to tell whether they are still the same: its end, 64 KiB at most.
    public var sample: Range<UInt64> {
        self.upperBound - Self.sampleByteCount(of: self.count)..<self.upperBound
    }

    /// As ``sample``, of its beginning.
    public var beginning: Range<UInt64> {
        self.lowerBound..<self.lowerBound + Self.sampleByteCount(of: self.count)
    }

    private static func sampleByteCount(of count: Int) -> UInt64 { UInt64(Swift.min(count, 64 << 10)) }
}

extension RemoteFilesystem {
    /// Looks at a file once more, as the API has no versions: at its size, and at samples of its parts.
    ///
    /// - Parameters:
    ///   - file: The file.
    ///   - size: Its size as it was, in bytes.
    ///   - samples: Where to look, each end exclusive.
    ///   - isSame: Whether the bytes of a sample are those that came before.
    /// - Returns: Whether it is the same as far as that can tell.
    /// - Throws: If the service cannot tell.
    public func isUnchanged(
        _ file: RemotePath,
        size: UInt64,
        samples: [Range<UInt64>],
        _ isSame: @escaping @Sendable (Range<UInt64>, [UInt8]) async -> Bool
    ) async throws(RemoteError) -> Bool {
        do throws(RemoteError) {
            try await PartCrew(Array(samples.indices), workerCount: 8).run {
                (index) async throws(RemoteError) in
                let sample = Sample()
                _ = try await self.read(file, samples[index], into: sample)
                guard await isSame(samples[index], sample.bytes) else { throw .changedKind }
            }
            return try await self.size(of: file) == size
        } catch {
            if error == .changedKind || error == .notFound { return false }
            throw error
        }
    }
}

/// A few bytes of a file, to be compared.
private final class Sample: BodySink {
    private let content = Mutex<[UInt8]>([])

    /// Those that came.
    var bytes: [UInt8] { self.content.withLock(\.self) }

    func receive(_ bytes: UnsafeRawBufferPointer) -> Bool {
        self.content.withLock { $0.append(contentsOf: bytes) }
        return true
    }
}
