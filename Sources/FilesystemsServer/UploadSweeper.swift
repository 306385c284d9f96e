import Logging
import ServiceLifecycle

/// Gives up uploads that nobody has used for long, at the start and every hour.
struct UploadSweeper: Service {
    let uploads: UploadStore
    let disk: DiskPool
    /// In seconds.
    let age: Int
    let logger: Logger

    /// An hour is little beside the age of a day; a shorter age is swept for as often as it asks.
    private var interval: Duration { .seconds(min(3600, max(1, self.age))) }

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            while true {
                let count = await self.uploads.sweep(unusedFor: .seconds(self.age), on: self.disk)
                if count > 0 {
                    self.logger.info("removed abandoned uploads", metadata: ["count": "\(count)"])
                }
                try await Task.sleep(for: self.interval)
            }
        }
        // A service that returns would end the server: it returns when the server does.
        try? await gracefulShutdown()
    }
}
