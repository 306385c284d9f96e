/// What went wrong, told to the person who typed the command: one line, with what to do next where that is known.
struct UserError: Error, CustomStringConvertible, Equatable {
    /// The line, without the program's name and without a line end.
    let description: String
    /// What the command ends with.
    let status: ExitStatus

    /// Takes a line; what came from elsewhere in it must have passed ``Printable``.
    init(_ description: String, status: ExitStatus = .failure) {
        self.description = description
        self.status = status
    }

    /// The same line, for a mount that did not come to be.
    var asMountFailure: UserError { UserError(self.description, status: .mountFailure) }
}
