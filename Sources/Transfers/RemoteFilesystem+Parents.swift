import RemoteAPI
import WireFormat

extension RemoteFilesystem {
    /// Makes a directory and those above it that are missing; that one is there already is no failure.
    ///
    /// - Throws: `.changedKind` if one of them is a file.
    public func makeDirectoryWithParents(_ directory: RemotePath) async throws(RemoteError) {
        do {
            try await self.makeDirectoryUnlessThere(directory)
        } catch .rejected(let status, let message) {
            // wire-protocol.md, Directories: 400 if the parent is missing, which may have other reasons too.
            guard !directory.parent.isRoot else { throw .rejected(status: status, message: message) }
            try await self.makeDirectoryWithParents(directory.parent)
            try await self.makeDirectoryUnlessThere(directory)
        }
    }

    private func makeDirectoryUnlessThere(_ directory: RemotePath) async throws(RemoteError) {
        do {
            try await self.makeDirectory(directory)
        } catch .alreadyExists {
            guard try await self.kind(of: directory) == .directory else { throw .changedKind }
        }
    }
}
