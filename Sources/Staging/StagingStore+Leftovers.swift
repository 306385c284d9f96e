import Glibc
import Logging
import SystemPackage
import WireFormat

/// What an earlier mount left behind.
extension StagingStore {
    /// Sorts what is in the directory: what a close or fsync covered is to be uploaded, what was open is kept, and the
    /// rest are copies of what the service has.
    ///
    /// - Returns: The records of what is to be uploaded, the oldest first, as the local files turn out to be.
    func sortLeftovers(_ logger: Logger) -> [Journal.Record] {
        var records = [UInt64: Journal.Record](
            self.journal.initialRecords.map { ($0.number, $0) },
            uniquingKeysWith: { first, _ in first }
        )
        var left: [Journal.Record] = []
        for name in CacheDirectory.names(in: self.directory) {
            guard let staging = StagingName(dirty: name) else {
                self.removeClean(name, &records, logger)
                continue
            }
            let record = records.removeValue(forKey: staging.number)
            let (state, content) = self.judge(name, record)
            if let state, var record {
                // Before the record is of this start of the machine: what a power failure left beyond the end was not
                // safe, which a mount that is killed from here on would leave to be taken for what was written since.
                guard truncate(self.path(name), off_t(content.size)) == 0 else {
                    logger.error(
                        "bytes that an earlier mount did not upload cannot be cut to their size; they are left there",
                        metadata: ["file": "\(name)", "cause": "\(Errno(rawValue: errno))"]
                    )
                    continue
                }
                record.state = state
                record.content = content
                if let upload = record.upload, let place = self.journal.initialUploads[upload.id],
                    place != record.path
                {
                    // Renamed since: what was sent, and what may be the file by now, is under its old name.
                    record.upload = nil
                    if state == .uploading || state == .unverified { record.state = .pending }
                }
                if record.boot != self.journal.boot {
                    if record.upload?.isSynced == false { record.upload = nil }
                    // It may have been uploaded, and what the journal had of that is not on the disk.
                    if content.isWhole {
                        record.completingSize = record.completingSize ?? content.size
                    }
                }
                if record.state != .uploading && record.state != .unverified { record.upload = nil }
                self.journal.queue(.record(record))
                if record.upload == nil { self.journal.queue(.endUpload(record.number)) }
                left.append(record)
            } else {
                self.keepLeftover(name, staging, record, content, logger)
            }
        }
        self.settleOthers(records)
        return left.sorted { $0.number < $1.number }
    }

    private func judge(_ name: String, _ record: Journal.Record?) -> (Journal.State?, Journal.Content) {
        let length = CacheDirectory.length(of: self.directory.appending(name)) ?? 0
        guard let record else { return (nil, Journal.Content(size: length)) }
        return record.judged(length: length, boot: self.journal.boot)
    }

    private func keepLeftover(
        _ name: String,
        _ staging: StagingName,
        _ record: Journal.Record?,
        _ content: Journal.Content,
        _ logger: Logger
    ) {
        let kept = self.keep(name)
        logger.warning("bytes that an earlier mount did not upload are kept", metadata: ["file": "\(kept)"])
        guard var record else { return }
        record.reason = record.reasonToKeep(boot: self.journal.boot)
        record.state = .kept
        record.content = content
        self.journal.queue(.record(record))
        self.journal.queue(.endUpload(record.number))
    }

    /// A clean file is a copy of what the service has, unless a power failure took its other name.
    private func removeClean(_ name: String, _ records: inout [UInt64: Journal.Record], _ logger: Logger) {
        let number = name.hasPrefix("clean-") ? UInt64(name.dropFirst(6)) : nil
        if let number, let record = records[number], record.boot != self.journal.boot, record.state == .open {
            let staging = StagingName(number: number, path: record.path)
            if rename(self.path(name), self.path(staging.dirty)) == 0 {
                records[number] = nil
                let (_, content) = self.judge(staging.dirty, record)
                self.keepLeftover(staging.dirty, staging, record, content, logger)
                return
            }
        }
        unlink(self.path(name))
    }

    /// Records whose files are not here: kept ones stay as long as their files do, others are done.
    private func settleOthers(_ records: [UInt64: Journal.Record]) {
        let kept = Set(
            CacheDirectory.names(in: self.recoveryDirectory).compactMap { StagingName(dirty: $0)?.number }
        )
        for var record in records.values {
            if !kept.contains(record.number) {
                self.journal.queue(.removeRecord(record.number))
            } else if record.state != .kept {
                record.reason = record.reasonToKeep(boot: self.journal.boot)
                record.state = .kept
                self.journal.queue(.record(record))
                self.journal.queue(.endUpload(record.number))
            }
        }
    }
}
