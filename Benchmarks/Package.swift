// swift-tools-version: 6.2
import PackageDescription

// A package of its own: what measures the driver is no part of what is shipped.
let package = Package(
    name: "benchmarks",
    products: [
        .executable(name: "delay-proxy", targets: ["DelayProxy"]),
        .executable(name: "do-nothing", targets: ["DoNothing"]),
    ],
    targets: [
        .executableTarget(
            name: "DelayProxy",
            swiftSettings: [.enableUpcomingFeature("ExistentialAny"), .treatAllWarnings(as: .error)]
        ),
        // In C, as the fastest driver that libfuse allows.
        .executableTarget(name: "DoNothing", linkerSettings: [.linkedLibrary("fuse3")]),
    ]
)
