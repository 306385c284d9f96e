import Glibc

/// The ways in which mount(8) and umount(8) call, put into the form that a person types.
///
/// - as `mount.fuse.tetherfs` or `mount.tetherfs`: `SOURCE DIRECTORY [-sfnv] [-o OPTIONS]`;
/// - as `tetherfs`, from mount.fuse3 of the package fuse3: `SOURCE DIRECTORY -o OPTIONS`;
/// - as `umount.fuse.tetherfs` or `umount.tetherfs`: `DIRECTORY [-nlfvr]`.
///
/// See mount(8) and umount(8), "External helpers".
enum MountCaller {
    /// The names that the program goes by besides its own.
    private static let mountNames: Set<String> = ["mount.fuse.tetherfs", "mount.tetherfs"]
    private static let unmountNames: Set<String> = ["umount.fuse.tetherfs", "umount.tetherfs"]

    /// What is asked for.
    enum Request: Equatable {
        /// A command of ours, with these arguments.
        case command([String])
        /// Nothing: mount(8) was called with `-f`, "fake".
        case nothing
    }

    /// Reads how the program was called.
    ///
    /// - Parameters:
    ///   - arguments: With the program's own name or path as the first.
    ///   - commands: The names of our commands.
    /// - Returns: What is asked for.
    /// - Throws: If a helper is called in another way than mount(8) does.
    static func request(_ arguments: [String], commands: Set<String>) throws(UserError) -> Request {
        guard let path = arguments.first else { return .command([]) }
        let program = path.split(separator: "/").last.map(String.init) ?? path
        let rest = Array(arguments.dropFirst())
        if self.mountNames.contains(program) { return try self.mount(rest, program) }
        if self.unmountNames.contains(program) { return try self.unmount(rest, program) }
        let isFromMount =
            rest.count == 4 && rest[2] == "-o" && !commands.contains(rest[0])
            && !rest[0].hasPrefix("-") && !rest[1].hasPrefix("-")
        return isFromMount ? .command(["mount", "-o", rest[3], "--"] + rest[..<2]) : .command(rest)
    }

    private static func mount(_ arguments: [String], _ program: String) throws(UserError) -> Request {
        let call = try Call(arguments, program, withValue: "oNt")
        guard call.operands.count == 2 else {
            throw UserError("use: \(program) SOURCE DIRECTORY [-o OPTIONS]", status: .failure)
        }
        if call.letters.contains("f") { return .nothing }
        var options = call.values["o"] ?? []
        if call.letters.contains("r") { options.append("ro") }
        return .command(["mount"] + options.flatMap { ["-o", $0] } + ["--"] + call.operands)
    }

    private static func unmount(_ arguments: [String], _ program: String) throws(UserError) -> Request {
        let call = try Call(arguments, program, withValue: "Nt")
        guard call.operands.count == 1 else {
            throw UserError("use: \(program) DIRECTORY [-l]", status: .failure)
        }
        // Never by force: that fails what programs have under way also where the mount then stays.
        let isLazy = call.letters.contains("l") || call.letters.contains("f")
        return .command(["unmount"] + (isLazy ? ["--lazy"] : []) + ["--"] + call.operands)
    }

    /// Letters, those with values, and the rest: what getopt(3) makes of it.
    private struct Call {
        var letters: Set<Character> = []
        var values: [Character: [String]] = [:]
        var operands: [String] = []

        init(_ arguments: [String], _ program: String, withValue: String) throws(UserError) {
            var rest = arguments[...]
            while let argument = rest.popFirst() {
                guard argument.hasPrefix("-"), argument.count > 1 else {
                    self.operands.append(argument)
                    continue
                }
                if argument == "--" {
                    self.operands += rest
                    return
                }
                var letters = argument.dropFirst()
                while let letter = letters.popFirst() {
                    self.letters.insert(letter)
                    guard withValue.contains(letter) else { continue }
                    guard let value = letters.isEmpty ? rest.popFirst() : String(letters) else {
                        throw UserError("\(program): -\(letter) needs a value", status: .failure)
                    }
                    self.values[letter, default: []].append(value)
                    break
                }
            }
        }
    }
}
