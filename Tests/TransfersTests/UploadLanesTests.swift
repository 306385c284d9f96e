import Synchronization
import TestKit
import Testing

@testable import Transfers

@Suite("What uploads share", .timeLimit(.minutes(5)))
struct UploadLanesTests {
    /// Parts that are sent until they are let go.
    private final class Sending: Sendable {
        let lanes: UploadLanes
        let hold = Hold()
        let begun = Mutex<[String]>([])

        init(_ lanes: UploadLanes) { self.lanes = lanes }

        func start(_ name: String, of upload: UploadLanes.Upload, until hold: Hold) -> Task<Bool, Never> {
            Task.immediate {
                await self.lanes.send(upload, 10) { () async -> Bool in
                    self.begun.withLock { $0.append(name) }
                    return await hold.pass()
                } ?? false
            }
        }
    }

    @Test("The next part is of the upload with the fewest on their way, whatever came first")
    func fair() async {
        let sending = Sending(UploadLanes(maximumCount: 2, partSize: 10))
        let (large, small) = (sending.lanes.makeUpload(), sending.lanes.makeUpload())
        let first = Hold()
        var tasks = [sending.start("large 1", of: large, until: first)]
        tasks += (2...4).map { sending.start("large \($0)", of: large, until: sending.hold) }
        tasks.append(sending.start("small", of: small, until: sending.hold))
        first.release()
        #expect(await tasks[0].value)
        await sending.hold.reached(2)
        #expect(sending.begun.withLock { $0 } == ["large 1", "large 2", "small"])
        sending.hold.release()
        for task in tasks { #expect(await task.value) }
    }

    @Test("A part that is cancelled while it waits takes no lane, and gives none back")
    func cancelled() async {
        let sending = Sending(UploadLanes(maximumCount: 1, partSize: 10))
        let upload = sending.lanes.makeUpload()
        let first = sending.start("first", of: upload, until: sending.hold)
        let second = sending.start("second", of: upload, until: sending.hold)
        let third = sending.start("third", of: upload, until: sending.hold)
        second.cancel()
        #expect(await !second.value)
        #expect(sending.begun.withLock { $0 } == ["first"])
        sending.hold.release()
        #expect(await first.value)
        #expect(await third.value)
        #expect(sending.begun.withLock { $0 } == ["first", "third"])
    }

    @Test("Small parts wait for no lane")
    func small() async {
        let lanes = UploadLanes(maximumCount: 1)
        let upload = lanes.makeUpload()
        let isSent = await lanes.send(upload, 1 << 20) { () async -> Bool in
            await lanes.send(upload, (1 << 20) - 1) { () async -> Bool in true } ?? false
        }
        #expect(isSent == true)
    }

    @Test("As many parts go at once as the way holds: few where it is short, more where it is long and wide")
    func pace() {
        let start = ContinuousClock.now
        var pace = UploadPace()
        #expect(pace.laneCount == 8)
        pace.add(roundTrip: .milliseconds(50))
        // Two parts of 50 MiB side by side in half a second: 200 MiB a second, of which 10 MiB are on their way.
        pace.begin(at: start)
        pace.add(50 << 20, at: start + .milliseconds(500), isLast: false)
        pace.add(50 << 20, at: start + .milliseconds(500), isLast: true)
        #expect(pace.rate == Double(200 << 20))
        #expect(pace.laneCount == 14)
        pace.add(roundTrip: .milliseconds(1))
        #expect(pace.laneCount == 5)
    }

    @Test("What is sent in a moment says nothing about the way, nor does the time between two uploads")
    func moments() {
        let start = ContinuousClock.now
        var pace = UploadPace()
        pace.begin(at: start)
        pace.add(8 << 20, at: start + .milliseconds(5), isLast: true)
        #expect(pace.rate == nil)
        pace.begin(at: start + .seconds(60))
        pace.add(8 << 20, at: start + .seconds(61), isLast: true)
        #expect(pace.rate == Double(8 << 20))
    }

    @Test("A way that carries less than it did is noticed, and one slow part is not taken for that")
    func slower() throws {
        var pace = UploadPace()
        var now = ContinuousClock.now
        func send(_ mebibytesPerSecond: Int) {
            pace.begin(at: now)
            now += .seconds(1)
            pace.add(mebibytesPerSecond << 20, at: now, isLast: true)
        }
        send(100)
        send(10)
        #expect(try #require(pace.rate) > Double(80 << 20))
        for _ in 0..<20 { send(10) }
        #expect(try #require(pace.rate) < Double(15 << 20))
    }
}
