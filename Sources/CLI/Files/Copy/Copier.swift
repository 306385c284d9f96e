import Primitives
import RemoteAPI
import Synchronization
import Transfers
import WireFormat

/// Copies files and trees, many files at once; what fails is told, and the others go on.
///
/// Memory is bounded whatever there is to copy: by the files under way, and by the directories that are open.
final class Copier: Sendable {
    /// What is asked for.
    struct Options: Sendable {
        /// Whether directories are copied.
        var isRecursive: Bool
        /// Whether what is there is taken for what it was copied from, by its size.
        var isResuming: Bool
        /// The permissions of a local file that replaces none.
        var newFileMode: UInt32
    }

    /// What is in a directory.
    struct Content: Sendable {
        var files: [CopyPair] = []
        var directories: [CopyPair] = []
    }

    private struct Trouble {
        /// How many files in a row failed as the server was silent.
        var silences = 0
        var stop: String?
    }

    /// Small files take as long as their requests, so that many go at once.
    private static let filesAtOnce = 32
    /// After so many files in a row the server is taken to be gone.
    private static let patience = 8

    let run: FileCommandRun
    let options: Options
    let progress = CopyProgress()
    let lanes = CopyLanes()
    private let trouble = Mutex(Trouble())
    /// Files that were begun, where the contents of several sources meet; nothing, for want of bounds, where they do not.
    private let begun: Mutex<Set<CopyPlace>?> = Mutex(nil)

    init(_ run: FileCommandRun, _ options: Options) {
        self.run = run
        self.options = options
    }

    /// Why no other file is to be begun; nothing as long as they are.
    var stopReason: String? { self.trouble.withLock(\.stop) }

    private var isStopped: Bool { Task.isCancelled || self.stopReason != nil }

    /// Copies these, and what is in them.
    func copy(_ pairs: [CopyPair]) async {
        if pairs.count > 1, pairs.contains(where: \.isContent) { self.begun.withLock { $0 = [] } }
        await withTaskGroup(of: Void.self) { group in
            var running = 0
            for pair in pairs where !self.isStopped {
                await self.files(of: pair) { file in
                    if running == Self.filesAtOnce {
                        await group.next()
                        running -= 1
                    }
                    running += 1
                    group.addTask { await self.copyFile(file) }
                }
            }
            self.progress.update { $0.isComplete = true }
        }
    }

    /// Goes through one source; makes the directories on the way.
    private func files(of pair: CopyPair, _ submit: (CopyPair) async -> Void) async {
        do throws(CopyFailure) {
            switch try await self.kind(of: pair.source) {
            case .file: await submit(pair)
            case .other(let kind): self.passOver(pair.source, kind)
            case nil: throw .service(.notFound)
            case .directory:
                guard self.options.isRecursive else {
                    throw .refused("it is a directory; -r copies it with all that is in it")
                }
                let tree = TreeWalk(pair) {
                    await self.open($0)
                } directories: {
                    $1.directories
                }
                while !self.isStopped, let step = await tree.next() {
                    guard case .enter(_, let content) = step else { continue }
                    for file in content.files where !self.isStopped { await submit(file) }
                }
            }
        } catch {
            self.fail(pair.source, error)
        }
    }

    /// What a place stands for; nothing if there is nothing.
    func kind(of place: CopyPlace) async throws(CopyFailure) -> LocalDisk.Kind? {
        switch place {
        case .local(let path):
            return try await LocalDisk.run { () throws(CopyFailure) in
                try LocalDisk.kind(of: path, followsLinks: true)
            }
        case .remote(let location):
            do throws(RemoteError) {
                switch try await self.run.remote(location).kind(of: location.path) {
                case .file: return .file
                case .directory: return .directory
                case nil: return nil
                }
            } catch {
                throw .service(error)
            }
        }
    }

    /// Finds out what is in a directory and makes the one that it is copied to.
    private func open(_ pair: CopyPair) async -> Content {
        do throws(CopyFailure) {
            let entries = try await self.list(pair.source)
            let names = try await self.makeDirectory(pair.target, pair.existing)
            var content = Content()
            for (name, kind) in entries {
                let child = pair.appending(name, existing: names[name])
                switch kind {
                case .file: content.files.append(child)
                case .directory: content.directories.append(child)
                case .other(let kind): self.passOver(child.source, kind)
                }
            }
            return content
        } catch {
            self.fail(pair.source, error)
            return Content()
        }
    }

    private func list(_ place: CopyPlace) async throws(CopyFailure) -> [(
        name: FileName, kind: LocalDisk.Kind
    )] {
        switch place {
        case .local(let path):
            let listing = try await LocalDisk.run { () throws(CopyFailure) in try LocalDisk.list(path) }
            for name in listing.unfitNames { self.fail("\(place.shown)/\(name)", "its name is not UTF-8") }
            return listing.entries
        case .remote(let location):
            do throws(RemoteError) {
                let listing = try await self.run.remote(location).list(location.path)
                if listing.refusedNameCount > 0 {
                    self.fail(
                        place.shown,
                        "\(listing.refusedNameCount) names that no Linux directory can hold"
                    )
                }
                return listing.entries.sorted { $0.name < $1.name }.map {
                    ($0.name, $0.kind == .file ? .file : .directory)
                }
            } catch {
                throw .service(error)
            }
        }
    }

    /// Makes a directory, unless it is there.
    ///
    /// - Returns: What is in it, if it is in a filesystem and was there.
    func makeDirectory(
        _ place: CopyPlace,
        _ existing: EntryKind?
    ) async throws(CopyFailure) -> [FileName: EntryKind] {
        guard case .remote(let location) = place else {
            guard case .local(let path) = place else { return [:] }
            // What was named may be a link; what is below it not, as what is copied stays below.
            if existing == .directory { return [:] }
            try await LocalDisk.run { () throws(CopyFailure) in try LocalDisk.makeDirectory(path) }
            return [:]
        }
        let remote = self.run.remote(location)
        do throws(RemoteError) {
            var existing = existing
            if existing == nil {
                do throws(RemoteError) {
                    try await remote.makeDirectory(location.path)
                    return [:]
                } catch .alreadyExists {
                    existing = try await remote.kind(of: location.path)
                }
            }
            guard existing == .directory else { throw .changedKind }
            let entries = try await remote.list(location.path).entries
            return Dictionary(entries.map { ($0.name, $0.kind) }) { first, _ in first }
        } catch {
            throw error == .changedKind
                ? .refused("\(place.shown) is there and no directory") : .service(error)
        }
    }

    private func copyFile(_ pair: CopyPair) async {
        self.progress.update { $0.files += 1 }
        do throws(CopyFailure) {
            guard self.begun.withLock({ $0?.insert(pair.target).inserted ?? true }) else {
                throw .refused("\(pair.target.shown) was copied there just now, from another source")
            }
            let isCopied = try await self.transfer(pair)
            self.progress.update { if isCopied { $0.copied += 1 } else { $0.skipped += 1 } }
            self.trouble.withLock { $0.silences = 0 }
        } catch {
            self.progress.update { $0.failed += 1 }
            self.fail(pair.source, error)
        }
    }

    private func passOver(_ place: CopyPlace, _ kind: String) {
        self.fail(place.shown, "it is \(kind), which no filesystem of the service has: not copied")
    }

    private func fail(_ place: String, _ reason: String) { self.run.fail(place, reason) }

    private func fail(_ place: CopyPlace, _ failure: CopyFailure) {
        // Whoever stopped it knows.
        if failure.isCancelled { return }
        self.trouble.withLock { trouble in
            trouble.silences = failure.isSilence ? trouble.silences + 1 : 0
            if failure.isForAll {
                trouble.stop = trouble.stop ?? "no other file could be copied either"
            } else if trouble.silences >= Self.patience {
                trouble.stop = trouble.stop ?? "the server does not answer"
            }
        }
        self.fail(place.shown, self.words(failure))
    }

    /// What a failure is called.
    func words(_ failure: CopyFailure) -> String {
        switch failure {
        case .service(let error): self.run.words(error)
        case .disk(let path, let error): "\(Printable.text(path, limit: 400)): \(error)"
        case .changed: "it was changed while it was copied; what was there before still is"
        case .refused(let words): words
        }
    }
}

/// What bounds how much is on its way, of all files together.
struct CopyLanes: Sendable {
    /// Parts to the service.
    let uploads = UploadLanes()
    /// Parts that come from the service and go back to it: they are in memory, 32 MiB at most.
    let crossings = UploadLanes(maximumCount: 4, partSize: PartPlan.minimumPartSize)
    /// Parts from the service: more connections bring no more bytes.
    let downloads = AsyncSemaphore(8)
    /// Files of several parts: few, so that one is whole before the next is begun.
    let large = AsyncSemaphore(4)
}
