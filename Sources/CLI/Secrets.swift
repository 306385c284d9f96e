import Synchronization

/// What may stand in no log line: the last net under code that never logs a key in the first place.
final class Secrets: Sendable {
    /// Those of this process.
    static let shared = Secrets()
    /// What stands in a secret's place.
    static let mask = "[hidden]"

    private let texts = Mutex<[String]>([])

    /// Remembers a secret; short texts are not, as they would hide half of every line.
    func add(_ secret: String) {
        guard secret.utf8.count >= 8 else { return }
        self.texts.withLock { texts in
            if !texts.contains(secret) { texts.append(secret) }
        }
    }

    /// The text without any secret.
    func masked(_ text: String) -> String {
        self.texts.withLock { texts in
            texts.reduce(text) { $0.contains($1) ? $0.replacing($1, with: Self.mask) : $0 }
        }
    }

    /// Whether a value of that name is one.
    static func isSecret(key: String) -> Bool {
        switch key.lowercased().replacing("_", with: "-") {
        case "authorization", "api-key", "apikey", "key", "token", "password", "secret": true
        default: false
        }
    }
}
