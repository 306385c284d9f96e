import Glibc

/// The statuses of one mount or of all that the user may ask about, one after another.
struct StatusReader {
    /// A mount, and what is known of it.
    struct Report {
        /// Where it is.
        let mount: MountTable.Entry
        /// What came of asking.
        var outcome: MountInquiry.Outcome
    }

    private let mountPoint: MountedDriver?
    private let environment: Environment
    private var last: [Int: MountStatus] = [:]

    /// How long is looked at for what goes on now, where nothing was asked before.
    private static let pause: UInt32 = 500_000

    /// Takes what the person typed.
    ///
    /// - Parameters:
    ///   - mountPoint: Without one all mounts that the user may ask about.
    ///   - environment: Who asks.
    /// - Throws: If there is no such place.
    init(_ mountPoint: String?, environment: Environment) throws(UserError) {
        if let mountPoint {
            self.mountPoint = try MountedDriver(mountPoint, environment: environment)
        } else {
            self.mountPoint = nil
        }
        self.environment = environment
    }

    /// Whether one mount is asked about.
    var isOne: Bool { self.mountPoint != nil }

    /// Asks once.
    ///
    /// - Throws: If there is no mount where one was named, or it does not answer.
    mutating func read() throws(UserError) -> [Report] {
        let reports: [Report]
        if let mountPoint {
            let inquiry = MountInquiry(mount: try mountPoint.mount(), environment: self.environment)
            reports = self.ask([inquiry])
            if let refusal = reports.first?.outcome.refusal {
                throw UserError("\(mountPoint.shown): \(refusal)")
            }
        } else {
            reports = self.ask(try MountInquiry.all(self.environment)).filter {
                if case .hidden = $0.outcome { false } else { true }
            }
        }
        return reports
    }

    /// Asks, if need be twice, for what goes on now. Who does not answer is not asked twice.
    mutating func readThroughput() throws(UserError) -> [Report] {
        let isFirst = self.last.isEmpty
        var reports = try self.read()
        let answering = reports.indices.filter { reports[$0].outcome.status != nil }
        guard isFirst, !answering.isEmpty else { return reports }
        usleep(Self.pause)
        let inquiries = answering.map {
            MountInquiry(mount: reports[$0].mount, environment: self.environment)
        }
        for (index, report) in zip(answering, self.ask(inquiries)) { reports[index] = report }
        return reports
    }

    private mutating func ask(_ inquiries: [MountInquiry]) -> [Report] {
        let outcomes = MountInquiry.ask(inquiries)
        let reports = zip(inquiries, outcomes).map { inquiry, outcome in
            guard case .status(var status) = outcome, let before = self.last[inquiry.mount.id] else {
                return Report(mount: inquiry.mount, outcome: outcome)
            }
            status.takeThroughput(since: before)
            return Report(mount: inquiry.mount, outcome: .status(status))
        }
        self.last = [:]
        for report in reports { self.last[report.mount.id] = report.outcome.status }
        return reports
    }
}
