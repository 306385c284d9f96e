import Transport
import WireFormat

// wire-protocol.md, Upload 1: the deployed service answers 500 to size 0, however often it is asked. What that call leaves
// is a staging name, which the listing shows (Directories) and which can be completed as any upload.

extension RemoteClientFilesystem {
    /// Starts the upload of an empty file.
    ///
    /// - Throws: `.rejected` with the status 500 where the server does not take an empty file in any way.
    func beginEmpty(_ file: RemotePath, _ call: RemoteCall) async throws(RemoteError) -> UploadID {
        var attempt = 0
        // One that only stumbled takes it the second time.
        var isRefusedForGood = self.client.takesEmptyFiles == false
        // What a refused call leaves is known by what was there before: nobody would ever complete it else.
        var names = self.client.takesEmptyFiles == true ? nil : try await self.stagingNames(of: file)
        while true {
            attempt += 1
            let failure: CallFailure
            switch try await self.client.attempt(call) {
            case .success(let response):
                self.client.noteEmptyFile(isTaken: true)
                return try self.upload(response)
            case .failure(let met): failure = met
            }
            if failure.status == 500 {
                self.client.noteEmptyFile(isTaken: false)
                let now = try await self.stagingNames(of: file)
                // Only what was not there before this very call is sure to be ours.
                if let names, let upload = try await self.left(now.subtracting(names), of: file) {
                    return upload
                }
                if isRefusedForGood { throw Self.emptyFileRefusal }
                isRefusedForGood = true
                names = now
                continue
            }
            guard failure.isTransient, attempt <= max(1, self.client.retry.retries) else {
                throw self.client.givingUp(call, failure, attempt)
            }
            try await self.client.pause(call, failure, attempt)
            // Between then and now others may have begun something.
            if names != nil { names = try await self.stagingNames(of: file) }
        }
    }

    /// What an empty file ends with where there is no way; also if what was left cannot be completed by its name.
    static let emptyFileRefusal = RemoteError.rejected(
        status: 500,
        message: "this server refuses to take an empty file"
    )

    /// The upload that a refused call left: the one name that is new, if it is an empty file.
    private func left(_ names: Set<FileName>, of file: RemotePath) async throws(RemoteError) -> UploadID? {
        guard let name = names.first, names.count == 1, let suffix = name.string.split(separator: ".").last,
            try await self.size(of: file.parent.appending(name)) == 0
        else { return nil }
        return UploadID(String(suffix))
    }

    /// The names in a file's directory that uploads of it may have: `<name>.<20 letters and digits>`.
    private func stagingNames(of file: RemotePath) async throws(RemoteError) -> Set<FileName> {
        guard let name = file.name else { return [] }
        let start = Array((name.string + ".").utf8)
        let names = try await self.list(file.parent).entries.map(\.name)
        return Set(
            names.filter { other in
                let bytes = other.string.utf8
                let suffix = bytes.dropFirst(start.count)
                return bytes.starts(with: start) && suffix.count == 20
                    && suffix.allSatisfy(Self.isLetterOrDigit)
            }
        )
    }

    private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "a")...UInt8(ascii: "z"):
            true
        default: false
        }
    }
}
