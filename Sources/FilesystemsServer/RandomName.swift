/// Names that nobody can guess: of uploads, downloads and what is being removed.
enum RandomName {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")

    /// 26 letters and digits, 130 random bits.
    static func make() -> String {
        var generator = SystemRandomNumberGenerator()
        return String((0..<26).map { _ in Self.alphabet[Int(generator.next() & 31)] })
    }
}
