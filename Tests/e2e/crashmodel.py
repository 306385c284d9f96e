"""What files may hold after a crash, told from what their writer said: the model behind the crash tests.

A content is its digest, None where there is no file. For each name the model has the set of contents that it may have
once the driver (and the server) are back and all is uploaded, through the mount and on the server alike:

- What was promised, by a `close`, `fsync`, `truncate`, `rename` or `unlink` that returned 0, and by no later one: that
  alone. Contents are whole: a mix of two is neither of them and is found as a difference.
- A promise under way when the crash came, or one that failed, may have been kept or not: the old or the new content.
- `open` and `write` promise nothing: what was written and neither closed nor synchronised since is on no server; the
  driver keeps it aside (`recovered`) for a person to look at. So it does not count among the allowed contents. In write-back
  mode there is one exception: a program that writes in place into a file whose last promise is not uploaded yet
  changes the only copy there is of it, as on any local disk; then the file may be as promised, or as it was after any
  of the writes that followed, in their order. Such a write is no more than one request of the kernel, so not torn.
- A rename under way, or one that failed, leaves at least one of the two names with what was moved, and the other name
  as it was or with that too: never neither, never something else.
"""


class Unsure:
    """A rename that was begun and did not succeed."""

    def __init__(self, old, new, moved, allowed_old):
        self.old, self.new, self.moved, self.allowed_old = old, new, moved, allowed_old

    def holds(self, found):
        """Whether what was moved is under one of the names."""
        return found.get(self.old) in self.allowed_old or found.get(self.new) == self.moved


class Model:
    """Fed with the lines of a writer. mode: sync or write-back."""

    def __init__(self, mode):
        self.mode = mode
        self.allowed = {}
        # What was written and not promised since, in order, and the names to which a write has returned since.
        self.drafts, self.written = {}, set()
        # Names of which something was promised since all was last seen to be uploaded.
        self.promised = set()
        self.directories, self.unsure_directories = set(), set()
        self.renames = []
        self.under_way = {}
        self.wrong = []
        self.promises = 0
        self.errors = []

    def may_be(self, name):
        return self.allowed.setdefault(name, {None})

    # What the writer says.

    def feed(self, line):
        """Takes note of a line; returns whether it acknowledges a promise."""
        if "wrong" in line:
            self.wrong.append(line)
        elif "do" in line:
            self.under_way[line["n"]] = line
            self.begin(line)
        else:
            begun = self.under_way.pop(line["n"])
            if line["errno"]:
                self.errors.append((line["errno"], begun))
            else:
                self.succeed(begun)
                self.promises += begun["do"] not in ("open", "write", "read")
                return True
        return False

    def begin(self, line):
        name, do = line["name"], line["do"]
        if do == "commit":
            self.allowed[name] = self.may_be(name) | {line["hash"]}
        elif do == "unlink":
            self.allowed[name] = self.may_be(name) | {None}
        elif do == "mkdir":
            self.unsure_directories.add(name)
        elif do == "rename":
            old, new = self.may_be(name), self.may_be(line["to"])
            line["unsure"] = Unsure(name, line["to"], line["hash"], old)
            self.renames.append(line["unsure"])
            self.allowed[name], self.allowed[line["to"]] = old | {None}, new | {line["hash"]}
        elif "hash" in line:
            self.drafts.setdefault(name, []).append(line["hash"])

    def succeed(self, line):
        name, do = line["name"], line["do"]
        if do == "commit":
            self.promise(name, line["hash"])
        elif do == "unlink":
            self.promise(name, None)
        elif do == "mkdir":
            self.directories.add(name)
        elif do == "rename":
            self.renames.remove(line["unsure"])
            self.promise(name, None)
            self.promise(line["to"], line["hash"])
        elif do == "write":
            self.written.add(name)

    def promise(self, name, content):
        self.allowed[name] = {content}
        self.promised.add(name)
        self.drafts.pop(name, None)
        self.written.discard(name)

    # What is found afterwards.

    def problems(self, found):
        """What is not as it may be, in words.

        found: every path with its content's digest, None for a directory, and nothing that is no file of the writer's.
        """
        files = {path: content for path, content in found.items() if content is not None}
        directories = set(found) - set(files)
        problems = [f"read back wrong: {line}" for line in self.wrong]
        for name in sorted(set(self.allowed) | set(files)):
            got, allowed = files.get(name), self.allowed.get(name, {None})
            if self.mode == "write-back" and name in self.promised:
                allowed = allowed | set(self.drafts.get(name, ()))
            if got not in allowed:
                problems.append(f"{name} is {got}, not one of {sorted(map(str, allowed))}")
        for rename in self.renames:
            if not rename.holds(files):
                problems.append(f"{rename.moved} is under neither name: {rename.old}, {rename.new}")
        problems += [f"{name} is no directory" for name in sorted(self.directories - directories)]
        extra = directories - self.directories - self.unsure_directories
        return problems + [f"{name} is a directory that nobody made" for name in sorted(extra)]

    def unpromised(self):
        """The names that a crash may leave bytes of aside: written to, or a promise failed or under way."""
        return set(self.drafts) | {name for name, allowed in self.allowed.items() if len(allowed) > 1}

    def left_open(self):
        """The names with writes that returned and no promise begun since, with what they held; those must be aside."""
        busy = {line["name"] for line in self.under_way.values()} | {line["name"] for _, line in self.errors}
        return {name: self.drafts[name][-1] for name in self.written - busy}

    def settle(self, found):
        """Goes on from what was found."""
        files = {path: content for path, content in found.items() if content is not None}
        self.allowed = {path: {content} for path, content in files.items()}
        self.directories = set(found) - set(files)
        self.unsure_directories = set()
        self.drafts, self.written, self.promised = {}, set(), set()
        self.under_way, self.renames, self.errors = {}, [], []
