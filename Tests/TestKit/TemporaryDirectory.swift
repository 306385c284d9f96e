import FoundationEssentials
import Glibc

/// A directory of its own for a test, gone with all that is in it when the test lets go of it.
public final class TemporaryDirectory: Sendable {
    /// Where it is.
    public let path: String

    /// Makes it.
    public init() {
        var template = Array("/tmp/tetherfs-test-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { preconditionFailure("a temporary directory can be made") }
        self.path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// A copy of it with all that is in it now.
    ///
    /// - Throws: If it cannot be made.
    public func copy() throws -> TemporaryDirectory {
        let copy = TemporaryDirectory()
        for name in self.names() {
            try FileManager.default.copyItem(atPath: self.path + "/" + name, toPath: copy.path + "/" + name)
        }
        return copy
    }

    /// Takes away all that is in it, and itself.
    public func removeAll() { try? FileManager.default.removeItem(atPath: self.path) }

    deinit {
        try? FileManager.default.removeItem(atPath: self.path)
    }

    /// The names in one of its directories, in order.
    public func names(in directory: String = "") -> [String] {
        guard let stream = opendir(self.path + "/" + directory) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// The bytes of one of its files, none if it is not there.
    public func bytes(of file: String) -> [UInt8]? {
        guard let descriptor = self.open(file) else { return nil }
        defer { self.close(descriptor) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            guard count > 0 else { return bytes }
            bytes.append(contentsOf: buffer[..<count])
        }
    }

    /// Writes one of its files.
    public func write(_ bytes: [UInt8], to file: String) {
        let descriptor = Glibc.open(self.path + "/" + file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { preconditionFailure("a test's file can be written") }
        defer { self.close(descriptor) }
        let count = Glibc.write(descriptor, bytes, bytes.count)
        precondition(count == bytes.count, "a test's file can be written")
    }

    /// Makes a directory in it.
    public func makeDirectory(_ name: String) {
        let result = mkdir(self.path + "/" + name, 0o700)
        precondition(result == 0, "a test's directory can be made")
    }

    /// Opens one of its files to be read; ``close(_:)`` is due.
    public func open(_ file: String) -> Int32? {
        let descriptor = Glibc.open(self.path + "/" + file, O_RDONLY | O_CLOEXEC)
        return descriptor >= 0 ? descriptor : nil
    }

    /// Ends ``open(_:)``.
    public func close(_ descriptor: Int32) { Glibc.close(descriptor) }
}
