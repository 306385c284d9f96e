import Testing

@testable import CLI

@Suite("Showing settings")
struct SettingTableTests {
    private let environment = Environment(
        variables: ["HOME": "/home/joe", "TETHERFS_ENDPOINT": "https://host/v1"],
        userID: 1000,
        groupID: 100,
        homeDirectory: nil,
        systemConfigurationFile: "/nonexistent/config.toml"
    )

    private func rows(_ arguments: [String]) throws -> [String: SettingTable.Row] {
        let command = try ConfigCommand.Show.parse(arguments)
        let layers = try command.flags.layers(command.connection, self.environment).layers
        let configuration = try MountConfiguration(
            source: MountSource("-"),
            mountPoint: "/",
            layers: layers,
            kernelOptions: [],
            environment: self.environment,
            needsKey: false
        )
        return Dictionary(SettingTable(configuration, layers).rows.map { ($0.name, $0) }) { $1 }
    }

    @Test("Every setting has a line, and each default is one that the option itself takes")
    func defaults() throws {
        let rows = try self.rows([])
        #expect(Set(rows.keys) == Set(SettingName.allCases.map(\.rawValue) + ["api-key"]))
        for name in SettingName.allCases where name.kind != .toggle && name.isOption {
            guard let value = rows[name.rawValue]?.value, name != .endpoint else { continue }
            let again = try self.rows(["-o", "\(name.rawValue)=\(value)"])[name.rawValue]
            #expect(again == .init(name: name.rawValue, value: value, source: "-o \(name.rawValue)"))
        }
        #expect(rows["retries"] == .init(name: "retries", value: "4", source: "default"))
        #expect(rows["disk-cache"]?.value == "10G" && rows["metadata-ttl"]?.value == "10")
        #expect(rows["read-only"]?.value == "false" && rows["api-key"]?.value == nil)
    }

    @Test("The place of each value is told")
    func places() throws {
        let rows = try self.rows([
            "--request-timeout", "0.5", "-o", "memory=67108864,ro", "--api-key-file", "/k", "--writes",
            "write-back",
        ])
        #expect(
            rows["endpoint"] == .init(name: "endpoint", value: "https://host/v1", source: "TETHERFS_ENDPOINT")
        )
        #expect(
            rows["request-timeout"]?.source == "--request-timeout" && rows["request-timeout"]?.value == "0.5"
        )
        #expect(rows["memory"] == .init(name: "memory", value: "64M", source: "-o memory"))
        #expect(rows["read-only"] == .init(name: "read-only", value: "true", source: "-o ro"))
        #expect(rows["api-key-file"] == .init(name: "api-key-file", value: "/k", source: "--api-key-file"))
        #expect(rows["api-key"] == .init(name: "api-key", value: "[hidden]", source: "/k"))
        // It depends on how writes go.
        #expect(rows["temporary-delay"] == .init(name: "temporary-delay", value: "30", source: "default"))
    }
}
