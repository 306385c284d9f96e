/// Guesses what a misspelt word was meant to be.
enum NearSpelling {
    /// `; did you mean WORD?` if a word is near; else nothing.
    static func hint(_ word: String, among words: [String]) -> String {
        let near = words.map { (word: $0, distance: Self.distance(word, $0)) }.min {
            $0.distance < $1.distance
        }
        // A third of the letters: farther ones are other words.
        guard let near, near.distance <= max(1, near.word.count / 3) else { return "" }
        return "; did you mean \(near.word)?"
    }

    /// How many letters must be added, left out, replaced or swapped with their neighbour.
    static func distance(_ first: String, _ second: String) -> Int {
        let (first, second) = (Array(first.utf8), Array(second.utf8))
        var rows = [Array(0...second.count)]
        for row in 1...max(1, first.count) where row <= first.count {
            var line = [row]
            for column in 1...max(1, second.count) where column <= second.count {
                let isSame = first[row - 1] == second[column - 1]
                var least = min(
                    rows[row - 1][column] + 1,
                    line[column - 1] + 1,
                    rows[row - 1][column - 1] + (isSame ? 0 : 1)
                )
                if row > 1, column > 1, first[row - 1] == second[column - 2],
                    first[row - 2] == second[column - 1]
                {
                    least = min(least, rows[row - 2][column - 2] + 1)
                }
                line.append(least)
            }
            rows.append(line)
        }
        return rows[first.count][second.count]
    }
}
