import Synchronization
import TestKit
import Testing
import Transport

@testable import RemoteAPI

@Suite("The watch over what is on the way", .timeLimit(.minutes(5)))
struct StallWatchTests {
    @Test("It looks once an interval, and no longer than there is a request on the way")
    func life() async {
        let sleeps = (0..<3).map { _ in Hold() }
        let count = Atomic<Int>(0)
        let clock = RetryClock(
            now: { .zero },
            sleep: { duration in
                #expect(duration == StallWatch.interval)
                let number = count.add(1, ordering: .relaxed).oldValue
                guard number < sleeps.count, await sleeps[number].pass() else { throw CancellationError() }
            },
            secondsSince1970: { 0 }
        )
        var watch: StallWatch? = StallWatch(clock: clock)
        let ids = (0..<2).compactMap { _ in
            watch?.add(kind: "size", expected: nil, TransferHandle(now: { .zero }), .waitedFor) { true }
        }
        await sleeps[0].reached()
        sleeps[0].release()
        await sleeps[1].reached()
        for id in ids { watch?.remove(id, isUsual: true) }
        sleeps[1].release()
        // Who looks holds it.
        weak let remaining = watch
        watch = nil
        while remaining != nil { await Task.yield() }
        #expect(count.load(ordering: .relaxed) == 2)
    }
}
