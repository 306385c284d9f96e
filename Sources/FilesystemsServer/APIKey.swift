import Crypto
import Foundation

/// What a user proves itself with. Never printed but once, when it is made.
struct APIKey: Sendable {
    /// The key as it goes into the `Authorization` header.
    let text: String

    /// What every key of ours starts with, so that a leaked one is recognised by people and scanners.
    static let prefix = "tetherfs_"

    /// Makes a key of 256 random bits.
    init() {
        var generator = SystemRandomNumberGenerator()
        let bytes = (0..<32).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
        let encoded = Data(bytes).base64EncodedString()
            .replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
        self.text = Self.prefix + encoded
    }

    /// Takes a key that was made elsewhere; nothing if it is not 16 to 512 visible ASCII characters.
    ///
    /// Fewer than 16 could be guessed, and the hash does not slow a guesser down.
    init?(_ text: String) {
        guard (16...512).contains(text.utf8.count), text.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        else { return nil }
        self.text = text
    }

    /// Reads an `Authorization` header: the bare key, or `Bearer` (in any case) and the key.
    init?(authorization header: String) {
        let words = header.split(separator: " ", omittingEmptySubsequences: true)
        switch words.count {
        case 1: self.init(String(words[0]))
        case 2 where words[0].lowercased() == "bearer": self.init(String(words[1]))
        default: return nil
        }
    }

    /// What is stored of the key.
    ///
    /// One SHA-256 and no slow password hash: a key is 256 random bits, not a password that a list of
    /// words would find, and every request is checked.
    var hash: KeyHash { KeyHash(bytes: Array(SHA256.hash(data: Data(self.text.utf8)))) }
}

/// The SHA-256 of a key.
struct KeyHash: Hashable, Sendable {
    /// 32 bytes.
    let bytes: [UInt8]

    /// Compares in a time that does not depend on where the two differ.
    func matches(_ other: KeyHash) -> Bool {
        guard self.bytes.count == other.bytes.count else { return false }
        return zip(self.bytes, other.bytes).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }
}
