// swift-tools-version: 6.2
import PackageDescription

// One list for every target of ours: Swift 6 mode (the tools version's default), explicit existentials,
// and no warning that stays.
let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .treatAllWarnings(as: .error),
]

let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")

let package = Package(
    name: "tetherfs",
    products: [
        .executable(name: "tetherfs-server", targets: ["FilesystemsServer"]),
    ],
    dependencies: [
        // Why each is here: docs/dependencies.md.
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.80.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.6.0"),
    ],
    targets: [
        // Layer 0: C as Swift can call it.
        .systemLibrary(
            name: "CCurl",
            pkgConfig: "libcurl",
            providers: [.apt(["libcurl4-openssl-dev"])]
        ),
        .target(name: "CLinux"),

        // Layer 1: values.
        .target(name: "WireFormat", swiftSettings: settings),
        .target(name: "Primitives", swiftSettings: settings),

        // Layers 2 to 4: the service, and what is known of it here.
        .target(name: "Transport", dependencies: ["CCurl", "Primitives"], swiftSettings: settings),
        .target(
            name: "RemoteAPI",
            dependencies: ["Transport", "WireFormat", "Primitives", logging],
            swiftSettings: settings
        ),
        .target(
            name: "Transfers",
            dependencies: ["RemoteAPI", "Transport", "WireFormat", "Primitives", logging],
            swiftSettings: settings
        ),
        // The server shares the wire's values with the driver, and nothing else.
        .executableTarget(
            name: "FilesystemsServer",
            dependencies: [
                "CLinux", "WireFormat", argumentParser, logging,
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "HummingbirdTLS", package: "hummingbird"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "FilesystemsServerTests",
            dependencies: [
                "FilesystemsServer", "WireFormat",
                .product(name: "Hummingbird", package: "hummingbird"),
            ],
            swiftSettings: settings
        ),
    ]
)
