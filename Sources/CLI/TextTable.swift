/// Rows of cells for a person: below one another, or where that is too wide, a line for each cell.
struct TextTable {
    /// The columns' titles.
    let titles: [String]
    /// The rows, each with as many cells.
    let rows: [[String]]

    /// Lays it out.
    ///
    /// - Parameter width: How many columns a line may have; nothing if nobody looks.
    /// - Returns: The lines.
    func lines(width: Int?) -> [String] {
        let all = [self.titles] + self.rows
        let widths = self.titles.indices.map { column in
            all.map { Printable.columns($0[column]) }.max() ?? 0
        }
        let total = widths.reduce(0, +) + 2 * (widths.count - 1)
        if let width, total > width { return self.stacked }
        return all.map { cells in
            zip(cells, widths).enumerated().map { column, cell in
                let isLast = column == widths.count - 1
                return isLast ? cell.0 : Printable.padded(cell.0, to: cell.1)
            }.joined(separator: "  ")
        }
    }

    private var stacked: [String] {
        let blocks = self.rows.map { row in
            zip(self.titles, row).map { "\($0.lowercased()): \($1)" }
        }
        return Array(blocks.joined(separator: [""]))
    }
}
