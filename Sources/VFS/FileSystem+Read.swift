import BlockCaching
import Inodes
import Primitives
import RemoteAPI
import SystemPackage

/// What a read comes to.
public enum ReadOutcome: Sendable {
    /// The bytes, in order; fewer than asked for only at the file's end.
    case ready([ByteSlice])
    /// They are being fetched; the completion is called once. The closure gives the read up.
    case pending(cancel: @Sendable () -> Void)
}

extension FileSystem {
    /// Reads bytes of a file.
    ///
    /// - Parameters:
    ///   - handle: The handle.
    ///   - range: Offsets in bytes, end exclusive.
    ///   - completion: Called once if the outcome is `.pending`, on any thread.
    public func read(
        _ handle: FileHandle,
        _ range: Range<UInt64>,
        completion: @escaping @Sendable (Result<[ByteSlice], FileSystemError>) -> Void
    ) throws(FileSystemError) -> ReadOutcome {
        let content = handle.content
        let known = self.namespace.knownVersion(of: content.inode)
        if let (staged, base) = content.currentStaged(known: known) {
            if staged.pieces(of: range).allSatisfy(\.isHere) {
                let buffer = ByteBuffer(count: range.count)
                do throws(Errno) {
                    let count = try staged.read(into: buffer.uninitialized, at: range.lowerBound)
                    return .ready([ByteSlice(buffer, 0..<count)])
                } catch {
                    throw .local(error)
                }
            }
            let source = Uploader.Source(staged: staged, base: base, size: staged.size) {
                self.namespace.path(of: content.inode)
            }
            let task = Task { completion(await self.readMixed(source, range)) }
            return .pending { task.cancel() }
        }
        guard let known else { throw .stale }
        let source = self.blockSource(content, known)
        let outcome = self.cache.read(source, range) { result in
            switch result {
            case .success(let slices): completion(.success(slices))
            case .failure(let error): self.readAgain(content, range, after: error, completion)
            }
        }
        if let ahead = handle.readAhead.withLock({ $0.advance(range, size: known.size) }) {
            self.cache.readAhead(source, ahead)
        }
        switch outcome {
        case .ready(let slices): return .ready(slices)
        case .pending(let read): return .pending { read.cancel() }
        }
    }

    private func blockSource(_ content: FileContent, _ version: FileVersion) -> BlockSource {
        BlockSource(content: version.content, size: version.size) { self.namespace.path(of: content.inode) }
    }

    private func readMixed(
        _ source: Uploader.Source,
        _ range: Range<UInt64>
    ) async -> Result<[ByteSlice], FileSystemError> {
        do throws(FileSystemError) {
            return .success(try await self.uploader.slices(of: range, source))
        } catch {
            return .failure(error)
        }
    }

    /// The file was not what we took it for: asks for its size anew and reads the version that is there now.
    private func readAgain(
        _ content: FileContent,
        _ range: Range<UInt64>,
        after error: BlockError,
        _ completion: @escaping @Sendable (Result<[ByteSlice], FileSystemError>) -> Void
    ) {
        switch error {
        case .changedOnServer, .remote(.notFound):
            Task {
                do throws(FileSystemError) {
                    self.namespace.expireVersion(of: content.inode)
                    let version: FileVersion
                    do throws(RemoteError) {
                        version = try await self.namespace.version(of: content.inode)
                    } catch {
                        throw error == .notFound ? .stale : FileSystemError(error)
                    }
                    do throws(BlockError) {
                        completion(
                            .success(try await self.cache.read(self.blockSource(content, version), range))
                        )
                    } catch {
                        throw FileSystemError(error)
                    }
                } catch {
                    completion(.failure(error))
                }
            }
        case .remote, .gone, .cancelled:
            completion(.failure(FileSystemError(error)))
        }
    }
}
