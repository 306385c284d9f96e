import RemoteAPI
import TestKit
import Testing

@testable import VFS

@Suite("Random operations agree with a model", .timeLimit(.minutes(5)))
struct ModelTests {
    /// A file as it should be, and the handles on it.
    private final class ModelFile {
        var bytes: [UInt8] = []
    }

    private struct Open {
        let handle: FileHandle
        let file: ModelFile
    }

    /// What is done to the mount and to the model, in lockstep.
    private struct Run {
        let mount: Mount
        let seed: UInt64
        var random: SeededGenerator
        var names: [String: ModelFile] = [:]
        var open: [Open] = []
        var history: [String] = []
        static let allNames = ["a", "b", "c", "d/a", "d/b"]
        static let sizes = [0, 1, 10, 1000, 65_535, 65_536, 65_537, 150_000]

        init(
            seed: UInt64,
            _ behaviour: InMemoryRemote.Behaviour,
            timeToLive: Duration,
            listingBudget: Int
        ) throws {
            self.seed = seed
            self.random = SeededGenerator(seed: seed)
            self.mount = try Mount(behaviour, timeToLive: timeToLive, listingBudget: listingBudget)
            self.mount.remote.makeDirectory("d")
        }

        mutating func pick(_ count: Int) -> Int { Int.random(in: 0..<count, using: &self.random) }
        mutating func name() -> String { Self.allNames[self.pick(Self.allNames.count)] }

        mutating func note(_ text: String) { self.history.append(text) }

        func fail(_ text: String) {
            Issue.record("seed \(self.seed): \(text)\n\(self.history.suffix(40).joined(separator: "\n"))")
        }

        mutating func bytes() -> [UInt8] {
            pattern(Self.sizes[self.pick(Self.sizes.count)] / (1 + self.pick(3)), from: self.pick(251))
        }
    }

    @Test(
        "A few thousand operations on a handful of files",
        arguments: [(.strict, 10), (.strict, 0), (.deployed, 10)] as [(InMemoryRemote.Behaviour, Int)],
        [32 << 20, 1]
    )
    func operations(options: (InMemoryRemote.Behaviour, Int), listingBudget: Int) async throws {
        let (behaviour, secondsToLive) = options
        let seed = UInt64.random(in: 0 ... .max)
        var run = try Run(
            seed: seed,
            behaviour,
            timeToLive: .seconds(secondsToLive),
            listingBudget: listingBudget
        )
        for _ in 0..<1500 {
            guard try await self.step(&run) else { return }
        }
        while !run.open.isEmpty { guard try await self.close(&run) else { return } }
        #expect(await run.mount.fileSystem.drain().isEmpty)
        for name in Run.allNames where run.mount.remote.bytes(of: name) != run.names[name]?.bytes {
            run.fail("the service has other bytes of \(name)")
        }
    }

    /// - Returns: Whether the mount and the model still agree.
    private func step(_ run: inout Run) async throws -> Bool {
        do throws(FileSystemError) {
            switch run.pick(20) {
            case 0...2: return try await self.openFile(&run)
            case 3...5 where !run.open.isEmpty: return try await self.close(&run)
            case 6...9 where !run.open.isEmpty: return try await self.write(&run)
            case 10...12 where !run.open.isEmpty: return try await self.read(&run)
            case 13 where !run.open.isEmpty: return try await self.truncate(&run)
            case 14: return try await self.rename(&run)
            case 15: return try await self.unlink(&run)
            case 16...17: return try await self.look(&run)
            case 18 where !run.open.isEmpty:
                let index = run.pick(run.open.count)
                guard !self.isEmptyOnDeployed(run.open[index].file, run) else { return true }
                run.note("fsync \(index)")
                try await run.mount.fileSystem.fsync(run.open[index].handle)
            case 19:
                run.note("time passes")
                run.mount.expire()
            default: break
            }
            if run.pick(4) == 0 {
                run.note("the kernel forgets")
                run.mount.forgetAll()
            }
            return true
        } catch {
            run.fail("\(error)")
            return false
        }
    }

    private func openFile(_ run: inout Run) async throws(FileSystemError) -> Bool {
        guard run.open.count < 6 else { return true }
        let name = run.name()
        if let file = run.names[name], run.pick(3) > 0 {
            run.note("open \(name) as \(run.open.count)")
            run.open.append(Open(handle: try await run.mount.open(name, writes: true), file: file))
            return true
        }
        run.note("create \(name) as \(run.open.count)")
        let handle = try await run.mount.create(name)
        let file = run.names[name] ?? ModelFile()
        file.bytes = []
        run.names[name] = file
        run.open.append(Open(handle: handle, file: file))
        return true
    }

    private func close(_ run: inout Run) async throws(FileSystemError) -> Bool {
        let index = run.pick(run.open.count)
        run.note("close \(index)")
        let open = run.open.remove(at: index)
        if self.isEmptyOnDeployed(open.file, run) {
            try await run.mount.write(open.handle, [1])
            open.file.bytes = [1]
        }
        try await run.mount.close(open.handle)
        return true
    }

    private func write(_ run: inout Run) async throws(FileSystemError) -> Bool {
        let open = run.open[run.pick(run.open.count)]
        let bytes = run.bytes()
        guard !bytes.isEmpty else { return true }
        let end = open.file.bytes.count
        let offset = run.pick(4) == 0 ? end : run.pick(min(end + 1000, 200_000))
        run.note("write \(bytes.count) at \(offset)")
        try await run.mount.write(open.handle, bytes, at: offset)
        if offset > end { open.file.bytes += [UInt8](repeating: 0, count: offset - end) }
        let overlap = min(bytes.count, open.file.bytes.count - offset)
        open.file.bytes.replaceSubrange(offset..<offset + overlap, with: bytes)
        return true
    }

    private func read(_ run: inout Run) async throws(FileSystemError) -> Bool {
        let index = run.pick(run.open.count)
        let open = run.open[index]
        let start = run.pick(open.file.bytes.count + 10)
        let range = start..<start + Run.sizes[run.pick(Run.sizes.count)] + 1
        run.note("read \(range) of \(index)")
        let bytes = try await run.mount.read(open.handle, range)
        guard bytes == Array(open.file.bytes[range.clamped(to: 0..<open.file.bytes.count)]) else {
            run.fail("other bytes are read: \(bytes.count)")
            return false
        }
        return true
    }

    private func truncate(_ run: inout Run) async throws(FileSystemError) -> Bool {
        let open = run.open[run.pick(run.open.count)]
        let size = 1 + run.pick(200_000)
        run.note("truncate to \(size)")
        try await run.mount.fileSystem.truncate(
            open.handle.content.inode,
            to: UInt64(size),
            through: open.handle
        )
        let count = open.file.bytes.count
        if size < count {
            open.file.bytes.removeLast(count - size)
        } else {
            open.file.bytes += [UInt8](repeating: 0, count: size - count)
        }
        return true
    }

    private func rename(_ run: inout Run) async throws(FileSystemError) -> Bool {
        let (old, new) = (run.name(), run.name())
        guard let file = run.names[old], old != new, !self.isEmptyOnDeployed(file, run) else { return true }
        run.note("rename \(old) to \(new)")
        try await run.mount.rename(old, new)
        run.names[old] = nil
        run.names[new] = file
        return true
    }

    /// wire-protocol.md, Upload 1: the deployed service takes no empty file.
    private func isEmptyOnDeployed(_ file: ModelFile, _ run: Run) -> Bool {
        run.mount.remote.behaviour == .deployed && file.bytes.isEmpty
    }

    private func unlink(_ run: inout Run) async throws(FileSystemError) -> Bool {
        let name = run.name()
        guard run.names[name] != nil else { return true }
        run.note("unlink \(name)")
        try await run.mount.unlink(name)
        run.names[name] = nil
        return true
    }

    private func look(_ run: inout Run) async throws(FileSystemError) -> Bool {
        let name = run.name()
        run.note("look at \(name)")
        let isThere = try await run.mount.exists(name)
        guard isThere == (run.names[name] != nil) else {
            run.fail("\(name) is \(isThere ? "" : "not ")there")
            return false
        }
        guard let file = run.names[name] else { return true }
        let size = try await run.mount.size(name)
        guard size == file.bytes.count else {
            run.fail("\(name) has the size \(size), not \(file.bytes.count)")
            return false
        }
        guard run.pick(2) == 0 else { return true }
        guard try await run.mount.get(name) == file.bytes else {
            run.fail("\(name) has other bytes")
            return false
        }
        return true
    }
}
