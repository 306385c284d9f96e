import WireFormat

/// The uploads completed last, so that a completion whose answer was lost may be asked for again.
struct CompletedUploads: Sendable {
    /// Which file an upload was of.
    struct Place: Equatable, Sendable {
        let filesystem: FilesystemID
        let path: RemotePath
    }

    private var places: [UploadID: Place] = [:]
    /// A ring of the ids; `next` is the oldest once it is full.
    private var order: [UploadID] = []
    private var next = 0

    /// How many are remembered: seconds' worth of the smallest files, and below 2 MiB of memory.
    static let capacity = 4096

    /// Where an upload's file went; set once for each.
    subscript(id: UploadID) -> Place? {
        get { self.places[id] }
        set {
            if self.order.count < Self.capacity {
                self.order.append(id)
            } else {
                self.places[self.order[self.next]] = nil
                self.order[self.next] = id
                self.next = (self.next + 1) % Self.capacity
            }
            self.places[id] = newValue
        }
    }
}
