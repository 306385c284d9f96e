import Dispatch
import TestKit
import Testing
import Transport
import WireFormat

@testable import RemoteAPI

@Suite("When calls are repeated", .timeLimit(.minutes(5)))
struct RetryTests {
    @Test("Waits double from the base to the limit, and each is a random part of its bound")
    func backoff() {
        var policy = RetryPolicy(backoffBase: .milliseconds(100), backoffLimit: .seconds(1), random: { 0.5 })
        let waits = (1...6).map { policy.backoff(after: $0) }
        #expect(waits == [50, 100, 200, 400, 500, 500].map { .milliseconds($0) })
        policy.random = { 0 }
        #expect(policy.backoff(after: 3) == .zero)
        policy.random = { 0.5 }
        #expect(policy.backoff(after: .max) == .milliseconds(500))
    }

    @Test("Between attempts the waits grow, and their number is bounded")
    func waits() async throws {
        let service = try ScriptedService([Step](repeating: .text(500), count: 9))
        let error = await failure { () async throws(RemoteError) in
            try await service.files.size(of: path("a"))
        }
        #expect(error == .failed(status: 500, message: ""))
        #expect(service.lines.count == 5)
        #expect(service.clock.sleeps == [50, 100, 200, 400].map { .milliseconds($0) })
        #expect(service.client.counters.givenUp == 1)
    }

    @Test("With no retries there is one attempt")
    func none() async throws {
        let service = try ScriptedService([.text(500)], retries: 0)
        _ = await failure { () async throws(RemoteError) in try await service.files.list(.root) }
        #expect(service.lines.count == 1)
        #expect(service.clock.sleeps.isEmpty)
    }

    @Test("Retry-After in seconds holds before the next attempt")
    func retryAfter() async throws {
        let service = try ScriptedService([.text(429, "", ["retry-after": "7"]), .listing()])
        _ = try await service.files.list(.root)
        #expect(service.clock.elapsed >= .seconds(7))
        #expect(service.clock.elapsed < .seconds(8))
    }

    @Test("Retry-After holds for every call of the client, of other filesystems too")
    func retryAfterForAll() async throws {
        let service = try ScriptedService(
            [.text(503, "", ["retry-after": "20"]), .size(7)],
            retries: 0
        )
        _ = await failure { () async throws(RemoteError) in try await service.files.list(.root) }
        #expect(service.clock.sleeps.isEmpty)
        let other = service.client.filesystem(try #require(FilesystemID("f-2")))
        #expect(try await other.size(of: path("a")) == 7)
        // A little more, so that not all that wait come at one moment.
        #expect(service.clock.sleeps == [.milliseconds(20_050)])
    }

    @Test("Retry-After also holds for a call that was queued when it came")
    func retryAfterForQueued() async throws {
        let service = try ScriptedService(
            [.text(503, "", ["retry-after": "20"]), .listing()],
            retries: 0,
            maximumInFlight: 1
        )
        let place = try #require(service.client.queue.tryEnter())
        let calls = (0..<2).map { _ in
            Task {
                await failure { () async throws(RemoteError) in try await service.files.list(.root) }
            }
        }
        while service.client.counters.queued < 2 { await Task.yield() }
        service.client.queue.leave(place, .answered)
        var failures = 0
        for call in calls where await call.value != nil { failures += 1 }
        #expect(failures == 1)
        #expect(service.lines.count == 2)
        #expect(service.clock.elapsed >= .seconds(20))
    }

    @Test(
        "Retry-After as a date is a time by the server's own clock, and by ours if it shows none",
        arguments: [
            ["date": "Thu, 01 Jan 2015 00:00:00 GMT", "retry-after": "Thu, 01 Jan 2015 00:00:10 GMT"],
            ["retry-after": "Sun, 06 Nov 1994 08:49:47 GMT"],
        ]
    )
    func retryAfterDate(headers: [String: String]) async throws {
        let service = try ScriptedService([.text(503, "", headers), .listing()], retries: 1)
        _ = try await service.files.list(.root)
        #expect(service.clock.elapsed >= .seconds(10))
        #expect(service.clock.elapsed < .seconds(11))
    }

    @Test(
        "A Retry-After that says nothing sensible delays nothing",
        arguments: ["", "-5", "0", "soon", "1.5", "Sun, 06 Nov 1994 08:49:30 GMT", "99999999999999999999"]
    )
    func senselessRetryAfter(text: String) async throws {
        let service = try ScriptedService([.text(503, "", ["retry-after": text]), .listing()])
        _ = try await service.files.list(.root)
        #expect(service.clock.elapsed == .milliseconds(50))
    }

    @Test("A Retry-After of a day is obeyed for a minute")
    func longRetryAfter() async throws {
        let service = try ScriptedService([.text(503, "", ["retry-after": "86400"]), .listing()])
        _ = try await service.files.list(.root)
        #expect(service.clock.elapsed >= .seconds(60))
        #expect(service.clock.elapsed < .seconds(61))
    }

    @Test("A refusal that is final does not make others wait, whatever Retry-After says")
    func finalRefusal() async throws {
        let service = try ScriptedService([.text(403, "", ["retry-after": "9"]), .listing()])
        _ = await failure { () async throws(RemoteError) in try await service.files.list(.root) }
        _ = try await service.files.list(.root)
        #expect(service.clock.elapsed == .zero)
    }

    @Test("A cancelled task sends nothing, and does not wait on")
    func cancelled() async throws {
        let service = try ScriptedService([.text(503), .listing()])
        let hold = Hold()
        let task = Task {
            _ = await hold.pass()
            return await failure { () async throws(RemoteError) in try await service.files.list(.root) }
        }
        await hold.reached()
        task.cancel()
        #expect(await task.value == .cancelled)
        #expect(service.lines.isEmpty)
    }

    @Test("A task cancelled between two attempts makes no second one")
    func cancelledBetween() async throws {
        let task = Tally()
        let service = try ScriptedService([.text(503), .listing()]) { _ in
            task.add()
            withUnsafeCurrentTask { $0?.cancel() }
        }
        let error = await Task {
            await failure { () async throws(RemoteError) in try await service.files.list(.root) }
        }.value
        #expect(error == .cancelled)
        #expect(task.count == 1)
    }

    @Test("A key that was changed in its file is used soon")
    func changedKey() async throws {
        let directory = TemporaryDirectory()
        directory.write(Array(" old-key\n".utf8), to: "key")
        let credentials = try Credentials(file: directory.path + "/key", lookingEach: .zero)
        let service = try ScriptedService([.listing(), .listing()], credentials: credentials)
        _ = try await service.files.list(.root)
        directory.write(Array("a-newer-key\n".utf8), to: "key")
        while credentials.key() == "old-key" { await Task.yield() }
        _ = try await service.files.list(.root)
        #expect(
            service.transport.sent.flatMap(\.headers) == [
                "Authorization: old-key", "Authorization: a-newer-key",
            ]
        )
    }

    @Test("A key file that hangs keeps no call waiting, and one whose key is refused not for ever")
    func hungKeyFile() async throws {
        let directory = TemporaryDirectory()
        directory.write(Array("old-key".utf8), to: "key")
        let disk = DispatchSemaphore(value: 0)
        let credentials = try Credentials(file: directory.path + "/key", lookingEach: .zero) { disk.wait() }
        let service = try ScriptedService(
            [.listing(), .listing(), .text(401)],
            retries: 0,
            credentials: credentials
        )
        directory.write(Array("a-newer-key".utf8), to: "key")
        for _ in 0..<2 { _ = try await service.files.list(.root) }
        #expect(
            await failure { () async throws(RemoteError) in try await service.files.list(.root) }
                == .unauthorized
        )
        #expect(
            service.transport.sent.flatMap(\.headers)
                == Array(repeating: "Authorization: old-key", count: 3)
        )
        for _ in 0..<100 { disk.signal() }
        while credentials.key() == "old-key" { await Task.yield() }
    }

    @Test("A refused key is read again at once, and the call made with the new one")
    func refusedKey() async throws {
        let directory = TemporaryDirectory()
        directory.write(Array("old-key".utf8), to: "key")
        let credentials = try Credentials(file: directory.path + "/key")
        let service = try ScriptedService([.text(401), .listing()], retries: 0, credentials: credentials) {
            _ in
            directory.write(Array("new-key".utf8), to: "key")
        }
        _ = try await service.files.list(.root)
        #expect(
            service.transport.sent.flatMap(\.headers) == ["Authorization: old-key", "Authorization: new-key"]
        )
        #expect(service.clock.sleeps.isEmpty)
    }

    @Test("A refused key that has not changed is refused, without a second request")
    func sameKey() async throws {
        let directory = TemporaryDirectory()
        directory.write(Array("old-key".utf8), to: "key")
        let credentials = try Credentials(file: directory.path + "/key")
        let service = try ScriptedService([.text(401), .listing()], credentials: credentials)
        #expect(
            await failure { () async throws(RemoteError) in try await service.files.list(.root) }
                == .unauthorized
        )
        #expect(service.lines.count == 1)
    }

    @Test("A key file that is empty or gone meanwhile leaves the last good key in use")
    func lostKeyFile() async throws {
        let directory = TemporaryDirectory()
        directory.write(Array("old-key".utf8), to: "key")
        let credentials = try Credentials(file: directory.path + "/key")
        let service = try ScriptedService([.listing()], credentials: credentials)
        directory.write([], to: "key")
        _ = try await service.files.list(.root)
        #expect(service.transport.sent[0].headers == ["Authorization: old-key"])
    }
}
