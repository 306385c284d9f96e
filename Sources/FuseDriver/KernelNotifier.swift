import CFuse
import Dispatch
import Glibc
import Inodes
import Primitives
import Synchronization

/// Tells the kernel to forget a name, or what it knows of a file.
///
/// From a thread of its own, holding no lock: the kernel may wait for requests on the same directory first.
final class KernelNotifier: Sendable {
    /// Unchecked: libfuse lets any thread notify; the session lives as long as the process.
    private struct Session: @unchecked Sendable {
        let pointer: OpaquePointer
    }

    /// A file that the kernel is about to forget.
    private struct Forgetting {
        /// How often.
        var count = 0
        var waiters: [OneShot<Void>] = []
    }

    private let session = Mutex<Session?>(nil)
    private let forgetting = Mutex<[InodeNumber: Forgetting]>([:])
    private let queue = DispatchQueue(label: "tetherfs.notify")
    /// Of its own, as who changes a name need not wait until many old ones are forgotten.
    private let pruning = DispatchQueue(label: "tetherfs.prune")
    /// Whether the kernel may know how to drop only what nothing uses.
    private let canPrune = Atomic<Bool>(true)

    /// Takes the session, once it is there.
    func attach(_ session: OpaquePointer) {
        self.session.withLock { $0 = Session(pointer: session) }
    }

    /// The kernel drops the pages of a file, and asks for its attributes before it believes anything about it.
    ///
    /// It waits for the reads of those pages that are under way.
    ///
    /// - Parameters:
    ///   - inode: The file.
    ///   - isDue: Whether that is to be done. Asked with the lock held, so that who hears that it was asked before finds
    ///     the file about to be forgotten.
    func invalidate(_ inode: InodeNumber, if isDue: () -> Bool = { true }) {
        guard let session = self.session.withLock({ $0 }) else { return }
        let isDue = self.forgetting.withLock { forgetting in
            guard isDue() else { return false }
            forgetting[inode, default: Forgetting()].count += 1
            return true
        }
        guard isDue else { return }
        // In a queue of its own, as others need not wait for the reads of this file.
        DispatchQueue(label: "tetherfs.forget").async {
            fuse_lowlevel_notify_inval_inode(session.pointer, inode.rawValue, 0, 0)
            let waiters: [OneShot<Void>] = self.forgetting.withLock { forgetting in
                forgetting[inode]?.count -= 1
                guard forgetting[inode]?.count == 0 else { return [] }
                return forgetting.removeValue(forKey: inode)?.waiters ?? []
            }
            for waiter in waiters { waiter.resolve(()) }
        }
    }

    /// Whether the kernel is about to forget a file.
    func isForgetting(_ inode: InodeNumber) -> Bool {
        self.forgetting.withLock { $0[inode] != nil }
    }

    /// Waits until the kernel has forgotten a file that it is to forget, or the task is cancelled.
    func waitUntilForgotten(_ inode: InodeNumber) async {
        let waiter = OneShot<Void>()
        let waits = self.forgetting.withLock { forgetting in
            forgetting[inode]?.waiters.append(waiter)
            return forgetting[inode] != nil
        }
        if waits { await waiter.wait() }
    }

    /// Answers a read that ends before where the kernel may take the file to end, so that it takes the file's end from
    /// the answer.
    ///
    /// It does not if it was made to forget the file since it sent the read. A read that is still to be answered after
    /// that was sent after its beginning: had its pages been there, they would have been waited for.
    ///
    /// - Parameters:
    ///   - inode: The file.
    ///   - answer: Called if the kernel believes it.
    /// - Returns: Whether it was called.
    func telling(endOf inode: InodeNumber, _ answer: () -> Void) -> Bool {
        // With the lock held, so that nothing is to be forgotten before the kernel has the answer.
        self.forgetting.withLock { forgetting in
            guard forgetting[inode] == nil else { return false }
            answer()
            return true
        }
    }

    /// The kernel looks a name up again before it believes anything about it.
    func invalidate(_ name: [UInt8], in parent: InodeNumber) {
        guard let session = self.session.withLock({ $0 }) else { return }
        self.queue.async { Self.invalidate(name, in: parent, session) }
    }

    private static func invalidate(_ name: [UInt8], in parent: InodeNumber, _ session: Session) {
        // libfuse sends the NUL behind the name along with it.
        (name + [0]).withUnsafeBytes { bytes in
            _ = fuse_lowlevel_notify_inval_entry(
                session.pointer,
                parent.rawValue,
                bytes.bindMemory(to: CChar.self).baseAddress,
                name.count
            )
        }
    }

    /// The kernel forgets names that were not used for long, so that they take no memory here.
    func forgetOld(of namespace: Namespace) {
        guard let session = self.session.withLock({ $0 }) else { return }
        self.pruning.async {
            while true {
                let canPrune = self.canPrune.load(ordering: .relaxed)
                guard let inodes = namespace.takeForgettable(sparingUsed: !canPrune) else { return }
                if canPrune {
                    let numbers = inodes.map(\.rawValue)
                    let code = cfuse_notify_prune(session.pointer, numbers, UInt32(numbers.count))
                    if code == -EINVAL { self.canPrune.store(false, ordering: .relaxed) }
                } else {
                    for (parent, name) in inodes.compactMap(namespace.location) {
                        Self.invalidate(Array(name.string.utf8), in: parent, session)
                    }
                }
            }
        }
    }
}
