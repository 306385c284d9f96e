import Testing

@testable import RemoteAPI

@Suite("Which parts of uploads stand still for longer than their peers by far")
struct StandstillDetectorTests {
    typealias Progress = StandstillDetector.Progress

    private static let mebibyte: UInt64 = 1 << 20

    /// Parts that have arrived, each of so many MiB, after it had stood still for so long.
    private func detector(after times: [Duration], mebibytes: UInt64 = 8) -> StandstillDetector {
        var detector = StandstillDetector()
        for (id, time) in times.enumerated() {
            detector.began(UInt64(id), byteCount: mebibytes * Self.mebibyte, at: .zero)
            detector.ended(UInt64(id), Progress(sent: 0, isPaused: false), isUsual: true, at: time)
        }
        return detector
    }

    /// A number that ``detector(after:mebibytes:)`` does not use.
    private let id: UInt64 = 1000

    private func look(
        _ detector: inout StandstillDetector,
        sent: UInt64 = 0,
        isPaused: Bool = false,
        at now: Duration
    ) -> Bool {
        detector.look([self.id: Progress(sent: sent, isPaused: isPaused)], at: now) == [self.id]
    }

    @Test("Without others before it, none stands still however long it does")
    func noHistory() {
        var detector = self.detector(after: [.milliseconds(10), .milliseconds(10)])
        detector.began(self.id, byteCount: Self.mebibyte, at: .zero)
        #expect(!self.look(&detector, at: .seconds(1000)))
    }

    @Test("A part stands still after eight times what others did, and not before two seconds")
    func standing() {
        for (usual, limit) in [(10, 2000), (200, 2000), (1000, 8000)] {
            var detector = self.detector(after: [Duration](repeating: .milliseconds(usual), count: 3))
            detector.began(self.id, byteCount: 8 * Self.mebibyte, at: .zero)
            #expect(!self.look(&detector, at: .milliseconds(limit)))
            #expect(self.look(&detector, at: .milliseconds(limit + 1)))
        }
    }

    @Test("What was sent of it since, however little, counts as going on")
    func moving() {
        var detector = self.detector(after: [Duration](repeating: .milliseconds(10), count: 3))
        detector.began(self.id, byteCount: 8 * Self.mebibyte, at: .zero)
        for second in 1...100 {
            #expect(!self.look(&detector, sent: UInt64(second), at: .seconds(second)))
        }
        #expect(self.look(&detector, sent: 100, at: .seconds(103)))
    }

    @Test("A part that waits for its own bytes does not stand still")
    func paused() {
        var detector = self.detector(after: [Duration](repeating: .milliseconds(10), count: 3))
        detector.began(self.id, byteCount: 8 * Self.mebibyte, at: .zero)
        #expect(!self.look(&detector, isPaused: true, at: .seconds(100)))
        #expect(!self.look(&detector, at: .seconds(101)))
        #expect(self.look(&detector, at: .seconds(103)))
    }

    @Test("What is usual for small parts says nothing of large ones")
    func small() {
        var detector = self.detector(after: [Duration](repeating: .milliseconds(10), count: 64), mebibytes: 8)
        detector.began(self.id, byteCount: 17 * Self.mebibyte, at: .zero)
        #expect(!self.look(&detector, at: .seconds(1000)))
    }

    @Test("Parts that were cut off or failed do not say what is usual, nor do those of long ago")
    func unusual() {
        var detector = StandstillDetector()
        for id in 0..<UInt64(10) {
            detector.began(id, byteCount: Self.mebibyte, at: .zero)
            detector.ended(id, Progress(sent: 0, isPaused: false), isUsual: false, at: .seconds(100))
        }
        #expect(!detector.canCompare)
        var slowBefore = self.detector(
            after: [Duration](repeating: .seconds(100), count: 64)
                + [Duration](repeating: .milliseconds(10), count: 64)
        )
        slowBefore.began(self.id, byteCount: Self.mebibyte, at: .zero)
        #expect(self.look(&slowBefore, at: .seconds(3)))
    }
}
