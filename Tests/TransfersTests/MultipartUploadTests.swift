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

/// A file whose bytes are a pattern, and what its upload told.
final class PatternSource: UploadSource {
    typealias Failure = OwnFailure

    private struct State {
        var told: [String] = []
        var abandoned: [Task<UploadID?, Never>] = []
    }

    private let remote: InMemoryRemote
    private let begin: @Sendable (EarlierUpload) throws(OwnFailure) -> Void
    private let give: @Sendable (Range<UInt64>) throws(OwnFailure) -> any BodyReader
    private let complete: @Sendable () throws(OwnFailure) -> Void
    private let sentElsewhere: Set<Int>
    private let state = Mutex(State())

    init(
        _ remote: InMemoryRemote,
        sentElsewhere: Set<Int> = [],
        onBegin begin: @escaping @Sendable (EarlierUpload) throws(OwnFailure) -> Void = { _ in },
        body give: @escaping @Sendable (Range<UInt64>) throws(OwnFailure) -> any BodyReader = {
            ArrayReader(pattern($0.count, from: Int($0.lowerBound)))
        },
        beforeComplete complete: @escaping @Sendable () throws(OwnFailure) -> Void = {}
    ) {
        self.remote = remote
        self.sentElsewhere = sentElsewhere
        self.begin = begin
        self.give = give
        self.complete = complete
    }

    /// What it told, each with how many calls there had been.
    var told: [String] { self.state.withLock { $0.told } }

    /// Uploads that began as their task was cancelled.
    var abandoned: [Task<UploadID?, Never>] { self.state.withLock { $0.abandoned } }

    private func note(_ text: String) {
        let line = "\(text) \(self.remote.calls.count)"
        self.state.withLock { $0.told.append(line) }
    }

    func didBegin(_ upload: EarlierUpload) throws(OwnFailure) {
        self.note("begin \(upload.id.rawValue.suffix(2)) \(upload.partSize)")
        try self.begin(upload)
    }

    func willBeginAnew() {}

    func didAbandon(_ beginning: Task<UploadID?, Never>) {
        self.state.withLock { $0.abandoned.append(beginning) }
    }

    func body(of range: Range<UInt64>) throws(OwnFailure) -> any BodyReader { try self.give(range) }

    func wasSent(_ part: Int, of upload: UploadID) async -> Bool { self.sentElsewhere.contains(part) }

    func didSend(_ part: Int, of upload: UploadID) { self.note("sent \(part)") }

    func willComplete(_ upload: UploadID) throws(OwnFailure) {
        self.note("complete")
        try self.complete()
    }
}

@Suite("Uploads in parts", .timeLimit(.minutes(5)))
struct MultipartUploadTests {
    private let remote = InMemoryRemote()
    private var source: PatternSource { PatternSource(self.remote) }

    private func upload(
        size: UInt64,
        to remote: (any RemoteFilesystem)? = nil,
        concurrency: Int = 4,
        previousSize: UInt64? = nil,
        continuing earlier: EarlierUpload? = nil,
        _ source: PatternSource? = nil
    ) async -> UploadError<OwnFailure>? {
        do throws(UploadError<OwnFailure>) {
            try await MultipartUpload(
                to: path("a"),
                size: size,
                previousSize: previousSize,
                remote: remote ?? self.remote,
                lanes: UploadLanes(maximumCount: concurrency, partSize: 10),
                source: source ?? self.source
            ).run(continuing: earlier)
            return nil
        } catch {
            return error
        }
    }

    /// An upload of 35 bytes that was begun before, of which parts were sent.
    private func earlier(_ parts: [Int]) async throws -> EarlierUpload {
        let id = try await self.remote.beginUpload(path("a"), size: 35)
        for part in parts {
            let range = PartPlan(size: 35, partSize: 10)[part]
            let body = ArrayReader(pattern(range.count, from: Int(range.lowerBound)))
            try await self.remote.putPart(path("a"), id, at: range.lowerBound, body: body)
        }
        self.remote.forgetCalls()
        return EarlierUpload(id: id, partSize: 10, sentParts: Set(parts))
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
        let source = self.source
        #expect(await self.upload(size: 20, concurrency: 1, source) == nil)
        #expect(source.told == ["begin U1 10 1", "sent 0 2", "sent 1 3", "complete 3"])
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
        let error = await self.upload(size: 1000, concurrency: 1, PatternSource(self.remote, body: body))
        #expect(error == .local(.stopped))
        #expect(self.remote.count(.putPart) == 2)
    }

    @Test("A part of another length than its range is never sent")
    func shortBody() async {
        let source = PatternSource(self.remote, body: { _ in ArrayReader(pattern(9)) })
        let error = await self.upload(size: 30, concurrency: 1, source)
        #expect(error == .remote(.unreadableBody))
        #expect(self.remote.calls == ["begin a 30"])
    }

    @Test("The caller can stop it when all parts have arrived, and the old file stays")
    func stopped() async {
        self.remote.put("a", [1, 2, 3])
        let stop = { @Sendable () throws(OwnFailure) in throw OwnFailure.stopped }
        let error = await self.upload(size: 20, PatternSource(self.remote, beforeComplete: stop))
        #expect(error == .local(.stopped))
        #expect(self.remote.count(.completeUpload) == 0)
        #expect(self.remote.bytes(of: "a") == [1, 2, 3])
    }

    @Test("A caller who fails when told of the id sends no part")
    func failedOnBegin() async {
        let stop = { @Sendable (_: EarlierUpload) throws(OwnFailure) in throw OwnFailure.stopped }
        let error = await self.upload(size: 20, PatternSource(self.remote, onBegin: stop))
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

    @Test("An upload that was begun before goes on with the parts that are missing, and begins no other")
    func resumed() async throws {
        let earlier = try await self.earlier([0, 2])
        let source = self.source
        #expect(await self.upload(size: 35, concurrency: 1, continuing: earlier, source) == nil)
        #expect(self.remote.calls == ["put a 10-20", "put a 30-35", "complete a"])
        #expect(source.told == ["begin U1 10 0", "sent 1 1", "sent 3 2", "complete 2"])
        #expect(self.remote.bytes(of: "a") == pattern(35))
    }

    @Test("An upload that the server does not know any more is begun anew, with all of its parts")
    func forgotten() async throws {
        var earlier = try await self.earlier([0, 2])
        earlier.id = uploadID("unknown")
        let source = self.source
        #expect(await self.upload(size: 35, concurrency: 1, continuing: earlier, source) == nil)
        #expect(source.told.filter { $0.hasPrefix("begin") } == ["begin wn 10 0", "begin U2 10 2"])
        #expect(self.remote.bytes(of: "a") == pattern(35))
    }

    @Test("An upload whose completion is refused, as all of it had been sent, is begun anew once")
    func refusedCompletion() async throws {
        let earlier = try await self.earlier([0, 1, 2, 3])
        let faulty = FaultyRemote(self.remote)
        let refusal = RemoteError.rejected(status: 400, message: "no such upload")
        faulty.fail(.completeUpload, with: refusal)
        #expect(await self.upload(size: 35, to: faulty, continuing: earlier) == nil)
        #expect(self.remote.bytes(of: "a") == pattern(35))
        #expect(self.remote.count(.beginUpload) == 1)
    }

    @Test(
        "An upload that the server forgets while it is sent, or before it is completed, is begun anew once",
        arguments: [CallKind.putPart, .completeUpload],
        [RemoteError.notFound, .rejected(status: 400, message: "bytes 0-10 have not arrived")]
    )
    func forgottenMeanwhile(kind: CallKind, refusal: RemoteError) async throws {
        let faulty = FaultyRemote(self.remote)
        faulty.fail(kind, with: refusal)
        #expect(await self.upload(size: 35, to: faulty) == nil)
        #expect(self.remote.bytes(of: "a") == pattern(35))
        #expect(self.remote.count(.beginUpload) == 2)
    }

    @Test("An upload that is refused again when it was begun anew fails with that")
    func refusedTwice() async throws {
        let faulty = FaultyRemote(self.remote)
        faulty.fail(.completeUpload, with: .notFound, count: 2)
        #expect(await self.upload(size: 35, to: faulty) == .remote(.notFound))
        #expect(self.remote.count(.beginUpload) == 2)
    }

    @Test("An outage while an earlier upload goes on does not begin another one")
    func outage() async throws {
        let earlier = try await self.earlier([0])
        let faulty = FaultyRemote(self.remote)
        faulty.fail(.putPart, with: .timedOut)
        #expect(await self.upload(size: 35, to: faulty, continuing: earlier) == .remote(.timedOut))
        #expect(self.remote.count(.beginUpload) == 0)
    }

    @Test("One that is cancelled while it begins ends at once, and its id comes to be known all the same")
    func cancelledAtFirst() async throws {
        let hold = self.remote.hold(.beginUpload, .beforeAnswering)
        let source = self.source
        let task = Task { await self.upload(size: 35, source) }
        await hold.reached(1)
        task.cancel()
        #expect(await task.value == .remote(.cancelled))
        #expect(source.told.isEmpty)
        let beginning = try #require(source.abandoned.first)
        hold.release()
        let upload = try #require(await beginning.value)
        #expect(self.remote.uploadCount == 1)
        #expect(upload.rawValue.hasSuffix("U1"))
        #expect(self.remote.count(.putPart) == 0)
    }

    @Test("Parts that are sent in another manner are not sent twice")
    func elsewhere() async throws {
        let earlier = try await self.earlier([0, 1])
        let upload = EarlierUpload(id: earlier.id, partSize: 10, sentParts: [])
        let source = PatternSource(self.remote, sentElsewhere: [0, 1])
        #expect(await self.upload(size: 35, concurrency: 1, continuing: upload, source) == nil)
        #expect(self.remote.calls == ["put a 20-30", "put a 30-35", "complete a"])
        #expect(self.remote.bytes(of: "a") == pattern(35))
    }
}
