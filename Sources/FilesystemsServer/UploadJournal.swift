import Foundation
import Glibc
import WireFormat

/// What is known of an upload on the disk, beside its staged bytes, so that it outlives a restart of the server.
///
/// A text file `<upload id>.journal`. The first line is `tetherfs-upload 1 BOOT-ID SIZE PATH` (the path
/// percent-encoded), then one line a change: `+ START END` once those bytes are in the staged file, `- START END`
/// before they are overwritten. A last line without its end was cut off by a crash and does not count.
///
/// Nothing here is synchronised: when the server is killed the kernel still has it all. When the machine goes
/// down, bytes and lines may be lost in any combination; the boot id tells, and then no byte counts as received.
struct UploadJournal: Equatable, Sendable {
    /// The file's declared size in bytes.
    var size: UInt64
    /// Where the file goes.
    var path: RemotePath
    /// The bytes that are in the staged file.
    var received = ByteRanges()

    /// How the file beside the staged bytes is called.
    static func name(of upload: UploadID) -> String { upload.rawValue + Self.suffix }
    /// What every journal's name ends with; no upload id has a dot.
    static let suffix = ".journal"

    /// A change of the received bytes.
    enum Change {
        case received(Range<UInt64>)
        case overwriting(Range<UInt64>)

        var line: String {
            switch self {
            case .received(let range): "+ \(range.lowerBound) \(range.upperBound)\n"
            case .overwriting(let range): "- \(range.lowerBound) \(range.upperBound)\n"
            }
        }
    }

    /// The first line.
    func header(bootID: String) -> String {
        "tetherfs-upload 1 \(bootID) \(self.size) /\(self.path.percentEncoded)\n"
    }

    init(size: UInt64, path: RemotePath) {
        self.size = size
        self.path = path
    }

    /// Reads a journal; nothing if its first line is not whole or not of this version.
    init?(_ text: String, bootID: String) {
        // The last piece is what follows the last line end: empty, or cut off.
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
        guard let words = lines.first?.split(separator: " "), words.count == 5,
            words[0] == "tetherfs-upload", words[1] == "1", let size = UInt64(words[3]),
            let decoded = PercentEncoding.decode(words[4]),
            let path = RemotePath(String(decoding: decoded, as: UTF8.self))
        else { return nil }
        self.init(size: size, path: path)
        guard words[2] == bootID else { return }
        for line in lines.dropFirst() {
            let words = line.split(separator: " ")
            guard words.count == 3, let start = UInt64(words[1]), let end = UInt64(words[2]), start <= end
            else { return nil }
            switch words[0] {
            case "+": self.received.insert(start..<end)
            case "-": self.received.remove(start..<end)
            default: return nil
            }
        }
    }

    /// Tells one start of the machine from another (random(4), /proc/sys/kernel/random/boot_id).
    static func currentBootID() -> String {
        let contents = FileManager.default.contents(atPath: "/proc/sys/kernel/random/boot_id")
        let text = contents.map { String(decoding: $0, as: UTF8.self) } ?? ""
        // Without /proc no start is told from another: no byte is ever taken from before a restart.
        return text.split(separator: "\n").first.map(String.init) ?? RandomName.make()
    }
}
