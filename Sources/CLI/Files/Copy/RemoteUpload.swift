import RemoteAPI
import Synchronization
import Transfers
import Transport
import WireFormat

/// What a copy within the service asks for: the API has none, so that all bytes come here and go back, a part at a time.
final class RemoteUploadSource: UploadSource {
    typealias Failure = CopyFailure

    private let file: RemotePath
    private let size: UInt64
    private let remote: any RemoteFilesystem
    private let progress: CopyProgress
    /// What was seen of each part, as numbers: the parts themselves are gone from memory when they are sent.
    private let samples = Mutex<[Range<UInt64>: Int]>([:])
    /// Whether more than one response brought a part.
    private let isJoined = Atomic(false)

    init(file: RemotePath, size: UInt64, remote: any RemoteFilesystem, progress: CopyProgress) {
        self.file = file
        self.size = size
        self.remote = remote
        self.progress = progress
    }

    func didBegin(_ upload: EarlierUpload) {}

    func willBeginAnew() {}

    func didAbandon(_ beginning: Task<UploadID?, Never>) {}

    func body(of range: Range<UInt64>) async throws(CopyFailure) -> any BodyReader {
        let part = Part(count: range.count)
        let count: UInt64
        do throws(RemoteError) {
            count = try await self.remote.read(self.file, range, into: part)
        } catch {
            throw error == .notFound ? .changed : .service(error)
        }
        guard count == UInt64(range.count) else { throw .changed }
        self.progress.add(bytes: count)
        let seen = part.isJoined ? [range.sample, range.beginning] : [range.sample]
        for sample in seen {
            let start = sample.lowerBound - range.lowerBound
            let number = Self.number(part[start..<start + UInt64(sample.count)])
            self.samples.withLock { $0[sample] = number }
        }
        if part.isJoined { self.isJoined.store(true, ordering: .relaxed) }
        return part
    }

    func wasSent(_ part: Int, of upload: UploadID) -> Bool { false }

    func didSend(_ part: Int, of upload: UploadID) {}

    func willComplete(_ upload: UploadID) async throws(CopyFailure) {
        let samples = self.samples.withLock(\.self)
        let isSingle = samples.count <= 1 && !self.isJoined.load(ordering: .relaxed)
        let isUnchanged: Bool
        do throws(RemoteError) {
            isUnchanged = try await self.remote.isUnchanged(
                self.file,
                size: self.size,
                // What a single response brings is of one version.
                samples: isSingle ? [] : Array(samples.keys)
            ) { Self.number($1) == samples[$0] }
        } catch {
            throw .service(error)
        }
        guard isUnchanged else { throw .changed }
    }

    /// A number made of bytes, other ones having another for all that chance can do: its key is this process's own.
    private static func number(_ bytes: [UInt8]) -> Int {
        var hasher = Hasher()
        bytes.withUnsafeBytes { hasher.combine(bytes: $0) }
        return hasher.finalize()
    }

    /// A part in memory, filled from one side and then read from the other.
    private final class Part: BodySink, BodyReader {
        private let bytes: Mutex<[UInt8]>
        let count: UInt64

        init(count: Int) {
            self.count = UInt64(count)
            var bytes: [UInt8] = []
            bytes.reserveCapacity(count)
            self.bytes = Mutex(bytes)
        }

        private let joins = Atomic(false)

        /// Whether more than one response brought it.
        var isJoined: Bool { self.joins.load(ordering: .relaxed) }

        /// Some of its bytes.
        subscript(range: Range<UInt64>) -> [UInt8] {
            self.bytes.withLock { Array($0[Int(range.lowerBound)..<Int(range.upperBound)]) }
        }

        func willJoin() { self.joins.store(true, ordering: .relaxed) }

        func receive(_ bytes: UnsafeRawBufferPointer) -> Bool {
            self.bytes.withLock { $0.append(contentsOf: bytes) }
            return true
        }

        func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Int? {
            self.bytes.withLock { bytes in
                let rest = bytes[min(Int(offset), bytes.count)...].prefix(buffer.count)
                buffer.copyBytes(from: rest)
                return rest.isEmpty ? nil : rest.count
            }
        }
    }
}
