import CLinux
import Glibc
import SystemPackage

/// Room on the local disk for bytes that are to come.
extension StagedFile {
    /// Reserves local space for a range, so that later writes to it do not fail for want of space, and lets the file
    /// grow to it.
    public func allocate(_ range: Range<UInt64>) throws(Errno) {
        try self.change(needing: range.count) { state throws(Errno) in
            let descriptor = try self.open(&state).rawValue
            let length = off_t(range.upperBound - range.lowerBound)
            let result = posix_fallocate(descriptor, off_t(range.lowerBound), length)
            guard result == 0 else { throw Self.failed(Errno(rawValue: result), descriptor, state) }
            if range.upperBound > state.size {
                state.insert(state.size..<range.upperBound)
                state.size = range.upperBound
            }
        }
    }

    /// Reserves local space for a range, as far as the local filesystem can, and changes nothing of the file, nor of its
    /// size; kept until ``endReservation()``.
    public func reserve(_ range: Range<UInt64>) throws(Errno) {
        try self.withState(needing: range.count) { state throws(Errno) in
            let descriptor = try self.open(&state).rawValue
            let length = Int64(range.upperBound - range.lowerBound)
            if csystem_reserve(descriptor, Int64(range.lowerBound), length) == 0 {
                state.reservedEnd = max(state.reservedEnd, range.upperBound)
                return
            }
            let error = Errno(rawValue: errno)
            // Not every filesystem can: then a write is told if there is no room.
            if error == .notSupported || error == .noFunction { return }
            throw Self.failed(error, descriptor, state)
        }
    }

    /// Gives back what was reserved past the file's end and not used.
    public func endReservation() {
        self.state.withLock { state in
            if state.reservedEnd > state.size, let descriptor = try? self.open(&state) {
                _ = ftruncate(descriptor.rawValue, off_t(state.size))
            }
            state.reservedEnd = 0
        }
    }

    /// Some filesystems keep what they had found room for; the local file has to be as long as the file.
    private static func failed(_ error: Errno, _ descriptor: Int32, _ state: State) -> Errno {
        _ = ftruncate(descriptor, off_t(state.size))
        return error
    }
}
