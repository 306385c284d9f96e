import FoundationEssentials
import Staging

/// How a file that can be recovered is shown.
struct RecoverableLine: Encodable {
    private let number: UInt64
    private let filesystem: String
    private let path: String
    private let size: UInt64
    private let bytesHere: UInt64?
    private let baseSize: UInt64?
    private let isWhole: Bool
    private let changed: String
    private let state: String
    private let reason: String?

    /// Takes a file.
    init(_ file: RecoverableFile) {
        self.number = file.number
        self.filesystem = file.filesystem.rawValue
        self.path = file.path
        self.size = file.content.size
        self.bytesHere = file.isKnown ? file.localByteCount : nil
        self.baseSize = file.baseSize
        self.isWhole = file.isWhole
        self.changed = Date(timeIntervalSince1970: TimeInterval(file.time)).formatted(.iso8601)
        self.reason = file.reason
        switch file.standing {
        case .kept: self.state = "kept"
        case .open: self.state = "being written through the mount"
        case .pending where file.isMounted: self.state = "will be uploaded by the mount"
        case .pending: self.state = "will be uploaded at the next mount"
        }
    }

    /// Its number and path, how much of it there is, and what becomes of it.
    ///
    /// - Parameter isAmbiguous: Whether the number alone does not name it: then what else it takes stands beside it.
    /// - Returns: Three lines.
    func text(isAmbiguous: Bool) -> [String] {
        let reason = self.reason.map { ": \(Printable.text($0))" } ?? ""
        let choice = isAmbiguous ? " --filesystem \(self.filesystem)" : ""
        return [
            "\(self.number)\(choice)  \(Printable.text(self.path, limit: 4096))",
            "    \(self.parts), changed \(self.changed)",
            "    \(self.state)\(reason)",
        ]
    }

    private var parts: String {
        guard let bytesHere else { return "\(self.size) bytes, maybe with holes" }
        return self.isWhole ? "\(self.size) bytes" : "only \(bytesHere) of \(self.size) bytes are here"
    }

    /// Why it was not restored, and what to do.
    func explanation(of error: RecoverableFile.RestoreError) -> String {
        let shown = Printable.text(self.path)
        let base = self.baseSize.map { " of \($0) bytes" } ?? ""
        switch error {
        case .isPartial:
            return
                "\(shown): \(self.parts); give --base with a copy\(base) of the server's file, or --partial for zeros"
        case .isUnknown:
            return
                "\(shown): the journal does not say whether all of it is here; give --partial to take what there is"
        case .otherBase(let size, let expected):
            return "\(shown) is based on a file of \(expected) bytes; the one given with --base has \(size)"
        case .failed(let path, .fileExists):
            return "\(Printable.text(path.string)) is there already: give another name"
        case .failed(let path, let cause):
            return "\(Printable.text(path.string)): \(cause)"
        }
    }
}
