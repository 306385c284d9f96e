/// What the person in front sees of a copy: a line while it goes on, on a terminal, and what became of it.
struct CopyReport {
    private let copier: Copier
    private let start = ContinuousClock.now

    init(_ copier: Copier) { self.copier = copier }

    /// Copies, and waits for it.
    ///
    /// - Parameters:
    ///   - pairs: What is to be copied.
    ///   - isStopped: Whether somebody wants it to end.
    /// - Throws: The status, if not all was copied.
    func watch(_ pairs: [CopyPair], isStopped: () -> Bool) throws {
        let copier = self.copier
        var line = CopyProgressLine()
        try Blocking.run(
            checkingEvery: .milliseconds(200),
            {
                if Terminal.hasPersonAtStandardError {
                    let width = max(1, min(78, Terminal.columnsAtStandardError - 1))
                    Terminal.showProgress(
                        line.text(copier.progress.counts, at: .now - self.start, width: width)
                    )
                }
                return !isStopped() && copier.stopReason == nil
            },
            { await copier.copy(pairs) }
        )
        Terminal.clearProgress()
        try self.conclude(wasStopped: isStopped())
    }

    private func conclude(wasStopped: Bool) throws(ExitStatus) {
        let counts = self.copier.progress.counts
        let done =
            Self.files(counts.copied, "copied")
            + (counts.skipped > 0 ? ", \(counts.skipped) there already" : "")
        if wasStopped {
            Terminal.note("stopped: \(done), the others not; --resume goes on")
            throw .interrupted
        }
        let failures = self.copier.run.failureCount
        if let reason = self.copier.stopReason {
            Terminal.note("given up, as \(reason): \(done), the others not; --resume goes on")
            throw .failure
        }
        if failures > 0 {
            Terminal.note("\(done), \(failures) failed")
            throw .failure
        }
        guard Terminal.hasPersonAtStandardError else { return }
        let (seconds, attoseconds) = (ContinuousClock.now - self.start).components
        let time = Double(seconds) + Double(attoseconds) / 1e18
        let rate = ByteCountText.short(UInt64(Double(counts.bytes) / max(time, 0.001)))
        let bytes = ByteCountText.short(counts.bytes)
        Terminal.note("\(done): \(bytes) in \(CopyProgressLine.clock(time)), \(rate)/s")
    }

    private static func files(_ count: Int, _ verb: String) -> String {
        "\(count) file\(count == 1 ? "" : "s") \(verb)"
    }
}
