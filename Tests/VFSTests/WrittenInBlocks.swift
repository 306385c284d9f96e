import RemoteAPI
import TestKit
import Transfers

@testable import VFS

// Files that are written in blocks of a kibibyte, and uploaded in parts of eight.

let kibibyte = 1 << 10

/// The bytes of a block.
func block(_ number: Int, _ seed: UInt8 = 0) -> [UInt8] {
    [UInt8](repeating: UInt8(number + 1) &+ seed, count: kibibyte)
}

/// The bytes of a file of so many blocks.
func blocks(_ count: Int, _ seed: UInt8 = 0) -> [UInt8] { (0..<count).flatMap { block($0, seed) } }

extension Mount {
    func write(
        _ handle: FileHandle,
        blocks: Range<Int>,
        _ seed: UInt8 = 0
    ) async throws(FileSystemError) {
        for number in blocks { try await self.write(handle, block(number, seed), at: number * kibibyte) }
    }

    /// A new file of which two of three parts were written, and sent.
    func streaming(_ name: String = "a") async throws -> FileHandle {
        self.fileSystem.guessSizes { _, _ in UInt64(24 * kibibyte) }
        let handle = try await self.create(name)
        try await self.write(handle, blocks: 0..<17)
        await self.remote.ended(.putPart, 2)
        return handle
    }

    /// Makes room, which is all that the file will need.
    func reserve(_ handle: FileHandle, blocks: Range<Int>) async throws(FileSystemError) {
        let range = UInt64(blocks.lowerBound * kibibyte)..<UInt64(blocks.upperBound * kibibyte)
        try await self.fileSystem.reserve(handle, range, expecting: range.upperBound)
    }

    func truncate(_ handle: FileHandle, to blocks: Int) async throws(FileSystemError) {
        let size = UInt64(blocks * kibibyte)
        try await self.fileSystem.truncate(handle.content.inode, to: size, through: handle)
    }

    /// What is asked that changes something, in the order of its beginning.
    var changes: [String] {
        let kinds: Set = ["begin", "put", "complete"]
        return self.remote.calls.filter { kinds.contains(String($0.prefix { $0 != " " })) }
    }
}
