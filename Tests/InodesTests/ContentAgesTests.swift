import Primitives
import Testing

@testable import Inodes

@Suite("How long a version is believed while its size stays the same")
struct ContentAgesTests {
    private let start = ContinuousClock.now

    private func isOverAge(_ ages: inout ContentAges, _ content: UInt64, after seconds: Int, next: UInt64)
        -> Bool
    {
        ages.isOverAge(ContentID(rawValue: content), at: self.start + .seconds(seconds), next: next)
    }

    @Test("A version is taken for another one once its lifetime is over, at most a sixteenth late")
    func lifetime() {
        var ages = ContentAges(lifetime: .seconds(160))
        #expect(!self.isOverAge(&ages, 1, after: 0, next: 5))
        #expect(!self.isOverAge(&ages, 1, after: 159, next: 9))
        #expect(self.isOverAge(&ages, 1, after: 170, next: 9))
        #expect(self.isOverAge(&ages, 4, after: 170, next: 9))
    }

    @Test("A version made later stays")
    func later() {
        var ages = ContentAges(lifetime: .seconds(160))
        _ = self.isOverAge(&ages, 1, after: 0, next: 5)
        _ = self.isOverAge(&ages, 1, after: 100, next: 7)
        #expect(!self.isOverAge(&ages, 6, after: 200, next: 9))
        #expect(self.isOverAge(&ages, 6, after: 270, next: 9))
    }

    @Test("With no lifetime every version is another one at each look")
    func none() {
        var ages = ContentAges(lifetime: .zero)
        #expect(self.isOverAge(&ages, 4, after: 0, next: 5))
    }

    @Test("After a long pause with no look at all the versions from before are over age")
    func pause() {
        var ages = ContentAges(lifetime: .seconds(160))
        _ = self.isOverAge(&ages, 1, after: 0, next: 5)
        #expect(self.isOverAge(&ages, 4, after: 5000, next: 9))
    }
}
