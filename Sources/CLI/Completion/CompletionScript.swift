/// The script for a shell's completions, which the parser of arguments makes.
enum CompletionScript {
    private static let registration = "complete -o filenames -F _tetherfs tetherfs"

    /// Makes bash go on after a place in a filesystem: readline takes every candidate for a local file, so that it would
    /// escape the colon of `NAME:/` and end a directory of a filesystem with a blank.
    static func amended(_ script: String) -> String {
        let parts = script.split(separator: self.registration, omittingEmptySubsequences: false)
        guard parts.count == 2 else { return script }
        return parts[0] + """
            __tetherfs_places() {
                _tetherfs "${@}"
                [[ "${COMPREPLY[0]}" = */ ]] || return 0
                compopt -o nospace
                [[ "${COMPREPLY[0]}" = *:/ ]] || return 0
                compopt +o filenames
                local -i index
                for index in "${!COMPREPLY[@]}"; do
                    printf -v "COMPREPLY[${index}]" '%q:/' "${COMPREPLY[${index}]%:/}"
                done
            }

            complete -o filenames -F __tetherfs_places tetherfs
            """ + parts[1]
    }
}
