import FoundationEssentials
import Glibc
import Synchronization

/// The driver's side of the pipe on which it tells its starter, once, that the mount answers or why it does not.
final class ReadyPipe: Sendable {
    /// The variable that carries the descriptor's number.
    static let variable = "TETHERFS_READY_FD"

    private let descriptor: Mutex<Int32?>

    /// Takes the pipe that the starter left, if there is one.
    static func inherited(_ environment: Environment) -> ReadyPipe? {
        guard let text = environment[Self.variable] else { return nil }
        unsetenv(Self.variable)
        guard let descriptor = Int32(text), descriptor > STDERR_FILENO,
            FileStatus(of: descriptor)?.isPipe == true
        else {
            return nil
        }
        Descriptor.closeOnExec(descriptor)
        return ReadyPipe(descriptor)
    }

    /// Takes the end to write to.
    init(_ descriptor: Int32) {
        self.descriptor = Mutex(descriptor)
    }

    /// Says that the mount answers.
    ///
    /// - Returns: Whether somebody heard it.
    @discardableResult
    func reportReady() -> Bool { self.report("ok") }

    /// Says why there is no mount.
    @discardableResult
    func report(_ error: UserError) -> Bool { self.report("error \(error.description)") }

    private func report(_ line: String) -> Bool {
        self.descriptor.withLock { descriptor in
            guard let open = descriptor else { return false }
            descriptor = nil
            defer { close(open) }
            return Descriptor.write(line + "\n", to: open)
        }
    }
}

/// What the starter hears from the driver.
enum StartReport: Equatable {
    /// The mount answers.
    case ready
    /// There is no mount; the driver's line.
    case failed(String)
    /// The driver ended without a word.
    case ended
    /// The limit passed.
    case timedOut
    /// A signal asks this process to end.
    case interrupted

    /// Waits on the starter's end of the pipe.
    ///
    /// - Parameters:
    ///   - descriptor: The end to read from; the other end must be open in the driver alone.
    ///   - limit: How long.
    ///   - isInterrupted: Asked ten times a second.
    /// - Returns: What was heard.
    static func wait(on descriptor: Int32, limit: Duration, isInterrupted: () -> Bool) -> StartReport {
        let deadline = ContinuousClock.now + limit
        var bytes: [UInt8] = []
        while ContinuousClock.now < deadline {
            if isInterrupted() { return .interrupted }
            guard Descriptor.waitUntilReadable(descriptor, milliseconds: 100) else { continue }
            guard let more = try? Descriptor.read(descriptor, limit: 4096), !more.isEmpty else {
                // The same Ctrl-C may have ended the driver.
                return isInterrupted() ? .interrupted : .ended
            }
            bytes += more
            if let end = bytes.firstIndex(of: UInt8(ascii: "\n")) {
                return Self.report(String(decoding: bytes[..<end], as: UTF8.self))
            }
            if bytes.count > 64 << 10 { return .ended }
        }
        return .timedOut
    }

    private static func report(_ line: String) -> StartReport {
        if line == "ok" { return .ready }
        guard line.hasPrefix("error ") else { return .ended }
        return .failed(Printable.text(String(line.dropFirst("error ".count)), limit: 1000))
    }
}
