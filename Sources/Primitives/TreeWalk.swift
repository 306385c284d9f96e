/// Goes through a tree of directories, each with what is below it before the next; of each directory on the way a few of
/// those in it are opened ahead, so that memory is bounded by the depth, whatever the size of the tree.
///
/// Used by one task at a time.
public final class TreeWalk<Node: Sendable, Content: Sendable> {
    /// What it comes to.
    public enum Step: Sendable {
        /// A directory; those in it follow, then its `leave`.
        case enter(Node, Content)
        /// The end of a directory that was entered.
        case leave(Node)
    }

    private typealias Opened = (node: Node, content: Content)

    private let ahead: Int
    private let open: @Sendable (Node) async -> Content
    private let directories: (Node, Content) -> [Node]
    private var root: Node?
    private var levels: [(node: Node, below: Lookahead<Node, Opened>)] = []

    /// Makes one; nothing is opened before the first step.
    ///
    /// - Parameters:
    ///   - root: Where it begins.
    ///   - ahead: How many directories of one are opened at once.
    ///   - open: Finds out what is in a directory.
    ///   - directories: The directories in a directory, in the order in which they are to be gone through.
    public init(
        _ root: Node,
        ahead: Int = 8,
        open: @escaping @Sendable (Node) async -> Content,
        directories: @escaping (Node, Content) -> [Node]
    ) {
        self.root = root
        self.ahead = ahead
        self.open = open
        self.directories = directories
    }

    /// The next step; nothing after the last.
    public func next() async -> Step? {
        if let root = self.root {
            self.root = nil
            return self.enter((root, await self.open(root)))
        }
        guard let level = self.levels.last else { return nil }
        if let opened = await level.below.next() { return self.enter(opened) }
        self.levels.removeLast()
        return .leave(level.node)
    }

    private func enter(_ opened: Opened) -> Step {
        let open = self.open
        let nodes = self.directories(opened.node, opened.content)
        self.levels.append((opened.node, Lookahead(self.ahead, over: nodes) { ($0, await open($0)) }))
        return .enter(opened.node, opened.content)
    }
}
