import Logging
import TestKit
import Testing
import Transport

@testable import RemoteAPI

@Suite("What is known of how the service answers")
struct ServiceHealthTests {
    @Test("An answer ends a silence, and both are told once, the silence after three lost answers")
    func silence() {
        var health = ServiceHealth()
        let lost = CallFailure(.timedOut)
        #expect(health.note(lost, of: "list", latency: nil, at: 100) == nil)
        #expect(health.note(lost, of: "list", latency: nil, at: 101) == nil)
        // One lost answer or two happen on any network.
        #expect(health.silentSince == nil)
        #expect(health.note(lost, of: "list", latency: nil, at: 102) == .fallenSilent)
        #expect(health.silentSince == 100)
        #expect(health.note(lost, of: "size", latency: nil, at: 103) == nil)
        #expect(
            health.lastFailure == .init(call: "size", reason: RemoteError.timedOut.description, time: 103)
        )
        #expect(
            health.note(nil, of: "list", latency: .milliseconds(3), at: 110)
                == .answersAgain(afterSeconds: 10)
        )
        #expect(health.silentSince == nil && health.lastAnswer == 110 && health.failureCount == 4)
        #expect(health.note(nil, of: "list", latency: nil, at: 111) == nil)
    }

    @Test("A gateway without its service counts as silence, an error of the service does not")
    func gateway() {
        var health = ServiceHealth()
        let absent = CallFailure(HTTPResponse(status: 503), hiding: "")
        for time in 1...3 as ClosedRange<Int64> {
            _ = health.note(absent, of: "list", latency: nil, at: time)
        }
        #expect(health.silentSince == 1)
        _ = health.note(CallFailure(HTTPResponse(status: 500), hiding: ""), of: "list", latency: nil, at: 4)
        #expect(health.silentSince == nil && health.lastAnswer == 4 && health.failureCount == 4)
    }

    @Test("That something is not there is an answer, and no trouble")
    func notFound() {
        var health = ServiceHealth()
        _ = health.note(CallFailure(HTTPResponse(status: 404), hiding: ""), of: "size", latency: nil, at: 1)
        #expect(health.failureCount == 0 && health.lastFailure == nil && health.lastAnswer == 1)
    }

    @Test("A key that is refused shows until one is accepted")
    func key() {
        var health = ServiceHealth()
        _ = health.note(CallFailure(HTTPResponse(status: 401), hiding: ""), of: "list", latency: nil, at: 1)
        #expect(health.isKeyRefused)
        _ = health.note(nil, of: "list", latency: nil, at: 2)
        #expect(!health.isKeyRefused)
    }

    @Test("The median is that of the last answers, the classes count all")
    func latency() {
        var latency = RequestLatency()
        #expect(latency.recentSeconds(0.5) == nil)
        for _ in 0..<100 { latency.add(.seconds(2)) }
        for _ in 0..<40 { latency.add(.milliseconds(1)) }
        #expect(latency.recentSeconds(0.5) == 0.001)
        #expect(latency.recentSeconds(0.95) == 2)
        #expect(latency.count == 140 && latency.counts.reduce(0, +) == 140)
        #expect(latency.counts[0] == 40 && abs(latency.sum - 200.04) < 0.001)
        latency.add(.seconds(100))
        #expect(latency.count == 141 && latency.counts.reduce(0, +) == 140)
    }

    @Test("A client counts what its requests came to")
    func client() async throws {
        let steps: [ScriptedTransport.Step] = [
            .fail(.notConnected("refused")), .text(200, #"{"directories":[],"files":[]}"#),
        ]
        let service = try ScriptedService(steps, retries: 1)
        _ = try await service.files.list(.root)
        let health = service.files.client.health
        #expect(health.failureCount == 1 && health.latency.count == 1 && health.silentSince == nil)
        #expect(health.lastFailure?.reason == "refused")
    }

    @Test("An error has the request's id in it, where the service gives one, and no key that is hidden there")
    func requestID() {
        let answer = HTTPResponse(status: 500, headers: ["x-request-id": "ab-12"], body: Array("why".utf8))
        #expect(
            CallFailure(answer, hiding: "key").error
                == .failed(status: 500, message: "why (request ab-12)")
        )
        let bare = HTTPResponse(status: 500, headers: ["request-id": "7-secret-key"])
        #expect(
            CallFailure(bare, hiding: "secret-key").error
                == .failed(status: 500, message: "request 7-<hidden>")
        )
    }
}
