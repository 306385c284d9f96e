import Synchronization
import Transport

/// A few bytes of a file, to be compared.
final class Sample: BodySink {
    private let content = Mutex<[UInt8]>([])

    /// Those that came.
    var bytes: [UInt8] { self.content.withLock(\.self) }

    func receive(_ bytes: UnsafeRawBufferPointer) -> Bool {
        self.content.withLock { $0.append(contentsOf: bytes) }
        return true
    }
}
