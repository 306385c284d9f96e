import RemoteAPI
import Synchronization
import TestKit
import Testing
import Transport
import WireFormat

@testable import Transfers

/// What the caller of an upload fails with in these tests.
enum OwnFailure: Error, Equatable {
    case stopped
}

@Suite("Uploads in parts", .timeLimit(.minutes(1)))
struct MultipartUploadTests {
    private let remote = InMemoryRemote()

    private func upload(
        size: UInt64,
        to remote: (any RemoteFilesystem)? = nil,
        concurrency: Int = 4,
        partSize: UInt64 = 10,
        previousSize: UInt64? = nil,
        onBegin: @Sendable (UploadID) async throws(OwnFailure) -> Void = { _ in },
        body: @escaping @Sendable (Range<UInt64>) throws(OwnFailure) -> any BodyReader = {
            ArrayReader(pattern($0.count, from: Int($0.lowerBound)))
        },
        beforeComplete: @Sendable () async throws(OwnFailure) -> Void = {}
    ) async -> UploadError<OwnFailure>? {
        do throws(UploadError<OwnFailure>) {
            try await MultipartUpload.run(
                to: path("a"),
                size: size,
                previousSize: previousSize,
                remote: remote ?? self.remote,
                concurrency: concurrency,
                plan: PartPlan(size: size, partSize: partSize),
                onBegin: onBegin,
                part: { (range) async throws(OwnFailure) in try body(range) },
                beforeComplete: beforeComplete
            )
            return nil
        } catch {
            return error
        }
    }

    @Test("A file goes up in parts, in order, and is there when all is told")
    func parts() async {
        #expect(await self.upload(size: 35, concurrency: 1) == nil)
        #expect(
            self.remote.calls == [
                "begin a 35", "put a 0-10", "put a 10-20", "put a 20-30", "put a 30-35", "complete a",
            ]
        )
        #expect(self.remote.bytes(of: "a") == pattern(35))
    }

    @Test("An empty file has no parts")
    func empty() async {
        #expect(await self.upload(size: 0) == nil)
        #expect(self.remote.calls == ["begin a 0", "complete a"])
        #expect(self.remote.bytes(of: "a") == [])
    }

    @Test("No more parts are on their way at once than allowed")
    func concurrency() async {
        let hold = self.remote.hold(.putPart)
        let task = Task { await self.upload(size: 100, concurrency: 3) }
        await hold.reached(3)
        hold.release()
        #expect(await task.value == nil)
        #expect(self.remote.inFlightMaximum(.putPart) == 3)
        #expect(self.remote.bytes(of: "a") == pattern(100))
    }

    @Test(
        "The caller is told the upload's id before the first part, and of the end of the parts after the last"
    )
    func order() async {
        let remote = self.remote
        let told = Mutex<[String]>([])
        _ = await self.upload(
            size: 20,
            onBegin: { id in told.withLock { $0.append("\(id) \(remote.calls.count)") } },
            beforeComplete: { told.withLock { $0.append("\(remote.calls.count)") } }
        )
        #expect(told.withLock { $0 } == ["UUUUUUUUUUUUUUUUUUU1 1", "3"])
    }

    @Test("The completion is told the size of the file being replaced")
    func previousSize() async {
        _ = await self.upload(size: 20, previousSize: 7)
        #expect(self.remote.previousSizes == [7])
    }

    @Test("An upload that cannot begin sends nothing")
    func noBegin() async {
        let faulty = FaultyRemote(self.remote)
        faulty.fail(.beginUpload, with: .forbidden)
        #expect(await self.upload(size: 20, to: faulty) == .remote(.forbidden))
        #expect(self.remote.calls.isEmpty)
    }

    @Test("A part that fails stops the others, and nothing more is sent")
    func failedPart() async {
        let faulty = FaultyRemote(self.remote)
        faulty.fail(.putPart, with: .timedOut, skipping: 2)
        #expect(await self.upload(size: 1000, to: faulty, concurrency: 1) == .remote(.timedOut))
        #expect(self.remote.calls == ["begin a 1000", "put a 0-10", "put a 10-20"])
    }

    @Test("Parts under way are cancelled when one fails, and its failure is what is told")
    func cancelledParts() async {
        let faulty = FaultyRemote(self.remote)
        faulty.fail(.putPart, with: .outOfSpace, skipping: 3)
        let hold = self.remote.hold(.putPart)
        // Never released: the three others end by being cancelled.
        #expect(await self.upload(size: 1000, to: faulty, concurrency: 4) == .remote(.outOfSpace))
        #expect(self.remote.count(.putPart) <= 3)
        #expect(self.remote.count(.completeUpload) == 0)
        hold.release()
    }

    @Test("Bytes that the caller cannot give stop the upload, and are told as the caller's failure")
    func failedBody() async {
        let body = { @Sendable (range: Range<UInt64>) throws(OwnFailure) -> any BodyReader in
            if range.lowerBound == 20 { throw .stopped }
            return ArrayReader(pattern(range.count, from: Int(range.lowerBound)))
        }
        let error = await self.upload(size: 1000, concurrency: 1, body: body)
        #expect(error == .local(.stopped))
        #expect(self.remote.count(.putPart) == 2)
    }

    @Test("A part of another length than its range is never sent")
    func shortBody() async {
        let error = await self.upload(size: 30, concurrency: 1, body: { _ in ArrayReader(pattern(9)) })
        #expect(error == .remote(.unreadableBody))
        #expect(self.remote.calls == ["begin a 30"])
    }

    @Test("The caller can stop it when all parts have arrived, and the old file stays")
    func stopped() async {
        self.remote.put("a", [1, 2, 3])
        let stop = { @Sendable () async throws(OwnFailure) in throw OwnFailure.stopped }
        let error = await self.upload(size: 20, beforeComplete: stop)
        #expect(error == .local(.stopped))
        #expect(self.remote.count(.completeUpload) == 0)
        #expect(self.remote.bytes(of: "a") == [1, 2, 3])
    }

    @Test("A caller who fails when told of the id sends no part")
    func failedOnBegin() async {
        let stop = { @Sendable (_: UploadID) async throws(OwnFailure) in throw OwnFailure.stopped }
        let error = await self.upload(size: 20, onBegin: stop)
        #expect(error == .local(.stopped))
        #expect(self.remote.calls == ["begin a 20"])
    }

    @Test("A completion that fails is told, and nothing more is sent")
    func failedCompletion() async {
        let faulty = FaultyRemote(self.remote)
        faulty.fail(.completeUpload, with: .unavailable("x"))
        #expect(await self.upload(size: 20, to: faulty) == .remote(.unavailable("x")))
        #expect(self.remote.bytes(of: "a") == nil)
    }

    @Test("A cancelled upload ends at once and is not completed")
    func cancelled() async {
        let hold = self.remote.hold(.putPart)
        let task = Task { await self.upload(size: 100) }
        await hold.reached(4)
        task.cancel()
        #expect(await task.value == .remote(.cancelled))
        #expect(self.remote.count(.completeUpload) == 0)
    }
}

@Suite("How files are cut into parts")
struct PartPlanTests {
    private static let mebibyte: UInt64 = 1 << 20

    @Test("Parts cover the file without gaps", arguments: [0, 1, 9, 10, 11, 100, 101] as [UInt64])
    func cover(size: UInt64) {
        let plan = PartPlan(size: size, partSize: 10)
        var end: UInt64 = 0
        for part in plan {
            #expect(part.lowerBound == end)
            #expect(!part.isEmpty && part.count <= 10)
            end = part.upperBound
        }
        #expect(end == size)
        #expect(plan.count == Int((size + 9) / 10))
    }

    @Test("Parts are of 8 MiB, larger for files of more than a thousand, and at most of 64 MiB")
    func partSize() {
        let sizes: [(UInt64, UInt64)] = [
            (1, 8), (8000, 8), (8001, 16), (64_000, 64), (64_001, 64), (16 << 20, 64),
        ]
        for (size, part) in sizes {
            #expect(PartPlan(size: size * Self.mebibyte).partSize == part * Self.mebibyte)
        }
    }

    @Test("The largest file that there may be can be planned")
    func largest() {
        let plan = PartPlan(size: .max)
        #expect(plan.last?.upperBound == .max)
    }
}
