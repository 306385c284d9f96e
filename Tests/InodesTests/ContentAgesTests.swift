import Primitives
import Testing

@testable import Inodes

@Suite("How long a version is believed while its size stays the same")
struct ContentAgesTests {
    private let start = ContinuousClock.now

    private func ages(_ seconds: Int) -> ContentAges {
        ContentAges(lifetime: .seconds(seconds), from: self.start)
    }

    private func isOverAge(_ ages: inout ContentAges, _ content: UInt64, after seconds: Int) -> Bool {
        ages.isOverAge(ContentID(rawValue: content), at: self.start + .seconds(seconds))
    }

    @Test("A version is taken for another one once its lifetime is over, at most a sixteenth early")
    func lifetime() {
        var ages = self.ages(160)
        for second in 0..<100 { ages.note(next: UInt64(second), at: self.start + .seconds(second)) }
        // Made after 50 seconds.
        #expect(!self.isOverAge(&ages, 50, after: 199))
        #expect(self.isOverAge(&ages, 50, after: 210))
        #expect(!self.isOverAge(&ages, 99, after: 210))
    }

    @Test("A version made after a long pause is believed for its own lifetime, and no longer")
    func pause() {
        var ages = self.ages(160)
        ages.note(next: 1, at: self.start)
        ages.note(next: 2, at: self.start + .seconds(5000))
        #expect(!self.isOverAge(&ages, 2, after: 5100))
        #expect(self.isOverAge(&ages, 1, after: 5100))
        #expect(self.isOverAge(&ages, 2, after: 5160))
    }

    @Test("A version that nobody looked at for long is over age at the first look")
    func idle() {
        var ages = self.ages(160)
        ages.note(next: 1, at: self.start)
        #expect(self.isOverAge(&ages, 1, after: 50_000))
        #expect(self.isOverAge(&ages, 7, after: 50_001))
    }

    @Test("With no lifetime every version is another one at each look")
    func none() {
        var ages = self.ages(0)
        ages.note(next: 4, at: self.start)
        #expect(self.isOverAge(&ages, 4, after: 0))
    }
}
