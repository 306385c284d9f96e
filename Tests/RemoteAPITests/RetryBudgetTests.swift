import Testing

@testable import RemoteAPI

@Suite("How often calls are repeated over a whole mount")
struct RetryBudgetTests {
    @Test("A caller who is alone repeats at once, however long the service is away")
    func alone() {
        var budget = RetryBudget()
        for second in 0..<1000 {
            budget.noteRequest()
            #expect(budget.takeTurn(at: .seconds(second)) == .zero)
        }
    }

    @Test("Of many that fail at once 64 are repeated at once, the others ten in a second, none is given up")
    func together() {
        var budget = RetryBudget()
        let waits = (0..<300).map { _ in budget.takeTurn(at: .seconds(5)) }
        #expect(waits.count { $0 == .zero } == 64)
        #expect(waits.count { $0 <= .milliseconds(1001) } == 74)
        for _ in 0..<700 { #expect(budget.takeTurn(at: .seconds(5)) <= .seconds(30)) }
        // Once it is over there is as much as at first.
        #expect(budget.takeTurn(at: .seconds(100)) == .zero)
    }

    @Test("Among many requests a tenth may be repeated without a wait, and not a fifth")
    func tenth() {
        var budget = RetryBudget()
        var waits = [0, 0]
        for (index, requestCount) in [11, 5].enumerated() {
            for _ in 0..<1000 {
                for _ in 0..<requestCount { budget.noteRequest() }
                if budget.takeTurn(at: .zero) > .zero { waits[index] += 1 }
            }
        }
        #expect(waits[0] == 0)
        #expect(waits[1] > 800)
    }
}
