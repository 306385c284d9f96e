import WireFormat

/// Reads a listing's JSON straight from its bytes: a decoder of any JSON keeps several copies of it, and takes much
/// longer, which counts with 100,000 names.
///
/// It understands what servers send; of anything else it says nothing, and the decoder has the last word.
struct ListingScanner {
    private let bytes: UnsafeBufferPointer<UInt8>
    private var position = 0
    /// The string last read.
    private var text: [UInt8] = []

    /// Goes through a listing's names, in the order of the answer.
    ///
    /// - Parameters:
    ///   - bytes: The answer's body.
    ///   - visit: Told each name, nothing instead of one that no directory can hold; what it was told counts only if
    ///     the scan succeeds.
    /// - Returns: How far it came.
    static func scan(_ bytes: [UInt8], _ visit: (FileName?, EntryKind) -> Void) -> Outcome {
        bytes.withUnsafeBufferPointer { buffer in
            var scanner = ListingScanner(buffer)
            return scanner.scanListing(visit)
        }
    }

    /// How far a scan came.
    enum Outcome {
        /// The whole body was understood.
        case understood
        /// It is for the decoder to say what it is.
        case unknown
        /// One kind of names comes twice, of which the decoder would take one in silence.
        case repeated
    }

    private init(_ bytes: UnsafeBufferPointer<UInt8>) {
        self.bytes = bytes
    }

    private mutating func scanListing(_ visit: (FileName?, EntryKind) -> Void) -> Outcome {
        var seen: [EntryKind] = []
        guard self.take("{") else { return .unknown }
        repeat {
            guard self.scanString(), let kind = Self.kind(named: self.text) else { return .unknown }
            guard !seen.contains(kind) else { return .repeated }
            seen.append(kind)
            guard self.take(":"), self.scanNames(kind, visit) else { return .unknown }
        } while self.take(",")
        guard self.take("}"), seen.count == 2 else { return .unknown }
        self.skipSpace()
        return self.position == self.bytes.count ? .understood : .unknown
    }

    /// What the listing has under a name. No dictionary: making the first of a type takes longer than a short listing.
    private static func kind(named name: [UInt8]) -> EntryKind? {
        if name.elementsEqual("directories".utf8) { return .directory }
        return name.elementsEqual("files".utf8) ? .file : nil
    }

    private mutating func scanNames(_ kind: EntryKind, _ visit: (FileName?, EntryKind) -> Void) -> Bool {
        guard self.take("[") else { return false }
        if self.take("]") { return true }
        repeat {
            guard self.scanString(), let name = String(validating: self.text, as: UTF8.self) else {
                return false
            }
            visit(FileName(name), kind)
        } while self.take(",")
        return self.take("]")
    }

    /// Reads a string into ``text``.
    ///
    /// - Returns: Whether there is one, without half a character in an escape.
    private mutating func scanString() -> Bool {
        guard self.take("\"") else { return false }
        self.text.removeAll(keepingCapacity: true)
        while self.position < self.bytes.count {
            let start = self.position
            while self.position < self.bytes.count, Self.isPlain(self.bytes[self.position]) {
                self.position += 1
            }
            self.text.append(contentsOf: self.bytes[start..<self.position])
            guard let special = self.next() else { return false }
            if special == UInt8(ascii: "\"") { return true }
            guard special == UInt8(ascii: "\\"), self.scanEscape() else { return false }
        }
        return false
    }

    /// Reads what follows a backslash.
    private mutating func scanEscape() -> Bool {
        guard let letter = self.next() else { return false }
        switch letter {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): self.text.append(letter)
        case UInt8(ascii: "b"): self.text.append(0x08)
        case UInt8(ascii: "f"): self.text.append(0x0c)
        case UInt8(ascii: "n"): self.text.append(0x0a)
        case UInt8(ascii: "r"): self.text.append(0x0d)
        case UInt8(ascii: "t"): self.text.append(0x09)
        case UInt8(ascii: "u"):
            guard var code = self.scanCodeUnit() else { return false }
            if UTF16.isLeadSurrogate(UInt16(code)) {
                guard self.next() == UInt8(ascii: "\\"), self.next() == UInt8(ascii: "u"),
                    let low = self.scanCodeUnit(), UTF16.isTrailSurrogate(UInt16(low))
                else { return false }
                code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
            }
            guard let scalar = Unicode.Scalar(code) else { return false }
            self.text.append(contentsOf: UTF8.encode(scalar) ?? .init())
        default: return false
        }
        return true
    }

    /// Reads four hexadecimal digits.
    private mutating func scanCodeUnit() -> UInt32? {
        var code: UInt32 = 0
        for _ in 0..<4 {
            guard let digit = self.next().flatMap({ Character(Unicode.Scalar($0)).hexDigitValue }) else {
                return nil
            }
            code = code << 4 | UInt32(digit)
        }
        return code
    }

    private static func isPlain(_ byte: UInt8) -> Bool {
        byte >= 0x20 && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\")
    }

    private mutating func next() -> UInt8? {
        guard self.position < self.bytes.count else { return nil }
        defer { self.position += 1 }
        return self.bytes[self.position]
    }

    /// Takes a character if it is the next but for white space.
    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        self.skipSpace()
        guard self.position < self.bytes.count, self.bytes[self.position] == UInt8(ascii: character) else {
            return false
        }
        self.position += 1
        return true
    }

    private mutating func skipSpace() {
        while self.position < self.bytes.count, [0x20, 0x09, 0x0a, 0x0d].contains(self.bytes[self.position]) {
            self.position += 1
        }
    }
}
