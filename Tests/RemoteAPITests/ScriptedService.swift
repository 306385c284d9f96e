import TestKit
import Testing
import Transport
import WireFormat

@testable import RemoteAPI

typealias Step = ScriptedTransport.Step

/// A client whose server is a script and whose time is nobody's.
struct ScriptedService {
    static let key = "sk-very-secret-0123456789"

    let transport: ScriptedTransport
    let clock = ManualClock()
    let log = CapturedLog()
    let client: RemoteClient
    let files: RemoteClientFilesystem

    /// Half of each wait's bound is waited, so that waits can be foretold.
    init(
        _ steps: [Step],
        retries: Int = 4,
        maximumInFlight: Int = 64,
        credentials: Credentials? = nil,
        onSend: @escaping @Sendable (ScriptedTransport.Sent) -> Void = { _ in }
    ) throws {
        self.transport = ScriptedTransport(steps, onSend: onSend)
        self.client = RemoteClient(
            endpoint: try #require(Endpoint("http://server:8080/v1/")),
            credentials: try credentials ?? Credentials(key: Self.key),
            transport: self.transport,
            retry: RetryPolicy(retries: retries, clock: self.clock.retryClock, random: { 0.5 }),
            maximumInFlight: maximumInFlight,
            logger: self.log.logger
        )
        self.files = self.client.filesystem(try #require(FilesystemID("f-1")))
    }

    /// What was sent, without the part that all URLs of the filesystem share.
    var lines: [String] {
        self.transport.lines.map { $0.replacing("http://server:8080/v1/filesystems/f-1/", with: "") }
    }

    /// Their Content-Range headers.
    var ranges: [String] {
        self.transport.sent.flatMap { $0.ownHeaders.filter { $0.hasPrefix("Content-Range: ") } }
            .map { String($0.dropFirst(15)) }
    }
}

extension Step {
    static func listing(directories: [String] = [], files: [String] = []) -> Step {
        let quoted = { (names: [String]) in names.map { "\"\($0)\"" }.joined(separator: ",") }
        return .text(200, "{\"directories\":[\(quoted(directories))],\"files\":[\(quoted(files))]}")
    }

    static func size(_ size: Int) -> Step { .text(200, "{\"size\":\(size),\"download_id\":\"d\"}") }
}

/// Runs a call and gives what it threw; nothing if it succeeded.
func failure<Value>(of call: () async throws(RemoteError) -> Value) async -> RemoteError? {
    do throws(RemoteError) {
        _ = try await call()
        return nil
    } catch {
        return error
    }
}

extension RemoteError {
    /// Whether it is of a kind that has a text, and the text holds a word.
    func isMalformedAnswer(_ word: String = "") -> Bool {
        if case .malformedAnswer(let text) = self { word.isEmpty || text.contains(word) } else { false }
    }

    var isUnavailable: Bool { if case .unavailable = self { true } else { false } }
}
