import WireFormat

extension Journal {
    /// A rename on the service, which has to be done in steps.
    public struct Move: Sendable, Hashable {
        /// What is renamed.
        public enum Kind: String, Sendable {
            /// A file.
            case file
            /// A directory with all below it.
            case directory
        }

        /// How far it is.
        public enum Stage: String, Sendable {
            /// The new name is not whole on the service; the old one is.
            case copying
            /// The new name is whole on the service; the old one is being deleted.
            case deleting
        }

        /// Its number.
        public var id: Int64
        /// The old path.
        public var source: RemotePath
        /// The new path.
        public var target: RemotePath
        /// What is renamed.
        public var kind: Kind
        /// How far it is.
        public var stage: Stage
        /// What was made or copied under the new path: each path there with its size in bytes, nothing for a directory.
        public var copied: [RemotePath: UInt64?]

        /// Where the rename of a directory takes what is below its old path; nothing for what is not.
        public func destination(of path: RemotePath) -> RemotePath? {
            let (old, names) = (self.source.components, path.components)
            guard names.count > old.count, names.starts(with: old) else { return nil }
            return RemotePath(components: self.target.components + names[old.count...])
        }
    }
}
