import RemoteAPI
import TestKit
import Testing

@testable import VFS

@Suite("Random operations over a service that fails lose nothing", .timeLimit(.minutes(5)))
struct FaultModelTests {
    /// What the mount should hold.
    private struct Model: Equatable {
        var files: [String: [UInt8]] = [:]
        var directories: Set<String> = []
    }

    private struct Run {
        let mount: Mount
        let seed: UInt64
        var random: SeededGenerator
        var model = Model()
        var history: [String] = []
        var isFaulty = false

        static let names = ["a", "b", "d/a", "d/b", "e/a", "e/b", "d/s/a"]
        static let directories = ["d", "e", "d/s", "e/s"]
        static let errors: [RemoteError] = [.unavailable("500"), .timedOut]

        init(seed: UInt64, listingBudget: Int) throws {
            self.seed = seed
            self.random = SeededGenerator(seed: seed)
            self.mount = try Mount(listingBudget: listingBudget)
        }

        mutating func pick<Item>(_ items: [Item]) -> Item {
            items[Int.random(in: 0..<items.count, using: &self.random)]
        }
        mutating func chance(_ count: Int) -> Bool { Int.random(in: 0..<count, using: &self.random) == 0 }

        /// A name whose directory is there.
        mutating func name() -> String? {
            let name = self.pick(Self.names)
            let parent = path(name).parent.description
            return parent.isEmpty || self.model.directories.contains(parent) ? name : nil
        }

        /// Lets one of the next calls fail, or its answer be lost.
        mutating func injectFault() {
            self.isFaulty = self.chance(2)
            guard self.isFaulty else { return }
            let kind = self.pick(CallKind.allCases)
            let (error, skipping) = (self.pick(Self.errors), self.pick([0, 0, 1, 2]))
            let acts = [.completeUpload, .delete, .makeDirectory].contains(kind) && self.chance(2)
            self.history.append("  \(acts ? "lose the answer of" : "fail") \(kind) after \(skipping)")
            if acts {
                self.mount.faulty.loseAnswer(kind, with: error, skipping: skipping)
            } else {
                self.mount.faulty.fail(kind, with: error, skipping: skipping)
            }
        }

        func fail(_ text: String) {
            Issue.record("seed \(self.seed): \(text)\n\(self.history.suffix(30).joined(separator: "\n"))")
        }
    }

    @Test("Whatever fails, every file keeps its bytes under its old name or its new one", arguments: 0..<10)
    func operations(run number: Int) async throws {
        // Half of the runs have no memory for names that are not in use.
        let listingBudget = number % 2 == 0 ? 32 << 20 : 1
        var run = try Run(seed: UInt64.random(in: 0 ... .max), listingBudget: listingBudget)
        for _ in 0..<120 {
            do {
                guard try await self.step(&run) else { return }
            } catch {
                return run.fail("what the mount holds cannot be seen: \(error)")
            }
        }
        let unsent = await run.mount.fileSystem.drain()
        guard unsent.isEmpty else { return run.fail("not uploaded at the end: \(unsent.map(\.place))") }
        run.mount.expire()
        guard try await self.tree(run) == run.model else {
            return run.fail("the mount holds something else at the end")
        }
        for (name, bytes) in run.model.files where run.mount.remote.bytes(of: name) != bytes {
            run.fail("the service has other bytes of \(name)")
        }
        let names = run.model.files.keys.map(\.self) + run.model.directories.map { $0 + "/" }
        if run.mount.remote.tree != names.sorted() { run.fail("the service has \(run.mount.remote.tree)") }
        if !run.mount.recovered.isEmpty { run.fail("kept for recovery: \(run.mount.recovered)") }
    }

    /// - Returns: Whether to go on.
    private func step(_ run: inout Run) async throws -> Bool {
        let before = run.model
        run.injectFault()
        var moved: (old: String, new: String)?
        var unlinked: String?
        do throws(FileSystemError) {
            switch Int.random(in: 0..<10, using: &run.random) {
            case 0...2: try await self.put(&run)
            case 3...4: try await self.patch(&run)
            case 5: try await self.read(&run)
            case 6...7:
                moved = self.move(&run)
                guard let moved else { break }
                run.history.append("rename \(moved.old) to \(moved.new)")
                try await run.mount.rename(moved.old, moved.new)
                run.model = self.renamed(run.model, moved.old, moved.new)
            case 8:
                guard let name = run.name(), run.model.files[name] != nil else { break }
                unlinked = name
                run.history.append("unlink \(name)")
                try await run.mount.unlink(name)
                run.model.files[name] = nil
            default: try await self.makeOrRemoveDirectory(&run)
            }
        } catch {
            run.history.append("  -> \(error)")
            guard run.isFaulty else {
                run.fail("failed without a fault")
                return false
            }
        }
        run.mount.faulty.heal()
        if run.chance(3) { run.mount.forgetAll() }
        if run.chance(3) || run.isFaulty { run.mount.expire() }
        let actual = try await self.tree(run)
        if actual == run.model { return true }
        guard run.isFaulty else {
            run.fail("the mount holds \(self.difference(actual, run.model))")
            return false
        }
        return self.accept(actual, &run, before, moved, unlinked)
    }

    /// After a fault: what a failed operation was about may be as before or as after, all else is as it was.
    private func accept(
        _ actual: Model,
        _ run: inout Run,
        _ before: Model,
        _ moved: (old: String, new: String)?,
        _ unlinked: String?
    ) -> Bool {
        for (name, bytes) in run.model.files where actual.files[name] != bytes {
            if name == unlinked, actual.files[name] == nil { continue }
            if let moved {
                let other = self.newName(name, moved.old, moved.new)
                // Its new name has it; or it was to be replaced, and was.
                if let other, actual.files[other] == bytes { continue }
                if name == moved.new, actual.files[name] == before.files[moved.old] { continue }
            }
            run.fail("\(name) is lost: the mount holds \(self.difference(actual, run.model))")
            return false
        }
        run.model = actual
        return true
    }

    private func put(_ run: inout Run) async throws(FileSystemError) {
        guard let name = run.name() else { return }
        let bytes = pattern(run.pick([0, 1, 100, 70_000]), from: run.pick([0, 7, 99]))
        run.history.append("put \(name) \(bytes.count)")
        let handle = try await run.mount.create(name)
        run.model.files[name] = []
        try await self.writeAndClose(&run, handle, name, bytes, at: 0)
    }

    private func patch(_ run: inout Run) async throws(FileSystemError) {
        guard let name = run.name(), let count = run.model.files[name]?.count else { return }
        let offset = run.pick([0, count, count / 2, count + 10])
        let bytes = pattern(run.pick([1, 50, 70_000]), from: run.pick([3, 11]))
        run.history.append("patch \(name) \(bytes.count) at \(offset)")
        let handle = try await run.mount.open(name, writes: true)
        try await self.writeAndClose(&run, handle, name, bytes, at: offset)
    }

    /// What was written is in the file, also if its close fails.
    private func writeAndClose(
        _ run: inout Run,
        _ handle: FileHandle,
        _ name: String,
        _ bytes: [UInt8],
        at offset: Int
    ) async throws(FileSystemError) {
        do throws(FileSystemError) {
            if !bytes.isEmpty { try await run.mount.write(handle, bytes, at: offset) }
        } catch {
            run.mount.fileSystem.release(handle)
            throw error
        }
        var content = run.model.files[name] ?? []
        let missing = offset + bytes.count - content.count
        if missing > 0 { content += [UInt8](repeating: 0, count: missing) }
        content.replaceSubrange(offset..<offset + bytes.count, with: bytes)
        run.model.files[name] = content
        try await run.mount.close(handle)
    }

    private func read(_ run: inout Run) async throws(FileSystemError) {
        guard let name = run.name(), let bytes = run.model.files[name] else { return }
        run.history.append("read \(name)")
        let read = try await run.mount.get(name)
        if read != bytes { run.fail("\(name) is read as \(read.count) bytes instead of \(bytes.count)") }
    }

    private func makeOrRemoveDirectory(_ run: inout Run) async throws(FileSystemError) {
        let directory = run.pick(Run.directories)
        let parent = path(directory).parent.description
        guard parent.isEmpty || run.model.directories.contains(parent) else { return }
        let isEmpty =
            !run.model.files.keys.contains { $0.hasPrefix(directory + "/") }
            && !run.model.directories.contains { $0.hasPrefix(directory + "/") }
        if !run.model.directories.contains(directory) {
            run.history.append("mkdir \(directory)")
            try await run.mount.mkdir(directory)
            run.model.directories.insert(directory)
        } else if isEmpty {
            run.history.append("rmdir \(directory)")
            try await run.mount.rmdir(directory)
            run.model.directories.remove(directory)
        }
    }

    /// A rename that can be done.
    private func move(_ run: inout Run) -> (old: String, new: String)? {
        if run.chance(2) {
            guard let old = run.name(), let new = run.name(), old != new, run.model.files[old] != nil else {
                return nil
            }
            return (old, new)
        }
        let (old, new) = (run.pick(Run.directories), run.pick(Run.directories))
        let parent = path(new).parent.description
        guard run.model.directories.contains(old), !run.model.directories.contains(new), !new.hasPrefix(old),
            parent.isEmpty || run.model.directories.contains(parent)
        else { return nil }
        return (old, new)
    }

    private func newName(_ name: String, _ old: String, _ new: String) -> String? {
        if name == old { return new }
        return name.hasPrefix(old + "/") ? new + name.dropFirst(old.count) : nil
    }

    private func renamed(_ model: Model, _ old: String, _ new: String) -> Model {
        var result = Model()
        for (name, bytes) in model.files where self.newName(name, old, new) == nil {
            result.files[name] = bytes
        }
        for (name, bytes) in model.files {
            if let name = self.newName(name, old, new) { result.files[name] = bytes }
        }
        result.directories = Set(model.directories.map { self.newName($0, old, new) ?? $0 })
        return result
    }

    /// All that the mount shows.
    private func tree(_ run: Run) async throws -> Model {
        var model = Model()
        var rest = [""]
        while let directory = rest.popLast() {
            for name in try await run.mount.list(directory) {
                let name = directory.isEmpty ? name : "\(directory)/\(name)"
                if try await run.mount.stat(name).kind == .directory {
                    model.directories.insert(name)
                    rest.append(name)
                } else {
                    model.files[name] = try await run.mount.get(name)
                }
            }
        }
        return model
    }

    private func difference(_ actual: Model, _ expected: Model) -> String {
        let names = Set(actual.files.keys).union(expected.files.keys).sorted()
        let files = names.filter { actual.files[$0] != expected.files[$0] }.map { name in
            let counts = [actual, expected].map { $0.files[name].map { "\($0.count)" } ?? "none" }
            return "\(name): \(counts[0]) instead of \(counts[1])"
        }
        let directories = actual.directories.symmetricDifference(expected.directories).sorted()
        return (files + directories.map { "\($0)/ too many or missing" }).joined(separator: ", ")
    }
}
