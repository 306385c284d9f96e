// swift-tools-version: 6.2
import PackageDescription

// One list for every target of ours: Swift 6 mode (the tools version's default), explicit existentials,
// and no warning that stays.
let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .treatAllWarnings(as: .error),
]

let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let deque = Target.Dependency.product(name: "DequeModule", package: "swift-collections")
let system = Target.Dependency.product(name: "SystemPackage", package: "swift-system")
let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")

let package = Package(
    name: "tetherfs",
    products: [
        .executable(name: "tetherfs", targets: ["CLI"]),
        .executable(name: "tetherfs-server", targets: ["FilesystemsServer"]),
    ],
    dependencies: [
        // Why each is here: docs/dependencies.md.
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
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
        .systemLibrary(
            name: "CFuse",
            pkgConfig: "fuse3",
            providers: [.apt(["libfuse3-dev"])]
        ),
        .systemLibrary(
            name: "CXXHash",
            pkgConfig: "libxxhash",
            providers: [.apt(["libxxhash-dev"])]
        ),
        .target(name: "CLinux"),

        // Layer 1: values.
        .target(name: "WireFormat", swiftSettings: settings),
        .target(name: "TOML", swiftSettings: settings),
        .target(name: "Primitives", dependencies: [deque], swiftSettings: settings),

        // Layers 2 to 4: the service, and what is known of it here.
        .target(name: "Transport", dependencies: ["CCurl"], swiftSettings: settings),
        .target(
            name: "RemoteAPI",
            dependencies: ["Transport", "WireFormat", "Primitives", logging],
            swiftSettings: settings
        ),
        .target(
            name: "Transfers",
            dependencies: ["RemoteAPI", "Transport", "WireFormat", "Primitives"],
            swiftSettings: settings
        ),
        .target(
            name: "DiskCaching",
            dependencies: [
                "CLinux", "CXXHash", "WireFormat", "Primitives", logging, system,
                .product(name: "GRDB", package: "GRDB.swift"),
            ],
            swiftSettings: settings
        ),
        .target(
            name: "BlockCaching",
            dependencies: ["DiskCaching", "RemoteAPI", "Transport", "WireFormat", "Primitives", deque],
            swiftSettings: settings
        ),
        .target(
            name: "Inodes",
            dependencies: ["RemoteAPI", "WireFormat", "Primitives", logging],
            swiftSettings: settings
        ),

        // Layers 5 to 8: what is not on the service yet, POSIX, the kernel, the command.
        .target(
            name: "Staging",
            dependencies: [
                "CLinux", "Transport", "WireFormat", "Primitives", logging, system,
                .product(name: "GRDB", package: "GRDB.swift"),
            ],
            swiftSettings: settings
        ),
        .target(
            name: "VFS",
            dependencies: [
                "BlockCaching", "Inodes", "Staging", "Transfers", "RemoteAPI", "Transport", "WireFormat",
                "Primitives", deque, logging, system,
            ],
            swiftSettings: settings
        ),
        .target(
            name: "FuseDriver",
            dependencies: ["CFuse", "VFS", "Inodes", "RemoteAPI", "Primitives", logging, system],
            swiftSettings: settings
        ),
        .executableTarget(
            name: "CLI",
            dependencies: [
                "FuseDriver", "VFS", "Staging", "BlockCaching", "DiskCaching", "Inodes", "Transfers",
                "RemoteAPI",
                "Transport", "WireFormat", "TOML", "Primitives", "CLinux",
                argumentParser, logging, system,
            ],
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

        .testTarget(name: "TransportTests", dependencies: ["TestKit", "Transport"], swiftSettings: settings),
        .testTarget(
            name: "CLITests",
            dependencies: ["CLI", "RemoteAPI", "Transport", "VFS", "WireFormat", argumentParser, logging],
            swiftSettings: settings
        ),
        .testTarget(
            name: "FilesystemsServerTests",
            dependencies: [
                "FilesystemsServer", "TestKit", "WireFormat",
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "Hummingbird", package: "hummingbird"),
            ],
            swiftSettings: settings
        ),

        // What tests of the layers share, and the layers' tests.
        .target(
            name: "TestKit",
            dependencies: ["RemoteAPI", "Transport", "WireFormat", "Primitives", logging],
            path: "Tests/TestKit",
            swiftSettings: settings
        ),
        .testTarget(
            name: "WireFormatTests",
            dependencies: ["WireFormat", "TestKit"],
            swiftSettings: settings
        ),
        .testTarget(name: "TOMLTests", dependencies: ["TOML"], swiftSettings: settings),
        .testTarget(
            name: "PrimitivesTests",
            dependencies: ["Primitives", "TestKit"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "RemoteAPITests",
            dependencies: ["RemoteAPI", "Transport", "WireFormat", "TestKit"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "TransfersTests",
            dependencies: ["Transfers", "RemoteAPI", "Transport", "WireFormat", "TestKit"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "DiskCachingTests",
            dependencies: [
                "DiskCaching", "WireFormat", "Primitives", "TestKit", logging, system,
                .product(name: "GRDB", package: "GRDB.swift"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "BlockCachingTests",
            dependencies: [
                "BlockCaching", "DiskCaching", "RemoteAPI", "WireFormat", "Primitives", "TestKit", logging,
                system,
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "StagingTests",
            dependencies: ["Staging", "WireFormat", "TestKit", system],
            swiftSettings: settings
        ),
        .testTarget(
            name: "InodesTests",
            dependencies: ["Inodes", "RemoteAPI", "WireFormat", "Primitives", "TestKit"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "VFSTests",
            dependencies: [
                "VFS", "FuseDriver", "BlockCaching", "Inodes", "Staging", "Transfers", "RemoteAPI",
                "Transport", "Primitives", "WireFormat", "TestKit", system,
            ],
            swiftSettings: settings
        ),
    ]
)
