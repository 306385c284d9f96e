import Synchronization
import TestKit
import Testing
import Transport

@testable import RemoteAPI

/// A body that is ready when a call to the service has been answered.
private final class DependentReader: BodyReader {
    private let isHere = Mutex(false)
    private let ask: @Sendable () async -> Void

    init(_ ask: @escaping @Sendable () async -> Void) { self.ask = ask }

    var count: UInt64 { 3 }

    func isReady(at offset: UInt64, _ resume: @escaping @Sendable () -> Void) -> Bool {
        if self.isHere.withLock({ $0 }) { return true }
        Task {
            await self.ask()
            self.isHere.withLock { $0 = true }
            resume()
        }
        return false
    }

    func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Int? {
        let part = [1, 2, 3].dropFirst(Int(offset)).prefix(buffer.count)
        buffer.copyBytes(from: part.map { UInt8($0) })
        return part.isEmpty ? nil : part.count
    }
}

@Suite("Parts that wait for what they send", .timeLimit(.minutes(5)))
struct PausedPartTests {
    @Test("A part whose bytes come from the service leaves its place to the requests for them")
    func place() async throws {
        let service = try ScriptedService([.size(3), .text(200)], maximumInFlight: 1)
        let files = service.files
        let body = DependentReader { _ = try? await files.size(of: path("a")) }
        try await files.putPart(path("a"), uploadID("U"), at: 0, body: body)
        #expect(service.transport.sent.map(\.body) == ["", "\u{1}\u{2}\u{3}"])
        #expect(service.client.counters.inFlight == 0)
    }
}
