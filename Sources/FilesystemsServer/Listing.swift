import Glibc
import Hummingbird

/// What a directory holds, ready to be sent.
struct Listing: Sendable {
    private var directories: [[UInt8]] = []
    private var files: [[UInt8]] = []
    /// How many names were left out because JSON cannot carry them (they are not UTF-8).
    private(set) var skippedCount = 0

    /// Sorts what readdir gave: only directories and regular files, by the bytes of their names.
    init(_ entries: [(name: [UInt8], kind: UInt8)]) {
        for entry in entries {
            let isDirectory = entry.kind == UInt8(DT_DIR)
            guard isDirectory || entry.kind == UInt8(DT_REG) else { continue }
            guard String(validating: entry.name, as: UTF8.self) != nil else {
                self.skippedCount += 1
                continue
            }
            if isDirectory {
                self.directories.append(entry.name)
            } else {
                self.files.append(entry.name)
            }
        }
        self.directories.sort(by: Self.precedes)
        self.files.sort(by: Self.precedes)
    }

    private static func precedes(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        let order = memcmp(left, right, min(left.count, right.count))
        return order == 0 ? left.count < right.count : order < 0
    }

    /// `{"directories": […], "files": […]}`.
    ///
    /// Written by hand: Foundation's encoder took many times as long for 100,000 names, which are only bytes here.
    var json: ByteBuffer {
        let capacity = 40 + (self.directories + self.files).reduce(0) { $0 + $1.count + 4 }
        var buffer = ByteBufferAllocator().buffer(capacity: capacity)
        buffer.writeStaticString("{\"directories\": [")
        Self.write(self.directories, to: &buffer)
        buffer.writeStaticString("], \"files\": [")
        Self.write(self.files, to: &buffer)
        buffer.writeStaticString("]}")
        return buffer
    }

    private static func write(_ names: [[UInt8]], to buffer: inout ByteBuffer) {
        var first = true
        for name in names {
            buffer.writeStaticString(first ? "\"" : ", \"")
            first = false
            if name.contains(where: Self.needsEscape) {
                name.forEach { Self.write($0, to: &buffer) }
            } else {
                buffer.writeBytes(name)
            }
            buffer.writeStaticString("\"")
        }
    }

    private static func needsEscape(_ byte: UInt8) -> Bool {
        byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\")
    }

    private static func write(_ byte: UInt8, to buffer: inout ByteBuffer) {
        guard Self.needsEscape(byte) else {
            buffer.writeInteger(byte)
            return
        }
        if byte < 0x20 {
            let digits = Array("0123456789abcdef".utf8)
            buffer.writeStaticString("\\u00")
            buffer.writeInteger(digits[Int(byte >> 4)])
            buffer.writeInteger(digits[Int(byte & 15)])
        } else {
            buffer.writeInteger(UInt8(ascii: "\\"))
            buffer.writeInteger(byte)
        }
    }
}
