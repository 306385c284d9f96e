import Testing

@testable import DiskCaching

@Suite("How fast the disk takes blocks")
struct WritePaceTests {
    @Test("A disk that hangs at the very first piece counts as one that takes nothing")
    func hangsAtOnce() {
        let pace = WritePace()
        #expect(pace.bytesPerSecond() == .infinity)
        pace.begin()
        #expect(pace.bytesPerSecond() == .infinity)
        #expect(pace.bytesPerSecond(at: .now + .seconds(3)) == 0)
    }

    @Test("So does one that hangs before anything is written to it, once something waits for it")
    func hangsBefore() {
        let pace = WritePace()
        pace.expect()
        #expect(pace.bytesPerSecond() == .infinity)
        #expect(pace.bytesPerSecond(at: .now + .seconds(3)) == 0)
    }
}
