import Primitives
import RemoteAPI
import TestKit
import Testing
import WireFormat

@testable import Inodes

@Suite("What the kernel takes a file's size to be", .timeLimit(.minutes(5)))
struct KernelSizeTests {
    let fixture = Fixture()

    var namespace: Namespace { self.fixture.namespace }

    /// The file has so many bytes on the service from now on, and that is found out.
    @discardableResult
    private func become(_ count: Int) async throws -> InodeNumber {
        self.fixture.remote.put("a", pattern(count))
        let file = try await self.fixture.inode("a")
        self.fixture.expire()
        #expect(try await self.namespace.version(of: file).size == UInt64(count))
        return file
    }

    @Test("Reads that fail make the kernel forget a file once: more would have it miss the size")
    func once() async throws {
        let file = try await self.become(300)
        _ = self.namespace.countLookup(file)
        self.namespace.tell(file, size: 300)
        try await self.become(200)
        #expect(self.namespace.mustBeForgotten(file))
        #expect(!self.namespace.mustBeForgotten(file))
        self.namespace.tell(file, size: 200)
        #expect(!self.namespace.mustBeForgotten(file))
    }

    @Test("A kernel that was told a size since it forgot a file forgets it again if that becomes shorter")
    func shorterAgain() async throws {
        let file = try await self.become(300)
        _ = self.namespace.countLookup(file)
        try await self.become(200)
        #expect(self.namespace.mustBeForgotten(file))
        self.namespace.tell(file, size: 200)
        try await self.become(100)
        #expect(self.namespace.mustBeForgotten(file))
    }

    @Test("A kernel that was told a larger size since it forgot a file is made to forget it again")
    func longerMeanwhile() async throws {
        let file = try await self.become(200)
        _ = self.namespace.countLookup(file)
        #expect(self.namespace.mustBeForgotten(file))
        self.namespace.tell(file, size: 300)
        self.namespace.tell(file, size: 200)
        #expect(self.namespace.mustBeForgotten(file))
    }

    @Test("A kernel that wrote beyond a file's end since it forgot the file is made to forget it again")
    func written() async throws {
        let file = try await self.become(200)
        _ = self.namespace.countLookup(file)
        #expect(self.namespace.mustBeForgotten(file))
        self.namespace.didWrite(file, size: 300, at: Fixture.time)
        #expect(self.namespace.mustBeForgotten(file))
    }

    @Test("What the kernel forgot is not kept longer than the file's number")
    func bounded() async throws {
        let file = try await self.become(200)
        _ = self.namespace.countLookup(file)
        #expect(self.namespace.mustBeForgotten(file))
        self.namespace.forget(file, count: 1)
        #expect(self.namespace.state.withLock { $0.forgotten.isEmpty })
    }

    @Test("A direct read may go beyond the end of a file that was larger once: the kernel fills nothing up")
    func direct() async throws {
        let file = try await self.become(300_000)
        _ = self.namespace.countLookup(file)
        self.namespace.tell(file, size: 300_000)
        self.namespace.tell(file, size: 100_000)
        func expects(_ range: Range<UInt64>, isDirect: Bool = true) -> Bool {
            self.namespace.kernelExpects(range, of: file, beyond: 100_000, isDirect: isDirect)
        }
        #expect(!expects(0..<200_000))
        #expect(expects(0..<200_000, isDirect: false))
        // The kernel asks for nothing beyond the end that it knows of.
        #expect(expects(102_400..<200_000))
        // What such a read leaves of the size that the kernel knows of it reads as pages.
        self.namespace.tell(file, size: 150_000)
        #expect(expects(0..<200_000))
    }

    @Test("A kernel may expect more than a file has only if it was told so at some time")
    func expectation() async throws {
        let file = try await self.become(300)
        _ = self.namespace.countLookup(file)
        self.namespace.tell(file, size: 200)
        #expect(!self.namespace.kernelMayExpectMore(than: 200, of: file))
        #expect(self.namespace.kernelMayExpectMore(than: 199, of: file))
        self.namespace.tell(file, size: 300)
        self.namespace.tell(file, size: 200)
        #expect(self.namespace.kernelMayExpectMore(than: 200, of: file))
        #expect(!self.namespace.kernelMayExpectMore(than: 300, of: file))
    }
}
