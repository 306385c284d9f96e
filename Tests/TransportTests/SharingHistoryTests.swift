import Testing

@testable import Transport

@Suite("Whether requests share a connection")
struct SharingHistoryTests {
    private let start = ContinuousClock.now

    private func answer(_ majorVersion: Int) -> Result<HTTPResponse, TransportError> {
        .success(HTTPResponse(status: 200, majorVersion: majorVersion))
    }

    @Test("A request that was not answered in time keeps others off its connection until its age closes it")
    func timedOut() {
        var history = SharingHistory()
        history.note(self.answer(2), at: self.start)
        #expect(history.isAdvised(at: self.start))
        history.note(.failure(.timedOut), at: self.start)
        // An answer that came meanwhile says nothing of what comes next.
        history.note(self.answer(2), at: self.start)
        #expect(!history.isAdvised(at: self.start + CurlEasy.idleLimit))
        history.note(.failure(.timedOut), at: self.start + .seconds(10))
        #expect(!history.isAdvised(at: self.start + SharingHistory.pause))
        #expect(history.isAdvised(at: self.start + .seconds(10) + SharingHistory.pause))
    }

    @Test("A server that has answered over HTTP/1.1 is never again taken for one that lets requests share")
    func notOffered() {
        var history = SharingHistory()
        history.note(self.answer(1), at: self.start)
        #expect(!history.isAdvised(at: self.start))
        #expect(!history.isAdvised(at: self.start + .seconds(3600)))
    }

    @Test("Other failures, which take their connection with them or are no fault of it, change nothing")
    func otherFailures() {
        var history = SharingHistory()
        for error in [TransportError.cancelled, .interrupted("reset"), .notConnected("no"), .refusedBySink] {
            history.note(.failure(error), at: self.start)
            #expect(history.isAdvised(at: self.start))
        }
    }
}
