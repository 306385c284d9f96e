import Dispatch
import Glibc

/// What can be learned of a mount, without waiting for long for a driver that is dead, stopped or hangs.
struct MountInquiry: Sendable {
    /// What came of it.
    enum Outcome: Sendable {
        /// The driver's own word.
        case status(MountStatus)
        /// The driver is gone.
        case dead
        /// The driver says nothing.
        case silent
        /// It is another user's, who alone may ask, or root.
        case hidden
        /// Nothing that can be used; the text says why.
        case failed(String)
    }

    /// The mount.
    let mount: MountTable.Entry
    /// Who asks.
    let environment: Environment

    /// How long a driver may say nothing: what it is asked it answers from memory.
    private static let limit = DispatchTimeInterval.seconds(5)
    private static let silenceLimit: Int32 = 4000

    /// Asks several at once.
    ///
    /// - Returns: What came of each, in order.
    static func ask(_ inquiries: [MountInquiry]) -> [Outcome] {
        let deadline = DispatchTime.now() + self.limit
        let answers = inquiries.map { inquiry in
            let answer = Answer<Outcome>()
            // On a thread of its own each: also connecting to a stopped driver may take for ever.
            DetachedThread.start { answer.set(inquiry.outcome()) }
            return answer
        }
        return answers.map { $0.value(until: deadline) ?? .silent }
    }

    private func outcome() -> Outcome {
        guard self.environment.isRoot || self.mount.userID == self.environment.userID else { return .hidden }
        let driver = MountedDriver(self.mount, environment: self.environment)
        do throws(UserError) {
            let owner = try driver.owner(for: "ask about it")
            let socket = try driver.socket(of: owner)
            return self.outcome(socket, owner)
        } catch {
            return .failed(error.description)
        }
    }

    private func outcome(_ socket: String, _ owner: UInt32) -> Outcome {
        do throws(ControlClient.Failure) {
            var client = try ControlClient(path: socket, userID: owner, silenceLimit: Self.silenceLimit)
            guard let status = try client.send(.status).status else { throw .malformed }
            return .status(status)
        } catch {
            switch error {
            case .silent: return .silent
            case .notThere, .ended:
                // The kernel fails statfs at once where nobody serves the mount.
                var statistics = statvfs()
                if statvfs(self.mount.mountPoint, &statistics) != 0, SystemError().isOfDeadMount {
                    return .dead
                }
                return .failed(MountedDriver.reason(error, socket: socket))
            case .notTrusted, .refused, .malformed:
                return .failed(MountedDriver.reason(error, socket: socket))
            }
        }
    }

    /// The mounts of ours in the kernel's table, those alone that are seen: nothing is mounted over them.
    static func all(_ environment: Environment) throws(UserError) -> [MountInquiry] {
        let table = try MountTable.current()
        return table.entries.filter { $0.isTetherfs && table.mount(at: $0.mountPoint)?.id == $0.id }.map {
            MountInquiry(mount: $0, environment: environment)
        }
    }
}

extension MountInquiry.Outcome {
    /// What the driver said.
    var status: MountStatus? { if case .status(let status) = self { status } else { nil } }

    /// Why there is no status, for a person; nothing if there is one.
    var refusal: String? {
        switch self {
        case .status: nil
        case .dead: "its driver is gone; clear it away with: tetherfs unmount"
        case .silent: "its driver is silent; is it stopped?"
        case .hidden: "another user's: only that user or root can ask about it"
        case .failed(let reason): "cannot ask its driver: \(reason)"
        }
    }
}
