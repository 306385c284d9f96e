import Primitives
import Synchronization
import WireFormat

/// Remembers what programs set for as long as the process lives.
public final class VolatileAttributes: AttributeStore {
    private let remembered = Mutex<[RemotePath: RememberedAttributes]>([:])

    /// Remembers nothing yet.
    public init() {}

    /// See ``AttributeStore``.
    public var firstFreeInode: UInt64 {
        self.remembered.withLock { ($0.values.map(\.inode.rawValue).max() ?? 0) + 1 }
    }

    /// See ``AttributeStore``.
    public func attributes(in directory: RemotePath) async -> [FileName: RememberedAttributes] {
        self.remembered.withLock { remembered in
            var found: [FileName: RememberedAttributes] = [:]
            for (path, attributes) in remembered where path.parent == directory {
                if let name = path.name { found[name] = attributes }
            }
            return found
        }
    }

    /// See ``AttributeStore``.
    public func attributes(of path: RemotePath) async -> RememberedAttributes? {
        self.remembered.withLock { $0[path] }
    }

    /// See ``AttributeStore``.
    public func put(_ attributes: RememberedAttributes, of path: RemotePath) {
        self.remembered.withLock { $0[path] = attributes }
    }

    /// See ``AttributeStore``.
    public func remove(_ path: RemotePath) {
        self.remembered.withLock { Self.remove(path, &$0) }
    }

    /// See ``AttributeStore``.
    public func move(_ path: RemotePath, to newPath: RemotePath) {
        self.remembered.withLock { remembered in
            for (old, attributes) in remembered where old.components.starts(with: path.components) {
                remembered[old] = nil
                let rest = old.components.dropFirst(path.components.count)
                remembered[RemotePath(components: newPath.components + rest)] = attributes
            }
        }
    }

    private static func remove(_ path: RemotePath, _ remembered: inout [RemotePath: RememberedAttributes]) {
        remembered = remembered.filter { !$0.key.components.starts(with: path.components) }
    }
}
