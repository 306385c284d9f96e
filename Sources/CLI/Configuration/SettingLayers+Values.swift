import Logging

// The texts of settings as values; every error names the text and where it stands.

extension SettingLayers {
    /// Seconds, also broken ones.
    func duration(
        _ name: SettingName,
        default standard: Duration,
        isZeroAllowed: Bool
    ) throws(UserError) -> Duration {
        guard let setting = self[name] else { return standard }
        // A year: more would overflow when clocks add it up.
        guard let seconds = Double(setting.text), seconds.isFinite, (0...31_536_000).contains(seconds),
            isZeroAllowed || seconds > 0
        else {
            throw self.refusal(setting, isZeroAllowed ? "a number of seconds" : "a number of seconds above 0")
        }
        return .seconds(seconds)
    }

    /// A whole number.
    func integer(
        _ name: SettingName,
        default standard: Int,
        in range: ClosedRange<Int>
    ) throws(UserError) -> Int {
        guard let setting = self[name] else { return standard }
        guard let number = Int(setting.text), range.contains(number) else {
            throw self.refusal(setting, "a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// Bytes, also as K, M, G or T of 1024.
    func byteCount(
        _ name: SettingName,
        default standard: Int,
        in range: ClosedRange<Int>
    ) throws(UserError) -> Int {
        guard let setting = self[name] else { return standard }
        let unit = setting.text.last.flatMap { "KMGT".firstIndex(of: Character($0.uppercased())) }
        let power = unit.map { "KMGT".distance(from: "KMGT".startIndex, to: $0) + 1 } ?? 0
        let digits = unit == nil ? setting.text[...] : setting.text.dropLast()
        let (bytes, overflow) = (Int(digits) ?? -1).multipliedReportingOverflow(by: 1 << (10 * power))
        guard !overflow, range.contains(bytes), digits.first != "+" else {
            let least = range.lowerBound == 0 ? "0" : "\(range.lowerBound >> 20)M"
            throw self.refusal(setting, "a size such as 512M or 10G, at least \(least)")
        }
        return bytes
    }

    /// One of a few words.
    func choice<Value: RawRepresentable<String> & CaseIterable>(
        _ name: SettingName,
        default standard: Value
    ) throws(UserError) -> Value {
        guard let setting = self[name] else { return standard }
        guard let value = Value(rawValue: setting.text) else {
            throw self.refusal(setting, Value.allCases.map(\.rawValue).joined(separator: " or "))
        }
        return value
    }

    /// A user's or group's number.
    func identity(_ name: SettingName, default standard: UInt32) throws(UserError) -> UInt32 {
        guard let setting = self[name] else { return standard }
        // The highest number means "no change" to chown(2).
        guard let number = UInt32(setting.text), number < .max else {
            throw self.refusal(setting, "the number of a user or group (see: id)")
        }
        return number
    }

    /// A mask of permission bits, in octal.
    func mask(_ name: SettingName) throws(UserError) -> UInt32? {
        guard let setting = self[name] else { return nil }
        guard !setting.text.hasPrefix("+"), let mask = UInt32(setting.text, radix: 8), mask <= 0o777 else {
            throw self.refusal(setting, "an octal number up to 777, such as 022")
        }
        return mask
    }

    /// The least level that is logged.
    var logLevel: Logger.Level {
        get throws(UserError) {
            guard let setting = self[.logLevel] else { return .info }
            guard let level = LogState.level(setting.text) else {
                throw self.refusal(setting, LogState.levelNames)
            }
            return level
        }
    }

    /// Where to listen, on this machine alone.
    func metricsAddress(_ name: SettingName) throws(UserError) -> MetricsAddress? {
        guard let setting = self[name] else { return nil }
        guard let address = MetricsAddress(setting.text) else {
            throw self.refusal(setting, "127.0.0.1:PORT, [::1]:PORT or the absolute path of a socket")
        }
        return address
    }

    private func refusal(_ setting: Setting, _ expectation: String) -> UserError {
        UserError("\(setting.origin) is '\(Printable.text(setting.text))' and must be \(expectation)")
    }
}
