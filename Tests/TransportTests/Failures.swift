import Testing

@testable import Transport

extension HTTPRequest {
    static func get(_ url: String) -> HTTPRequest {
        HTTPRequest(method: .get, url: url, deadline: .seconds(30), stallLimit: .seconds(30))
    }
}

/// Expects a failure of a kind.
func expectFailure<Value>(
    _ kind: FailureKind,
    _ body: () async throws(TransportError) -> Value,
    sourceLocation: SourceLocation = #_sourceLocation
) async {
    do throws(TransportError) {
        _ = try await body()
        Issue.record("nothing was thrown", sourceLocation: sourceLocation)
    } catch {
        #expect(kind.matches(error), "\(error)", sourceLocation: sourceLocation)
    }
}

/// Kinds of failure, whatever their text, which must be one line.
struct FailureKind: Sendable {
    let matches: @Sendable (TransportError) -> Bool
}

extension FailureKind {
    static let isInterrupted = FailureKind {
        if case .interrupted(let text) = $0 { text.isLine } else { false }
    }
    static let isNotConnected = FailureKind {
        if case .notConnected(let text) = $0 { text.isLine } else { false }
    }
    static let isInsecure = FailureKind { if case .insecure(let text) = $0 { text.isLine } else { false } }
    static let isInvalidRequest = FailureKind {
        if case .invalidRequest(let text) = $0 { text.isLine } else { false }
    }
}

extension String {
    var isLine: Bool { !self.isEmpty && !self.contains(where: \.isNewline) }
}
