/// Mounts' figures in the text format of Prometheus, version 0.0.4.
struct MetricsText {
    /// A metric of one mount: its value, or values told apart by labels.
    struct Sample: Equatable {
        /// What follows the metric's name, for a histogram.
        var suffix = ""
        /// Labels beside the mount point.
        var labels: [(name: String, value: String)] = []
        /// The value.
        var value: Double

        static func == (left: Sample, right: Sample) -> Bool {
            left.suffix == right.suffix && left.value == right.value
                && left.labels.elementsEqual(right.labels) { $0 == $1 }
        }
    }

    /// What a metric is.
    enum Kind: String, Sendable {
        case counter
        case gauge
        case histogram
    }

    /// A metric, and where it is in a snapshot.
    struct Family: Sendable {
        let name: String
        let kind: Kind
        let help: String
        let samples: @Sendable (MountStatus) -> [Sample]
    }

    private let statuses: [MountStatus]

    /// Takes the snapshots, each of another mount.
    init(_ statuses: [MountStatus]) { self.statuses = statuses }

    /// All of it; each metric once, with all mounts.
    var text: String {
        var text = ""
        for family in Self.families {
            let lines = self.statuses.flatMap { status in
                family.samples(status).map { Self.line(family.name, $0, status) }
            }
            guard !lines.isEmpty else { continue }
            text += "# HELP \(family.name) \(family.help)\n# TYPE \(family.name) \(family.kind.rawValue)\n"
            text += lines.joined()
        }
        return text
    }

    private static func line(_ name: String, _ sample: Sample, _ status: MountStatus) -> String {
        let labels = ([("mountpoint", status.mountPoint)] + sample.labels)
            .map { "\($0)=\"\(self.escaped($1))\"" }.joined(separator: ",")
        return "\(name)\(sample.suffix){\(labels)} \(self.number(sample.value))\n"
    }

    /// Backslashes, quotes and line ends, as the format has it.
    private static func escaped(_ text: String) -> String {
        // Lines first, by scalars: "\r\n" is one character.
        text.unicodeScalars.split(separator: "\n", omittingEmptySubsequences: false).map { line in
            Printable.escaped(Substring(line)) { $0 == "\\" || $0 == "\"" }
        }.joined(separator: "\\n")
    }

    /// Whole numbers without a point, up to where they are exact.
    private static func number(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 9e15 ? "\(Int64(value))" : "\(value)"
    }
}
