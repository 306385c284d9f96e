import Hummingbird

/// One line for each finished request: `METHOD TARGET STATUS BYTES CONTENT-RANGE`.
///
/// The target is as it was sent. BYTES is the length of the answer's body; CONTENT-RANGE is the request's header,
/// `-` without one, and last, since it alone may have a space in it. A line is written before the answer's last
/// byte is: whoever has seen the answer finds the line.
struct AccessLog: Sendable {
    private let destination: Descriptor?

    /// Where the lines go.
    enum Destination: Sendable {
        /// Nowhere.
        case none
        /// Standard error.
        case standardError
        /// The file of that path, made if missing, appended to.
        case file(String)
    }

    init(_ destination: Destination) throws(FolderError) {
        switch destination {
        case .none: self.destination = nil
        case .standardError: self.destination = try Descriptor.standardError()
        case .file(let path): self.destination = try Descriptor.openLog(path)
        }
    }

    /// Writes the line of a request.
    func record(_ request: Request, status: HTTPResponse.Status, byteCount: Int) {
        guard let destination else { return }
        let range = request.headers[.contentRange] ?? "-"
        let target = request.head.path ?? "-"
        // A log that cannot be written does not stop the service. The write goes to the page cache and takes
        // some microseconds: less than a change of thread.
        try? destination.append("\(request.method.rawValue) \(target) \(status.code) \(byteCount) \(range)\n")
    }
}
