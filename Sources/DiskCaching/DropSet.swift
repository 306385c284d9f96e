import WireFormat

/// The paths whose blocks are being taken off the disk, or that change on the service now: nothing of them is read
/// from the disk or stored. Each is counted as often as it was added.
struct DropSet {
    private var files: [RemotePath: Int] = [:]
    private var trees: [RemotePath: Int] = [:]

    mutating func add(_ path: RemotePath, isTree: Bool) {
        if isTree { self.trees[path, default: 0] += 1 } else { self.files[path, default: 0] += 1 }
    }

    mutating func remove(_ path: RemotePath, isTree: Bool) {
        if isTree { Self.remove(path, &self.trees) } else { Self.remove(path, &self.files) }
    }

    private static func remove(_ path: RemotePath, _ counts: inout [RemotePath: Int]) {
        guard let count = counts[path] else { return }
        counts[path] = count > 1 ? count - 1 : nil
    }

    func contains(_ path: RemotePath) -> Bool {
        if self.files.isEmpty && self.trees.isEmpty { return false }
        return self.files[path] != nil || self.trees.keys.contains { path.isWithin($0) }
    }
}

extension RemotePath {
    /// Whether this is a path or below it.
    func isWithin(_ tree: RemotePath) -> Bool { self.components.starts(with: tree.components) }
}
