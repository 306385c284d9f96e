import RemoteAPI
import Synchronization
import Transfers
import Transport
import WireFormat

/// What a copy within the service asks for: the API has none, so that all bytes come here and go back, a part at a time.
struct RemoteUploadSource: UploadSource {
    typealias Failure = CopyFailure

    let file: RemotePath
    let size: UInt64
    let remote: any RemoteFilesystem
    let progress: CopyProgress

    func didBegin(_ upload: EarlierUpload) {}

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
        return part
    }

    func wasSent(_ part: Int, of upload: UploadID) -> Bool { false }

    func didSend(_ part: Int, of upload: UploadID) {}

    func willComplete(_ upload: UploadID) async throws(CopyFailure) {
        do throws(RemoteError) {
            guard try await self.remote.size(of: self.file) == self.size else { throw .changedKind }
        } catch {
            throw error == .notFound || error == .changedKind ? .changed : .service(error)
        }
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
