import Testing

@testable import RemoteAPI

@Suite("Which requests are slower than their peers by far")
struct StallDetectorTests {
    typealias Progress = StallDetector.Progress

    /// Requests that ended well, each after so long, most of it before the first byte.
    private func detector(after times: [Duration], kind: String = "size") -> StallDetector {
        var detector = StallDetector()
        for (id, time) in times.enumerated() {
            detector.began(UInt64(id), kind: kind, expected: nil, at: .zero)
            let progress = Progress(firstByte: time, received: 10)
            detector.ended(UInt64(id), progress, isUsual: true, at: time)
        }
        return detector
    }

    /// A number that ``detector(after:)`` does not use.
    private let late: UInt64 = 1000

    @Test("Without any request before it, none is late however long it takes")
    func noHistory() {
        var detector = self.detector(after: [Duration](repeating: .milliseconds(10), count: 7))
        detector.began(self.late, kind: "size", expected: nil, at: .zero)
        #expect(detector.look([self.late: Progress(received: 0)], at: .seconds(1000)).isEmpty)
    }

    @Test("A first byte is late after four times what others took, and not before a second")
    func lateFirstByte() {
        for (usual, limit) in [(10, 1000), (100, 1000), (1000, 4000), (5000, 20_000)] {
            var detector = self.detector(after: [Duration](repeating: .milliseconds(usual), count: 8))
            detector.began(self.late, kind: "size", expected: nil, at: .zero)
            let none = [self.late: Progress(received: 0)]
            #expect(detector.look(none, at: .milliseconds(limit)).isEmpty)
            #expect(detector.look(none, at: .milliseconds(limit + 1)) == [self.late])
        }
    }

    @Test("What is usual for one kind of request says nothing of another")
    func kinds() {
        var detector = self.detector(after: [Duration](repeating: .milliseconds(10), count: 8))
        detector.began(self.late, kind: "list", expected: nil, at: .zero)
        #expect(detector.look([self.late: Progress(received: 0)], at: .seconds(1000)).isEmpty)
    }

    @Test("Requests that were stopped or failed do not say what is usual")
    func unusual() {
        var detector = StallDetector()
        for id in 0..<UInt64(20) {
            detector.began(id, kind: "size", expected: nil, at: .zero)
            detector.ended(id, Progress(received: 0), isUsual: false, at: .zero)
        }
        #expect(!detector.canCompare)
    }

    /// Bodies of 16 MiB that all began at 0, with so many bytes a second each.
    private func look(_ rates: [UInt64], in detector: inout StallDetector, seconds: Int = 3) -> Set<UInt64> {
        for id in rates.indices {
            detector.began(UInt64(id), kind: "read", expected: 16 << 20, at: .zero)
        }
        var slow: Set<UInt64> = []
        for moment in 1...seconds * 4 {
            var progress: [UInt64: Progress] = [:]
            for (id, rate) in rates.enumerated() {
                progress[UInt64(id)] = Progress(firstByte: .zero, received: rate * UInt64(moment) / 4)
            }
            slow.formUnion(detector.look(progress, at: .milliseconds(moment * 250)))
        }
        return slow
    }

    @Test("A body is slow that has less than an eighth of the others' rate")
    func slowBody() {
        var detector = StallDetector()
        #expect(self.look([1 << 20, 1 << 20, 1 << 20, 1 << 20, 90 << 10, 160 << 10], in: &detector) == [4])
    }

    @Test("A server that is slow to all alike has no slow request")
    func slowServer() {
        var detector = StallDetector()
        #expect(self.look([1000, 1000, 1200, 900], in: &detector).isEmpty)
        var standing = StallDetector()
        #expect(self.look([0, 0, 0, 0], in: &standing).isEmpty)
    }

    @Test("A lone body is never slow without others before it")
    func lone() {
        var detector = StallDetector()
        #expect(self.look([1], in: &detector, seconds: 100).isEmpty)
    }

    @Test("A lone body that stands still is slow beside those that came before it")
    func loneAfterOthers() {
        var detector = StallDetector()
        for id in 100..<UInt64(108) {
            detector.began(id, kind: "read", expected: 1 << 20, at: .zero)
            let progress = Progress(firstByte: .milliseconds(10), received: 1 << 20)
            detector.ended(id, progress, isUsual: true, at: .milliseconds(110))
        }
        #expect(self.look([0], in: &detector) == [0])
    }

    @Test("A body that will be there within a second is left alone, however slow")
    func nearlyDone() {
        var detector = StallDetector()
        for id in 0..<UInt64(4) { detector.began(id, kind: "read", expected: 64 << 20, at: .zero) }
        detector.began(self.late, kind: "read", expected: 150 << 10, at: .zero)
        var slow: [UInt64] = []
        for moment in 1...5 {
            let bytes = UInt64(moment) * (1 << 20)
            var progress: [UInt64: Progress] = [:]
            for id in 0..<UInt64(4) { progress[id] = Progress(firstByte: .zero, received: bytes) }
            progress[self.late] = Progress(firstByte: .zero, received: UInt64(moment) * (25 << 10))
            slow += detector.look(progress, at: .milliseconds(moment * 250))
        }
        #expect(slow.isEmpty)
    }

    @Test("One request in twenty may be sent twice, after a first one at once")
    func budget() {
        var detector = StallDetector()
        var spent = 0
        for id in 0..<UInt64(2000) {
            detector.began(id, kind: "size", expected: nil, at: .zero)
            detector.ended(id, Progress(received: 0), isUsual: false, at: .zero)
            if detector.spend() { spent += 1 }
        }
        #expect((95...101).contains(spent))
        // What was not needed is not saved up for a day when the server is slow.
        var saved = StallDetector()
        for id in 0..<UInt64(2000) { saved.began(id, kind: "size", expected: nil, at: .zero) }
        var burst = 0
        while saved.spend() { burst += 1 }
        #expect(burst == 4)
    }
}
