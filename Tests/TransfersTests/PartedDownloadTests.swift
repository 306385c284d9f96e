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

    @Test("All parts are asked for, the last with the byte after it, and then the size once more")
    func parts() async throws {
        self.remote.put("f", pattern(25))
        let target = MemoryTarget(size: 25)
        try await self.run(25, target, lanes: 1)
        #expect(target.bytes == pattern(25))
        #expect(target.received == [0, 1, 2])
        #expect(self.remote.calls == ["read f 0-10", "read f 10-20", "read f 20-26", "size f"])
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

    @Test("Parts that are here are not asked for")
    func continued() async throws {
        self.remote.put("f", pattern(25))
        let target = MemoryTarget(size: 25)
        try await self.run(25, target, having: [0, 2])
        #expect(self.remote.calls == ["read f 10-20", "size f"])
        #expect(target.received == [1])
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
        let download = Task { try await self.run(200, target, lanes: 3) }
        await hold.reached(3)
        #expect(self.remote.inFlightMaximum(.read) == 3)
        hold.release()
        try await download.value
        #expect(self.remote.inFlightMaximum(.read) == 3)
        #expect(target.bytes == pattern(200))
    }
}
