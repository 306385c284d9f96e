import FoundationEssentials
import WireFormat

/// JSON as the API has it.
enum JSONBody {
    /// Reads an answer.
    static func decode<Body: Decodable>(_: Body.Type, _ bytes: [UInt8]) throws(RemoteError) -> Body {
        do {
            return try JSONDecoder().decode(Body.self, from: Data(bytes))
        } catch {
            throw .malformedAnswer("the server's answer is not the JSON that the API promises")
        }
    }

    /// Writes a request's body.
    static func encode(_ body: some Encodable) throws(RemoteError) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        do {
            return Array(try encoder.encode(body))
        } catch {
            throw .malformedAnswer("the request cannot be written as JSON")
        }
    }
}

extension RemoteListing {
    /// Reads the answer of `GET …/list`.
    ///
    /// - Parameter bytes: The answer's body.
    /// - Throws: `.malformedAnswer`.
    init(json bytes: [UInt8]) throws(RemoteError) {
        // A name and what JSON has around it is seldom shorter.
        let expectedCount = bytes.count / 16
        var directories: [FileName] = []
        var files: [FileName] = []
        files.reserveCapacity(expectedCount)
        var refused = 0
        func take(_ name: FileName?, _ kind: EntryKind) {
            guard let name else {
                refused += 1
                return
            }
            if kind == .directory { directories.append(name) } else { files.append(name) }
        }
        switch ListingScanner.scan(bytes, take) {
        case .understood: break
        case .repeated: throw .malformedAnswer("the server's listing has its files or its directories twice")
        case .unknown:
            (directories, files, refused) = ([], [], 0)
            let body = try Self.decoded(bytes)
            for name in body.directories { take(FileName(name), .directory) }
            for name in body.files { take(FileName(name), .file) }
        }
        self.init(entries: Self.unique(directories, files), refusedNameCount: refused)
    }

    /// The names of both kinds, each once.
    ///
    /// Directories first: of two that have one name, the directory is the one never to be deleted by mistake.
    private static func unique(_ directories: [FileName], _ files: [FileName]) -> [(FileName, EntryKind)] {
        var entries: [(name: FileName, kind: EntryKind)] = []
        entries.reserveCapacity(directories.count + files.count)
        for name in directories { entries.append((name, .directory)) }
        for name in files { entries.append((name, .file)) }
        // Where all hashes differ all names do, for a third of a set's memory.
        var hashes = entries.map(\.name.hashValue)
        hashes.sort()
        guard zip(hashes, hashes.dropFirst()).contains(where: ==) else { return entries }
        var seen = Set<FileName>()
        return entries.filter { seen.insert($0.name).inserted }
    }

    private static func decoded(_ bytes: [UInt8]) throws(RemoteError) -> ListingBody {
        do {
            return try JSONBody.decode(ListingBody.self, bytes)
        } catch {
            // One name that is no text must not hide all others.
            guard let mended = Self.mended(bytes) else { throw error }
            return try JSONBody.decode(ListingBody.self, mended)
        }
    }

    /// The JSON with a NUL, which no name has, in place of what is no character: half of a surrogate pair, which
    /// Python servers send for a name that is not UTF-8, and bytes that are not UTF-8.
    ///
    /// - Returns: Nothing if there is nothing of the kind.
    private static func mended(_ bytes: [UInt8]) -> [UInt8]? {
        let null = Array(#"\u0000"#.utf8)
        var mended: [UInt8] = []
        mended.reserveCapacity(bytes.count)
        var isChanged = false
        var parser = Unicode.UTF8.ForwardParser()
        var iterator = bytes.makeIterator()
        loop: while true {
            switch parser.parseScalar(from: &iterator) {
            case .valid(let scalar): mended.append(contentsOf: scalar)
            case .error:
                mended.append(contentsOf: null)
                isChanged = true
            case .emptyInput: break loop
            }
        }
        var index = 0
        while index + 1 < mended.count {
            guard mended[index] == UInt8(ascii: "\\") else {
                index += 1
                continue
            }
            switch Self.surrogate(mended, at: index) {
            case .high where Self.surrogate(mended, at: index + 6) == .low: index += 12
            case .high, .low:
                mended.replaceSubrange(index..<index + 6, with: null)
                isChanged = true
                index += 6
            case nil: index += 2
            }
        }
        return isChanged ? mended : nil
    }

    private enum Surrogate { case high, low }

    /// Which half of a pair the escape at an index stands for.
    private static func surrogate(_ bytes: [UInt8], at index: Int) -> Surrogate? {
        guard index + 6 <= bytes.count, bytes[index] == UInt8(ascii: "\\"),
            bytes[index + 1] == UInt8(ascii: "u"),
            let code = UInt16(String(decoding: bytes[index + 2..<index + 6], as: UTF8.self), radix: 16)
        else { return nil }
        if UTF16.isLeadSurrogate(code) { return .high }
        return UTF16.isTrailSurrogate(code) ? .low : nil
    }
}
