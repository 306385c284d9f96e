import Primitives
import RemoteAPI
import Synchronization
import TestKit
import Testing
import WireFormat

@testable import Transfers

/// What keeps a download's bytes in memory.
private final class MemoryTarget: DownloadTarget {
    typealias Failure = OwnFailure

    private struct State {
        var bytes: [UInt8]
        var received: Set<Int> = []
        var failure: OwnFailure?
    }

    private let state: Mutex<State>
    private let limit: Int

    init(size: UInt64, limit: Int = .max) {
        self.limit = limit
        self.state = Mutex(State(bytes: [UInt8](repeating: 0, count: Int(size))))
    }

    var bytes: [UInt8] { self.state.withLock(\.bytes) }
    var received: Set<Int> { self.state.withLock(\.received) }
    var failure: OwnFailure? { self.state.withLock(\.failure) }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) -> Bool {
        self.state.withLock { state in
            guard Int(offset) + bytes.count <= self.limit else {
                state.failure = .stopped
                return false
            }
            state.bytes.replaceSubrange(Int(offset)..<Int(offset) + bytes.count, with: bytes)
            return true
        }
    }

    func read(_ range: Range<UInt64>) -> [UInt8] {
        Array(self.bytes[Int(range.lowerBound)..<Int(range.upperBound)])
    }

    func didReceive(_ part: Int) { self.state.withLock { _ = $0.received.insert(part) } }
}

@Suite("Downloading whole files")
struct PartedDownloadTests {
    private let remote = InMemoryRemote()

    private func run(
        _ size: UInt64,
        _ target: MemoryTarget,
        lanes: Int = 4,
        having received: Set<Int> = []
    ) async throws(DownloadError<OwnFailure>) {
        let download = PartedDownload(
            from: path("f"),
            plan: PartPlan(size: size, partSize: 10),
            remote: self.remote,
            lanes: AsyncSemaphore(lanes),
            target: target
        )
        try await download.run(having: received)
    }

    @Test("All parts are asked for, the last with the byte after it, and then samples of them and the size")
    func parts() async throws {
        self.remote.put("f", pattern(25))
        let target = MemoryTarget(size: 25)
        try await self.run(25, target, lanes: 1)
        #expect(target.bytes == pattern(25))
        #expect(target.received == [0, 1, 2])
        let calls = self.remote.calls
        #expect(calls.prefix(3) == ["read f 0-10", "read f 10-20", "read f 20-26"])
        #expect(calls.dropFirst(3).dropLast().sorted() == ["read f 0-10", "read f 10-20", "read f 20-25"])
        #expect(calls.last == "size f")
    }

    @Test("A single part is looked at once, and an empty file not at all")
    func single() async throws {
        self.remote.put("f", pattern(9))
        let target = MemoryTarget(size: 9)
        try await self.run(9, target)
        #expect(target.bytes == pattern(9))
        #expect(self.remote.calls == ["read f 0-10"])
        try await self.run(0, MemoryTarget(size: 0))
        #expect(self.remote.calls.count == 1)
    }

    @Test("Parts that are here are not asked for, but looked at in the end")
    func continued() async throws {
        self.remote.put("f", pattern(25))
        let target = MemoryTarget(size: 25)
        let error = await #expect(throws: DownloadError<OwnFailure>.self) {
            try await self.run(25, target, having: [0, 2])
        }
        #expect(self.remote.calls.first == "read f 10-20")
        #expect(!self.remote.calls.contains("read f 20-26"))
        #expect(target.received == [1])
        // What is here is of another version.
        guard case .changed? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test("Parts that are here are looked at from both sides: two responses may have brought them")
    func continuedFromTwo() async throws {
        // As large as what is looked at at each side, and a byte that lies in one alone.
        let size: UInt64 = 2 << 17
        self.remote.put("f", pattern(Int(size)))
        let target = MemoryTarget(size: size)
        var bytes = pattern(Int(size / 2))
        bytes[0] = 255
        #expect(bytes.withUnsafeBytes { target.write($0, at: 0) })
        let download = PartedDownload(
            from: path("f"),
            plan: PartPlan(size: size, partSize: size / 2),
            remote: self.remote,
            lanes: AsyncSemaphore(4),
            target: target
        )
        let error = await #expect(throws: DownloadError<OwnFailure>.self) {
            try await download.run(having: [0])
        }
        guard case .changed? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test("A file in whose place another one of the same size has come is told")
    func replaced() async {
        self.remote.put("f", pattern(25))
        let hold = self.remote.hold(.read, .beforeAnswering)
        let download = Task { try await self.run(25, MemoryTarget(size: 25), lanes: 1) }
        await hold.reached(1)
        self.remote.put("f", pattern(25, from: 7))
        hold.release()
        let error = await #expect(throws: DownloadError<OwnFailure>.self) { try await download.value }
        guard case .changed? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test("A file that has become longer or shorter is told", arguments: [0, 5, 19, 24, 26, 100])
    func changed(size: Int) async {
        self.remote.put("f", pattern(size))
        let error = await #expect(throws: DownloadError<OwnFailure>.self) {
            try await self.run(25, MemoryTarget(size: 25))
        }
        guard case .changed? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test("Bytes that cannot be kept end it with the reason")
    func refused() async {
        self.remote.put("f", pattern(25))
        let error = await #expect(throws: DownloadError<OwnFailure>.self) {
            try await self.run(25, MemoryTarget(size: 25, limit: 15))
        }
        guard case .local(.stopped)? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test("No more parts are on their way than there are lanes")
    func lanes() async throws {
        self.remote.put("f", pattern(200))
        let hold = self.remote.hold(.read)
        let target = MemoryTarget(size: 200)
        let download = Task { try await self.run(200, target, lanes: 9) }
        await hold.reached(9)
        #expect(self.remote.inFlightMaximum(.read) == 9)
        hold.release()
        try await download.value
        #expect(self.remote.inFlightMaximum(.read) == 9)
        #expect(target.bytes == pattern(200))
    }
}
