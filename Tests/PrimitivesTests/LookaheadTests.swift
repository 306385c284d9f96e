import Primitives
import Synchronization
import TestKit
import Testing

@Suite("Working ahead")
struct LookaheadTests {
    @Test("Results come in the inputs' order, whichever is ready first")
    func order() async {
        let first = OneShot<Void>()
        let results = Lookahead(4, over: 0..<8) { number -> Int in
            if number == 0 { _ = await first.wait() }
            if number == 3 { first.resolve(()) }
            return number * 10
        }
        var seen: [Int] = []
        while let result = await results.next() { seen.append(result) }
        #expect(seen == [0, 10, 20, 30, 40, 50, 60, 70])
    }

    @Test("No more inputs are taken than may be worked on at once")
    func bound() async {
        let taken = Mutex(0)
        let results = Lookahead(
            3,
            over: (0..<10).lazy.map { number in
                taken.withLock { $0 += 1 }; return number
            }
        ) { $0 }
        #expect(taken.withLock(\.self) == 0)
        _ = await results.next()
        #expect(taken.withLock(\.self) == 3)
        _ = await results.next()
        #expect(taken.withLock(\.self) == 4)
    }

    @Test("What is under way is cancelled when nobody can take it any more")
    func abandoned() async {
        let (begun, ended) = (Tally(), Tally())
        var results: Lookahead<Int, Void>? = Lookahead(2, over: 0..<2) { number in
            if number == 0 { return }
            begun.add()
            _ = await OneShot<Void>().wait()
            ended.add()
        }
        _ = await results?.next()
        await begun.reached(1)
        results = nil
        await ended.reached(1)
    }
}
