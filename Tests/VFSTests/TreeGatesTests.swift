import Primitives
import Synchronization
import TestKit
import Testing

@testable import VFS

@Suite("Directories that stand still, and one that moves", .timeLimit(.minutes(5)))
struct TreeGatesTests {
    private func inodes(_ numbers: UInt64...) -> Set<InodeNumber> {
        Set(numbers.map { InodeNumber(rawValue: $0) })
    }

    @Test("Changes below one directory go on side by side")
    func shared() async {
        let gates = TreeGates()
        let hold = Hold()
        let first = Task.immediate { await gates.hold(self.inodes(2, 3)) { _ = await hold.pass() } }
        let second = Task.immediate { await gates.hold(self.inodes(3)) { _ = await hold.pass() } }
        await hold.reached(2)
        hold.release()
        await first.value
        await second.value
    }

    @Test("A directory moves only when nothing below it changes, and others go on meanwhile")
    func alone() async {
        let gates = TreeGates()
        let hold = Hold()
        let moved = Tally()
        let change = Task.immediate { await gates.hold(self.inodes(2, 3)) { _ = await hold.pass() } }
        await hold.reached()
        let move = Task.immediate {
            await gates.hold(self.inodes(2), alone: self.inodes(3)) { moved.add() }
        }
        await gates.hold(self.inodes(2, 4)) {}
        #expect(moved.count == 0)
        hold.release()
        await change.value
        await move.value
        #expect(moved.count == 1)
    }

    @Test("A change below a directory that moves waits until it has moved")
    func waits() async {
        let gates = TreeGates()
        let hold = Hold()
        let changed = Tally()
        let move = Task.immediate {
            await gates.hold([], alone: self.inodes(3)) { _ = await hold.pass() }
        }
        await hold.reached()
        let change = Task.immediate { await gates.hold(self.inodes(2, 3)) { changed.add() } }
        await gates.hold(self.inodes(2)) {}
        #expect(changed.count == 0)
        hold.release()
        await move.value
        await change.value
        #expect(changed.count == 1)
    }

    @Test("Moves of directories in one another's paths do not wait for each other for ever")
    func storm() async {
        let gates = TreeGates()
        let done = Tally()
        await withTaskGroup(of: Void.self) { group in
            for index in 0..<200 {
                let alone = self.inodes(UInt64(2 + index % 5))
                let others = self.inodes(UInt64(2 + (index + 1) % 5), UInt64(2 + (index + 3) % 5))
                group.addTask {
                    await gates.hold(others, alone: index % 3 == 0 ? alone : []) { await Task.yield() }
                    done.add()
                }
            }
        }
        #expect(done.count == 200)
    }

    @Test("Who does not wait is let in beside others that share, and not while one moves or is about to")
    func atOnce() async {
        let gates = TreeGates()
        let (sharing, moving) = (Hold(), Hold())
        let change = Task.immediate { await gates.hold(self.inodes(2, 3)) { _ = await sharing.pass() } }
        await sharing.reached()
        #expect(await gates.holdNow(self.inodes(2, 3)) { true } == true)
        let move = Task.immediate {
            await gates.hold([], alone: self.inodes(3)) { _ = await moving.pass() }
        }
        #expect(await gates.holdNow(self.inodes(2, 3)) { true } == nil)
        sharing.release()
        await moving.reached()
        #expect(await gates.holdNow(self.inodes(2, 3)) { true } == nil)
        #expect(await gates.holdNow(self.inodes(2)) { true } == true)
        moving.release()
        await change.value
        await move.value
        #expect(await gates.holdNow(self.inodes(2, 3)) { true } == true)
    }
}
