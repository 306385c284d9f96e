import CLinux
import Glibc
import SystemPackage

/// Room on the local disk for bytes that are to come.
extension StagedFile {
    /// Reserves local space for a range, so that later writes to it do not fail for want of space, and lets the file
    /// grow to it.
    public func allocate(_ range: Range<UInt64>) throws(Errno) {
        try self.change(needing: range.count) { state throws(Errno) in
            // Where the local filesystem cannot, a hole does: the C library would write into each of its blocks, for hours.
            if try !self.makeRoom(for: range, keepsSize: false, &state), range.upperBound > state.size {
                let descriptor = try self.open(&state).rawValue
                guard ftruncate(descriptor, off_t(range.upperBound)) == 0 else {
                    throw Self.failed(Errno(rawValue: errno), descriptor, state)
                }
            }
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
            if try self.makeRoom(for: range, keepsSize: true, &state) {
                state.reservedEnd = max(state.reservedEnd, range.upperBound)
            }
        }
    }

    /// Has the local filesystem find room for a range.
    ///
    /// - Returns: Whether it can: else a write is told if there is no room.
    private func makeRoom(
        for range: Range<UInt64>,
        keepsSize: Bool,
        _ state: inout State
    ) throws(Errno) -> Bool {
        let descriptor = try self.open(&state).rawValue
        let length = Int64(range.upperBound - range.lowerBound)
        let result = csystem_reserve(descriptor, keepsSize ? 1 : 0, Int64(range.lowerBound), length)
        guard result != 0 else { return true }
        let error = Errno(rawValue: errno)
        if error == .notSupported || error == .noFunction { return false }
        throw Self.failed(error, descriptor, state)
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
