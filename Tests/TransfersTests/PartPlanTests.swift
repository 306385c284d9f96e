import TestKit
import Testing

@testable import Transfers

@Suite("How files are cut into parts")
struct PartPlanTests {
    private static let mebibyte: UInt64 = 1 << 20

    @Test("Parts cover the file without gaps", arguments: [0, 1, 9, 10, 11, 100, 101] as [UInt64])
    func cover(size: UInt64) {
        let plan = PartPlan(size: size, partSize: 10)
        var end: UInt64 = 0
        for part in plan {
            #expect(part.lowerBound == end)
            #expect(!part.isEmpty && part.count <= 10)
            end = part.upperBound
        }
        #expect(end == size)
        #expect(plan.count == Int((size + 9) / 10))
    }

    @Test(
        "Parts are of a second's bytes, two for each lane and no more than a thousand, from 8 to 64 MiB",
        arguments: [
            // MiB of the file, lanes, MiB a second, MiB of a part.
            (1, 8, nil, 8), (8000, 8, nil, 8), (8001, 8, nil, 9), (64_000, 8, nil, 64),
            (16 << 20, 8, nil, 64),
            (1024, 8, 10, 8), (1024, 8, 160, 20), (1024, 8, 2000, 64), (320, 8, 2000, 20), (100, 8, 2000, 8),
            (100_000, 8, 1, 64), (1024, 4, 1000, 64),
        ] as [(UInt64, Int, Double?, UInt64)]
    )
    func partSize(size: UInt64, lanes: Int, rate: Double?, expected: UInt64) {
        let part = PartPlan.partSize(
            for: size * Self.mebibyte,
            lanes: lanes,
            bytesPerSecond: rate.map { $0 * Double(Self.mebibyte) }
        )
        #expect(part == expected * Self.mebibyte)
    }

    @Test("The largest file that there may be can be planned")
    func largest() {
        let plan = PartPlan(size: .max, partSize: PartPlan.maximumPartSize)
        #expect(plan.last?.upperBound == .max)
    }
}
