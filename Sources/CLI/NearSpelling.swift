/// What somebody may have meant by a name that does not exist.
enum NearSpelling {
    /// `; did you mean NAME?` if one is near; else nothing.
    static func hint(_ text: String, among names: [String]) -> String {
        self.of(text, among: names).map { "; did you mean \($0)?" } ?? ""
    }

    /// The name that is nearest to a text: other letters' case, or a letter or two more, less or other.
    ///
    /// - Returns: Nothing if none is near, or the text is too short to tell.
    static func of(_ text: String, among names: [String]) -> String? {
        let wanted = Array(text.lowercased())
        guard wanted.count > 1 else { return nil }
        // Of three letters one may be wrong, of more two.
        let limit = wanted.count > 3 ? 2 : 1
        let near = names.map { ($0, self.distance(wanted, Array($0.lowercased()))) }.filter { $0.1 <= limit }
        // Of several as near the longest, which has most of the letters: `umount` is rather unmount than mount.
        return near.min { ($0.1, -$0.0.utf8.count, $0.0) < ($1.1, -$1.0.utf8.count, $1.0) }?.0
    }

    /// How many letters have to be put in, taken out, changed, or swapped with the next, to make one of the other.
    private static func distance(_ one: [Character], _ other: [Character]) -> Int {
        // Long names cannot be near where their lengths are not.
        guard abs(one.count - other.count) <= 2, one.count <= 255 else { return .max }
        var beforeLast: [Int] = []
        var last = Array(0...other.count)
        for (row, letter) in one.enumerated() {
            var current = [row + 1]
            for (column, otherLetter) in other.enumerated() {
                var best = min(
                    last[column] + (letter == otherLetter ? 0 : 1),
                    last[column + 1] + 1,
                    current[column] + 1
                )
                if row > 0, column > 0, letter == other[column - 1], one[row - 1] == otherLetter {
                    best = min(best, beforeLast[column - 1] + 1)
                }
                current.append(best)
            }
            (beforeLast, last) = (last, current)
        }
        return last[other.count]
    }
}
