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
}
