import Inodes
import Primitives
import Testing

@testable import VFS

@Suite("Which file is uploaded next")
struct UploadScheduleTests {
    private let start = ContinuousClock.now

    private func inode(_ number: Int) -> InodeNumber { InodeNumber(rawValue: UInt64(number)) }

    /// Starts all that may be started now.
    private func startAll(_ schedule: inout UploadSchedule, at now: ContinuousClock.Instant) -> [InodeNumber]
    {
        var started: [InodeNumber] = []
        while case .start(let file) = schedule.next(now: now) { started.append(file) }
        return started
    }

    private func schedule(files: Range<Int>, byteCount: UInt64 = 1) -> UploadSchedule {
        var schedule = UploadSchedule()
        for number in files {
            schedule.add(self.inode(number), byteCount: byteCount, due: self.start, now: self.start)
        }
        return schedule
    }

    @Test("Many small files go up at once, as many as the limit, and one more whenever one ends")
    func manySmallFiles() {
        var schedule = self.schedule(files: 0..<100)
        let first = self.startAll(&schedule, at: self.start)
        #expect(first == (0..<UploadSchedule.capacity).map(self.inode))
        schedule.end(self.inode(0), .done, now: self.start)
        #expect(self.startAll(&schedule, at: self.start) == [self.inode(UploadSchedule.capacity)])
    }

    @Test("Few large files go up at once")
    func fewLargeFiles() {
        var schedule = self.schedule(files: 0..<100, byteCount: 1 << 30)
        #expect(self.startAll(&schedule, at: self.start).count == 7)
    }

    @Test("A file is never uploaded twice at once, and again after it changed meanwhile")
    func again() {
        var schedule = self.schedule(files: 0..<1)
        #expect(self.startAll(&schedule, at: self.start) == [self.inode(0)])
        schedule.add(self.inode(0), byteCount: 1, due: self.start, now: self.start)
        #expect(schedule.next(now: self.start) == .idle)
        let waits = schedule.end(self.inode(0), .outrun, now: self.start)
        #expect(waits)
        #expect(self.startAll(&schedule, at: self.start) == [self.inode(0)])
        let waitsStill = schedule.end(self.inode(0), .done, now: self.start)
        #expect(!waitsStill)
        #expect(schedule.next(now: self.start) == .idle)
    }

    @Test("A temporary name waits its time, no longer once renamed, and anew when it was written again")
    func delays() {
        var schedule = UploadSchedule()
        let due = self.start + .seconds(30)
        schedule.add(self.inode(1), byteCount: 1, due: due, now: self.start)
        #expect(schedule.next(now: self.start) == .wait(until: due))
        #expect(schedule.next(now: due) == .start(self.inode(1)))

        schedule.add(self.inode(2), byteCount: 1, due: due, now: self.start)
        schedule.add(self.inode(2), byteCount: 1, due: self.start, now: self.start)
        #expect(schedule.next(now: self.start) == .start(self.inode(2)))

        schedule.add(self.inode(3), byteCount: 1, due: due, now: self.start)
        let later = self.start + .seconds(45)
        schedule.add(self.inode(3), byteCount: 1, due: later, now: self.start, isRenewed: true)
        #expect(schedule.next(now: due) == .wait(until: later))
    }

    @Test("After a failure one file at a time is tried, after pauses that grow; after a success all go on")
    func outage() {
        var schedule = self.schedule(files: 0..<200)
        let first = self.startAll(&schedule, at: self.start)
        // All those that were under way fail: one failure of the service.
        for file in first { schedule.end(file, .unanswered, now: self.start) }
        #expect(schedule.failuresInARow == 1)
        var now = self.start
        var pauses: [Duration] = []
        for _ in 0..<9 {
            guard case .wait(let moment) = schedule.next(now: now) else {
                Issue.record("no pause")
                return
            }
            pauses.append(moment - now)
            now = moment
            let started = self.startAll(&schedule, at: now)
            #expect(started.count == 1)
            for file in started { schedule.end(file, .failedForNow, now: now) }
        }
        #expect(pauses == [0.5, 1, 2, 4, 8, 16, 32, 60, 60].map { .seconds($0) })
        now = now + .seconds(60)
        for file in self.startAll(&schedule, at: now) { schedule.end(file, .done, now: now) }
        #expect(self.startAll(&schedule, at: now).count == UploadSchedule.capacity)
    }

    @Test("A file that fails again and again does not hold up the others")
    func oneBadFile() {
        var schedule = self.schedule(files: 0..<2)
        var tries = 0
        for second in 0..<600 {
            let now = self.start + .seconds(second)
            schedule.add(self.inode(1), byteCount: 1, due: now, now: now)
            for file in self.startAll(&schedule, at: now) {
                if file == self.inode(0) { tries += 1 }
                schedule.end(file, file == self.inode(0) ? .failedForNow : .done, now: now)
            }
        }
        #expect(tries >= 10 && tries < 30)
    }

    @Test("Who asks for all to be uploaded ends pauses and delays")
    func hurry() {
        var schedule = self.schedule(files: 0..<1)
        _ = self.startAll(&schedule, at: self.start)
        schedule.end(self.inode(0), .failedForNow, now: self.start)
        schedule.add(self.inode(1), byteCount: 1, due: self.start + .seconds(30), now: self.start)
        #expect(self.startAll(&schedule, at: self.start).isEmpty)
        schedule.hurry()
        #expect(Set(self.startAll(&schedule, at: self.start)) == [self.inode(0), self.inode(1)])
    }

    @Test("Who asks for all to be uploaded has first what was to go first")
    func hurryInOrder() {
        var schedule = UploadSchedule()
        for number in 0..<50 {
            let due = self.start + .seconds(100 - number)
            schedule.add(self.inode(number), byteCount: 1, due: due, now: self.start)
        }
        schedule.hurry()
        #expect(self.startAll(&schedule, at: self.start) == (0..<50).reversed().map(self.inode))
    }

    @Test("An outage is told by silence alone, side by side or one after another, until there is an answer")
    func silence() {
        var schedule = self.schedule(files: 0..<100)
        for file in self.startAll(&schedule, at: self.start) {
            schedule.end(file, .unanswered, now: self.start)
        }
        #expect(schedule.silencesInARow == 1)
        var now = self.start
        let attempts: [(UploadSchedule.Outcome, Int)] = [
            (.unanswered, 2), (.failedForNow, 0), (.unanswered, 1), (.refused, 0), (.unanswered, 1),
            (.done, 0),
        ]
        for (outcome, count) in attempts {
            now = now + .seconds(60)
            guard case .start(let file) = schedule.next(now: now) else {
                Issue.record("nothing is tried")
                return
            }
            schedule.end(file, outcome, now: now)
            #expect(schedule.silencesInARow == count)
        }
    }

    @Test("What was refused is not tried again until it is added again")
    func refused() {
        var schedule = self.schedule(files: 0..<1)
        _ = self.startAll(&schedule, at: self.start)
        let waits = schedule.end(self.inode(0), .refused, now: self.start)
        #expect(!waits && schedule.next(now: self.start) == .idle)
        schedule.add(self.inode(0), byteCount: 1, due: self.start, now: self.start)
        #expect(schedule.next(now: self.start) == .start(self.inode(0)))
    }

    @Test("Nothing goes of a file that was taken out, be it ready or delayed, and all others do")
    func removed() {
        var schedule = self.schedule(files: 0..<3)
        let due = self.start + .seconds(30)
        schedule.add(self.inode(3), byteCount: 1, due: due, now: self.start)
        schedule.add(self.inode(4), byteCount: 1, due: due, now: self.start)
        schedule.remove(self.inode(0))
        schedule.remove(self.inode(3))
        #expect(self.startAll(&schedule, at: self.start) == [self.inode(1), self.inode(2)])
        #expect(self.startAll(&schedule, at: due) == [self.inode(4)])
        for number in [1, 2, 4] { schedule.end(self.inode(number), .done, now: due) }
        #expect(schedule.next(now: due) == .idle && schedule.runningCount == 0)
    }
}
