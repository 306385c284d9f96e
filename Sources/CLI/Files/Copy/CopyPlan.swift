import RemoteAPI
import WireFormat

/// One thing that is to be copied.
struct CopyPair: Sendable {
    /// What is read.
    let source: CopyPlace
    /// What is written.
    let target: CopyPlace
    /// What is there in a filesystem; of a local target it is looked at when it is its turn.
    let existing: EntryKind?
    /// Whether the content of a directory goes to one, without a name of its own.
    var isContent = false

    /// The pair of a child of the source.
    func appending(_ name: FileName, existing: EntryKind?) -> CopyPair {
        CopyPair(
            source: self.source.appending(name),
            target: self.target.appending(name),
            existing: existing
        )
    }
}

/// What goes where: as `cp` does it.
enum CopyPlan {
    /// What goes to a directory goes into it under its own name; its content alone if it has none.
    ///
    /// - Parameters:
    ///   - sources: What is copied, at least one.
    ///   - target: Where to.
    ///   - targetKind: What is there.
    ///   - names: What a directory of a filesystem that is there holds.
    ///   - id: The filesystem's id of a place: it may be named by it, or by its name.
    /// - Returns: The pairs, in the sources' order.
    /// - Throws: If that cannot be.
    static func pairs(
        _ sources: [CopyArgument],
        to target: CopyArgument,
        of targetKind: EntryKind?,
        holding names: [FileName: EntryKind],
        id: (RemoteLocation) -> FilesystemID
    ) throws(UserError) -> [CopyPair] {
        if sources.count > 1, targetKind != .directory {
            throw UserError("\(target.place.shown) is no directory, to which several could be copied")
        }
        var pairs: [CopyPair] = []
        var seen: [CopyPlace: CopyPlace] = [:]
        for source in sources {
            var pair = CopyPair(source: source.place, target: target.place, existing: targetKind)
            if targetKind == .directory, let name = source.name {
                pair = CopyPair(
                    source: source.place,
                    target: target.place.appending(name),
                    existing: names[name]
                )
                if let other = seen.updateValue(source.place, forKey: pair.target) {
                    let both = "\(other.shown) and \(source.place.shown)"
                    throw UserError("\(both) would both become \(pair.target.shown)")
                }
            } else {
                pair.isContent = targetKind == .directory
            }
            try self.check(pair, id)
            pairs.append(pair)
        }
        return pairs
    }

    /// Refuses what needs no service.
    static func check(_ sources: [CopyArgument], _ target: CopyArgument) throws(UserError) {
        guard target.place.isLocal, let local = sources.first(where: \.place.isLocal) else { return }
        throw UserError("both \(local.place.shown) and \(target.place.shown) are local: use cp(1)")
    }

    /// What is copied into itself never ends, and onto itself is lost.
    private static func check(
        _ pair: CopyPair,
        _ id: (RemoteLocation) -> FilesystemID
    ) throws(UserError) {
        guard case .remote(let source) = pair.source, case .remote(let target) = pair.target,
            id(source) == id(target),
            target.path.components.starts(with: source.path.components)
        else { return }
        throw UserError("\(target.shown) is \(source.shown), or in it")
    }
}
