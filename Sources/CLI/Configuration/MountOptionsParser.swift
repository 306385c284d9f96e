/// Reads what follows `-o`: our options, mount(8)'s own, and those that are the kernel's.
struct MountOptionsParser {
    /// Our options as they were set; of a repeated one the last.
    private(set) var settings: [SettingName: Setting] = [:]
    /// Options that are handed to the kernel, each once, in the order given.
    private(set) var kernelOptions: [String] = []

    /// Takes each `-o` of the command line.
    ///
    /// - Throws: Names the first option that is unknown, lacks its value or has one too many.
    init(_ texts: [String]) throws(UserError) {
        for text in texts {
            for option in Self.split(text) where !option.isEmpty {
                try self.take(option)
            }
        }
    }

    /// Takes `-oTEXT` apart, as mount(8) and its helpers write it: the parser of flags would split it at a `=` first.
    static func separated(_ arguments: [String]) -> [String] {
        let flags = arguments.prefix { $0 != "--" }
        return flags.flatMap { argument in
            argument.hasPrefix("-o") && argument.count > 2
                ? ["-o", String(argument.dropFirst(2))] : [argument]
        } + arguments.dropFirst(flags.count)
    }

    /// Splits at commas; `\,` is a comma inside a value, as for libfuse.
    static func split(_ text: String) -> [String] {
        var options = [""]
        var isEscaped = false
        for character in text {
            if isEscaped {
                options[options.count - 1].append(character)
                isEscaped = false
            } else if character == "\\" {
                isEscaped = true
            } else if character == "," {
                options.append("")
            } else {
                options[options.count - 1].append(character)
            }
        }
        return options
    }

    private mutating func take(_ option: String) throws(UserError) {
        let parts = option.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(
            String.init
        )
        let name = parts[0]
        let value = parts.count == 2 ? parts[1] : nil
        if let setting = SettingName(spelling: name), setting.isOption {
            return try self.set(setting, to: value, as: name)
        }
        if Self.isForOthers(name) { return }
        if name == "remount" {
            throw UserError("-o remount is not possible: unmount and mount again with the other options")
        }
        guard value == nil, self.takeGeneric(name) else {
            throw UserError("unknown option -o \(Printable.text(name)); see: tetherfs mount --help")
        }
    }

    private mutating func set(_ name: SettingName, to value: String?, as spelling: String) throws(UserError) {
        let origin = "-o \(spelling)"
        if name.isSwitch {
            guard value == nil else { throw UserError("\(origin) takes no value") }
            self.settings[name] = Setting(text: SettingLayers.on, origin: origin)
        } else {
            guard let value, !value.isEmpty else { throw UserError("\(origin) needs a value: \(origin)=…") }
            self.settings[name] = Setting(text: value, origin: origin)
        }
    }

    /// Whether an option speaks to mount(8), systemd or a person, not to a filesystem.
    private static func isForOthers(_ name: String) -> Bool {
        switch name {
        case "_netdev", "nofail", "user", "users", "nouser", "owner", "group", "auto", "noauto", "defaults",
            "comment":
            true
        default: name.hasPrefix("x-") || name.hasPrefix("X-")
        }
    }

    /// Takes an option that any filesystem has.
    ///
    /// - Returns: Whether it is one.
    private mutating func takeGeneric(_ name: String) -> Bool {
        switch name {
        case "ro": self.settings[.readOnly] = Setting(text: SettingLayers.on, origin: "-o ro")
        // It takes an earlier `ro` back and no more: mount(8) writes it where nobody did, which must not open what a profile
        // protects.
        case "rw": self.settings[.readOnly] = nil
        case "nodev", "nosuid", "noexec", "noatime", "nodiratime", "sync", "dirsync", "default_permissions":
            if !self.kernelOptions.contains(name) { self.kernelOptions.append(name) }
        // The opposite of those, each the kernel's default: the last word counts.
        case "dev", "suid", "exec", "atime", "diratime":
            self.kernelOptions.removeAll { $0 == "no" + name }
        case "async":
            self.kernelOptions.removeAll { $0 == "sync" || $0 == "dirsync" }
        // The kernel's default, in either version of it: no times come from the service.
        case "relatime", "norelatime", "strictatime", "nostrictatime", "lazytime", "nolazytime": break
        default: return false
        }
        return true
    }
}
