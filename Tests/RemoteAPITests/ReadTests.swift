import TestKit
import Testing
import Transport

@testable import RemoteAPI

@Suite("Reads that break, end early or never end")
struct ReadTests {
    private func read(
        _ range: Range<UInt64>,
        _ steps: [Step],
        retries: Int = 2,
        sink: CollectingSink = CollectingSink()
    ) async throws -> (result: Result<UInt64, RemoteError>, bytes: [UInt8], joins: [Int], ranges: [String]) {
        let service = try ScriptedService(steps, retries: retries)
        let result: Result<UInt64, RemoteError>
        do throws(RemoteError) {
            result = .success(try await service.files.read(path("a"), range, into: sink))
        } catch {
            result = .failure(error)
        }
        return (result, sink.bytes, sink.joins, service.ranges)
    }

    @Test("A read past the file's end gives what is before it, with one request")
    func pastEnd() async throws {
        let read = try await self.read(5..<100, [.bytes(200, pattern(10, from: 5))])
        #expect(read.result == .success(10))
        #expect(read.bytes == pattern(10, from: 5))
        #expect(read.ranges == ["5-100"])
    }

    @Test("A read at the file's end gives nothing")
    func atEnd() async throws {
        let read = try await self.read(10..<20, [.bytes(200, [])])
        #expect(read.result == .success(0))
    }

    @Test("A read that breaks is taken up where it broke, and the sink gets every byte once")
    func resumed() async throws {
        let read = try await self.read(
            100..<50_100,
            [
                .broken(pattern(20_000, from: 100), .interrupted("reset")),
                .broken(pattern(7, from: 20_100), .timedOut),
                .bytes(200, pattern(29_993, from: 20_107)),
            ]
        )
        #expect(read.result == .success(50_000))
        #expect(read.bytes == pattern(50_000, from: 100))
        #expect(read.ranges == ["100-50100", "20100-50100", "20107-50100"])
        #expect(read.joins == [20_000, 20_007])
    }

    @Test("An error between two attempts leaves what was delivered")
    func errorBetween() async throws {
        let read = try await self.read(
            0..<10,
            [.broken(pattern(4), .interrupted("reset")), .text(503), .bytes(200, pattern(6, from: 4))]
        )
        #expect(read.bytes == pattern(10))
        #expect(read.ranges == ["0-10", "4-10", "4-10"])
    }

    @Test("A read that makes no progress ends after the last retry with what kept it")
    func noProgress() async throws {
        let read = try await self.read(0..<10, [Step](repeating: .fail(.timedOut), count: 9))
        #expect(read.result == .failure(.timedOut))
        #expect(read.ranges.count == 3)
    }

    @Test("A read that goes on block by block begins to count its attempts anew, but not for ever")
    func slowProgress() async throws {
        let block = 64 << 10
        let steps = (0..<20).map { Step.broken(pattern(block, from: $0 * block), .interrupted("reset")) }
        let read = try await self.read(0..<UInt64(20 * block), steps, retries: 1)
        #expect(read.result == .failure(.unavailable("reset")))
        #expect(read.ranges.count == 9)
        let done = try await self.read(
            0..<UInt64(6 * block),
            Array(steps[..<5]) + [.bytes(200, pattern(block, from: 5 * block))],
            retries: 1
        )
        #expect(done.result == .success(UInt64(6 * block)))
        #expect(done.bytes == pattern(6 * block))
    }

    @Test("A file that vanishes in the middle of a read is not found")
    func vanished() async throws {
        let read = try await self.read(0..<10, [.broken(pattern(4), .interrupted("reset")), .text(404)])
        #expect(read.result == .failure(.notFound))
    }

    @Test("More bytes than were asked for are refused, after asking once more")
    func overflow() async throws {
        let read = try await self.read(
            0..<10,
            [Step](repeating: .bytes(200, pattern(11)), count: 4),
            retries: 4
        )
        guard case .failure(.malformedAnswer) = read.result else {
            Issue.record("\(read.result)")
            return
        }
        #expect(read.ranges == ["0-10", "0-10"])
        #expect(read.bytes.isEmpty)
    }

    @Test("More bytes than were asked for, once, do no harm")
    func overflowOnce() async throws {
        let read = try await self.read(0..<10, [.bytes(200, pattern(11)), .bytes(200, pattern(10))])
        #expect(read.result == .success(10))
        #expect(read.bytes == pattern(10))
    }

    @Test("Of a whole file in place of a range no byte is handed on, where the server says how long it is")
    func wholeFile() async throws {
        let read = try await self.read(
            20_000..<40_000,
            [Step](repeating: .bytes(200, pattern(50_000)), count: 2)
        )
        guard case .failure(.malformedAnswer) = read.result else {
            Issue.record("\(read.result)")
            return
        }
        #expect(read.bytes.count == 0)
        #expect(read.ranges == ["20000-40000", "20000-40000"])
    }

    @Test("A whole file in place of a range is refused although its beginning was delivered")
    func overflowLate() async throws {
        let read = try await self.read(
            0..<20_000,
            [.unmarked(200, pattern(30_000)), .bytes(200, pattern(20_000))]
        )
        guard case .failure(.malformedAnswer) = read.result else {
            Issue.record("\(read.result)")
            return
        }
        #expect(read.ranges.count == 1)
    }

    @Test("An end that nothing marks is believed when it is met at the same place twice")
    func unmarkedEnd() async throws {
        let read = try await self.read(0..<10, [.unmarked(200, pattern(4)), .unmarked(200, [])])
        #expect(read.result == .success(4))
        #expect(read.ranges == ["0-10", "4-10"])
    }

    @Test("A body that broke off where nothing marks its end is read on")
    func unmarkedBreak() async throws {
        let read = try await self.read(
            0..<10,
            [.unmarked(200, pattern(4)), .unmarked(200, pattern(6, from: 4))]
        )
        #expect(read.result == .success(10))
        #expect(read.bytes == pattern(10))
    }

    @Test("A chunked body has a marked end")
    func chunked() async throws {
        let chunked = HTTPResponse(status: 200, headers: ["transfer-encoding": "Chunked"], body: pattern(4))
        let read = try await self.read(0..<10, [.answer(chunked)])
        #expect(read.result == .success(4))
        #expect(read.ranges.count == 1)
    }

    @Test("Unmarked ends that come ever later are not followed for ever")
    func unmarkedForever() async throws {
        let steps = (0..<40).map { Step.unmarked(200, pattern(1, from: $0)) }
        let read = try await self.read(0..<1000, steps, retries: 1)
        guard case .failure(.malformedAnswer) = read.result else {
            Issue.record("\(read.result)")
            return
        }
        #expect(read.ranges.count == 9)
    }

    @Test("A sink that takes no more ends the read, and nothing is repeated")
    func refused() async throws {
        let read = try await self.read(
            0..<20_000,
            [.bytes(200, pattern(20_000)), .bytes(200, pattern(20_000))],
            sink: CollectingSink(limit: 15_000)
        )
        #expect(read.result == .failure(.cancelled))
        #expect(read.ranges.count == 1)
    }
}
