extension FileSystem {
    /// Takes in what earlier mounts remember. To be called before anything is asked, and after what is to be uploaded is in
    /// its place.
    ///
    /// - Parameter isReadOnly: Whether nothing is to be changed.
    public func begin(isReadOnly: Bool) async {
        await self.namespace.recallAttributes(of: .root)
        if !isReadOnly { self.namespace.forgetUnlisted() }
    }
}
