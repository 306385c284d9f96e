import Testing

@testable import CLI

@Suite("How much memory a mount takes")
struct MemoryBudgetTests {
    @Test("128 MiB, a quarter where there is little, and never less than reading needs")
    func automatic() {
        #expect(MemoryBudget.automatic(limits: [64 << 30]) == 128 << 20)
        #expect(MemoryBudget.automatic(limits: [64 << 30, 256 << 20]) == 64 << 20)
        #expect(MemoryBudget.automatic(limits: [8 << 20]) == 16 << 20)
        #expect(MemoryBudget.automatic(limits: []) == 128 << 20)
    }

    @Test("The limits of a control group and of all above it count")
    func groups() {
        let files = [
            "/sys/fs/cgroup/a.slice/b.service/memory.max": "max\n",
            "/sys/fs/cgroup/a.slice/memory.max": "268435456\n",
        ]
        #expect(MemoryBudget.groupLimits(of: "0::/a.slice/b.service\n") { files[$0] } == [256 << 20])
        #expect(MemoryBudget.groupLimits(of: "0::/\n") { files[$0] } == [])
        #expect(MemoryBudget.groupLimits(of: "4:memory:/a\n") { _ in "1" } == [])
        #expect(MemoryBudget.groupLimits(of: "") { _ in "1" } == [])
    }

    @Test("A group's path cannot lead out of the control groups' filesystem")
    func escape() {
        var asked: [String] = []
        _ = MemoryBudget.groupLimits(of: "0::/../../etc\n") { path in
            asked.append(path)
            return nil
        }
        #expect(asked.allSatisfy { $0.hasPrefix("/sys/fs/cgroup") })
    }
}
