import Foundation

/// What the `user` commands print.
enum UserOutput {
    private struct UserBody: Encodable {
        var userID: String
        var userName: String
        var apiKey: String?

        enum CodingKeys: String, CodingKey {
            case userID = "user_id"
            case userName = "user_name"
            case apiKey = "api_key"
        }
    }

    /// Prints a user with its key.
    static func print(_ user: User, key: APIKey, asJSON: Bool) throws {
        if asJSON {
            try Self.print(UserBody(userID: user.id, userName: user.name, apiKey: key.text))
        } else {
            StandardStreams.printLine("user id: \(user.id)\napi key: \(key.text)")
        }
    }

    /// Prints users, one a line: id and name.
    static func print(_ users: [User], asJSON: Bool) throws {
        if asJSON {
            try Self.print(users.map { UserBody(userID: $0.id, userName: $0.name) })
        } else {
            for user in users { StandardStreams.printLine("\(user.id)  \(user.name)") }
        }
    }

    private static func print(_ body: some Encodable) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        StandardStreams.printLine(String(decoding: try encoder.encode(body), as: UTF8.self))
    }
}
