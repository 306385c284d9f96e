"""What files may hold after a crash, told from what their writer said: the model behind the crash tests.

A content is its digest, None where there is no file. For each name the model has the set of contents that it may have
once the driver (and the server) are back and all is uploaded, through the mount and on the server alike:

- What was promised, by a `close`, `fsync`, `truncate`, `rename` or `unlink` that returned 0, and by no later one: that
  alone. Contents are whole: a mix of two is neither of them and is found as a difference.
- A promise under way when the crash came, or one that failed, may have been kept or not: the old or the new content.
- `open` and `write` promise nothing: what was written and neither closed nor synchronised since is on no server; the
  driver keeps it aside (`tetherfs recover`) for a person to look at. So it does not count among the allowed contents.
  In write-back mode there is one exception, as what was promised may be on the local disk alone, in one copy: a program
  that writes in place into such a file changes that copy, as on any local disk; then the file may be as promised, or as
  it was after any of the writes that followed, in their order, the last one perhaps in part: SIGKILL cuts a write(2) off
  at a page. What a program writes after it has emptied the file (O_TRUNC) is no such write.
- What a mount shows after a crash stays, also if the next crash comes before it is uploaded; unless, in sync mode, it
  was no promise and is written to meanwhile: then the file may also be as before, or as after any of those writes.
- A rename under way, or one that failed, leaves at least one of the two names with what was moved, and the other name
  as it was or with that too: never neither, never something else. That of a directory does so for each file in it.
"""

import itertools

from crashwriter import digest

EMPTY = digest(b"")


def is_some_of(got, old, new):
    """Whether a content is what a write has made of an old one, or some bytes of it: where only some bytes of a file
    are on the local disk, those of the new ones may be found that overwrote them."""
    pairs = itertools.zip_longest(old, new[:len(got)])
    return len(old) <= len(got) <= max(len(old), len(new)) and all(byte in pair for byte, pair in zip(got, pairs))


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
        # Those of them that a cut left.
        self.cuts = {EMPTY}
        # What was promised since all was last seen to be on the server, after what was there then.
        self.history = {}
        # What else a name may fall back to once it is written to, as what it was last seen with may be here alone.
        self.fallback = {}
        self.directories, self.unsure_directories = set(), set()
        self.renames = []
        self.under_way = {}
        self.wrong = []
        self.promises = 0
        self.errors = []
        # What was said since all was last seen to be on the server, in words.
        self.story = []

    def may_be(self, name):
        return self.allowed.setdefault(name, {None})

    # What the writer says.

    def feed(self, line):
        """Takes note of a line; returns whether it acknowledges a promise."""
        self.story.append(line)
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
            line["unsure"] = [self.begin_rename(name, line["to"], line["hash"])]
        elif do == "rename-directory":
            self.directories.discard(name)
            self.unsure_directories |= {name, line["to"]}
            # Nothing in it is in doubt.
            below = [(path, *self.allowed[path]) for path in self.allowed if path.startswith(name + "/")]
            line["unsure"] = [
                self.begin_rename(path, line["to"] + path[len(name):], content)
                for path, content in below if content is not None
            ]
        elif "hash" in line:
            self.drafts.setdefault(name, []).append(line["hash"])
            if line.get("cuts"):
                self.cuts.add(line["hash"])

    def begin_rename(self, name, to, content):
        unsure = Unsure(name, to, content, self.may_be(name))
        self.renames.append(unsure)
        self.allowed[name], self.allowed[to] = self.may_be(name) | {None}, self.may_be(to) | {content}
        return unsure

    def succeed(self, line):
        name, do = line["name"], line["do"]
        if do == "commit":
            self.promise(name, line["hash"])
        elif do == "unlink":
            self.promise(name, None)
        elif do == "mkdir":
            self.directories.add(name)
        elif do in ("rename", "rename-directory"):
            for unsure in line["unsure"]:
                self.renames.remove(unsure)
                self.promise(unsure.old, None)
                self.promise(unsure.new, unsure.moved)
            if do == "rename-directory":
                self.directories.add(line["to"])
                self.unsure_directories -= {name, line["to"]}
        elif do == "write":
            self.written.add(name)

    def promise(self, name, content):
        self.history.setdefault(name, list(self.may_be(name))).append(content)
        self.allowed[name] = {content}
        self.fallback.pop(name, None)
        self.drafts.pop(name, None)
        self.written.discard(name)

    def told_of(self, name):
        """What was said of a name, in order; of each call how it ended, None if it did not."""
        ends = {line["n"]: line["errno"] for line in self.story if "errno" in line}
        said = [line for line in self.story
                if any(f"{name}/".startswith(f"{line.get(key)}/") for key in ("name", "to"))]
        words = [[line.get("by", line["do"]), line["name"], line.get("to"), line.get("hash")] for line in said]
        return [f"{' '.join(filter(None, words))} -> {ends.get(line['n'])}" for words, line in zip(words, said)]

    @property
    def may_be_moving(self):
        """Whether the rename of a directory was cut off, or failed."""
        cut_off = [*self.under_way.values(), *(line for _, line in self.errors)]
        return any(line["do"] == "rename-directory" for line in cut_off)

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
            drafts = self.drafts_of(name)
            if self.is_here_alone(name):
                in_place = [*itertools.takewhile(lambda draft: draft != EMPTY, drafts)]
                allowed = allowed | set(in_place)
                if in_place == drafts:
                    allowed = allowed | self.torn(name)
            if drafts and self.mode == "sync" and name in self.fallback:
                allowed = allowed | self.fallback[name] | set(drafts) | self.torn(name)
            if got not in allowed:
                told = self.told_of(name.partition(".conflict-")[0])
                problems.append(f"{name} is {got}, not one of {sorted(map(str, allowed))}: {told}")
        for rename in self.renames:
            if not rename.holds(files):
                problems.append(f"{rename.moved} is under neither name: {rename.old}, {rename.new}")
        problems += [f"{name} is no directory" for name in sorted(self.directories - directories)]
        extra = directories - self.directories - self.unsure_directories
        return problems + [f"{name} is a directory that nobody made" for name in sorted(extra)]

    def cut_off(self, name):
        """What was being done to a name, or failed: each of these calls is the last one for it."""
        lines = [*self.under_way.values(), *(line for _, line in self.errors)]
        return {line["do"] for line in lines if name in (line["name"], line.get("to"))}

    def left_open(self):
        """The names with writes that returned and no promise begun since; those must be aside."""
        # A file that was only made, or only emptied, has no byte that could be lost.
        return {
            name for name in self.written
            if self.cut_off(name) <= {"write"} and EMPTY not in self.drafts[name][-1 - len(self.cut_off(name)):]
        }

    def may_be_aside(self, name):
        """The contents that a file may have which is kept aside: what it held last, or before what was cut off."""
        drafts, cut_off = self.drafts.get(name, []), self.cut_off(name)
        if not cut_off:
            # The journal knows of a cut before it is made, and of what is written next a moment later.
            return {draft for draft in drafts[-2:-1] if draft in self.cuts} | set(drafts[-1:])
        if cut_off <= {"open", "write"} and len(drafts) > 1:
            return set(drafts[-2:]) | self.torn(name)
        # What was written in place before the file was emptied may be there with what was promised then.
        former = itertools.takewhile(lambda draft: draft != EMPTY, drafts) if "commit" in cut_off else ()
        return set(drafts[-1:]) | set(former) | self.may_be(name) - {None} | self.torn(name)

    @property
    def replaced(self):
        """What renames replace, and unlinks delete, that were cut off: it may be aside, under whatever name."""
        lines = [*self.under_way.values(), *(line for _, line in self.errors)]
        names = {line.get("to", line["name"]) for line in lines if line["do"] in ("rename", "unlink")}
        return set().union(*(self.may_be(name) | set(self.drafts.get(name, ())) for name in names)) - {None}

    def is_all_here(self, name):
        """Whether no byte of what was written to a file and not promised is the server's: it was emptied before.

        Of a promise that was cut off that may be aside which was promised before the file was emptied.
        """
        drafts, cut_off = self.drafts.get(name, []), self.cut_off(name)
        return "commit" not in cut_off and EMPTY in (drafts[:-1] if cut_off else drafts)

    def drafts_of(self, name):
        """What was written to a file since its last promise; that one which is empty is emptied changes nothing."""
        drafts = self.drafts.get(name, [])
        return [*itertools.dropwhile(EMPTY.__eq__, drafts)] if self.allowed.get(name) == {EMPTY} else drafts

    def may_be_uploaded(self, name):
        """Whether a file that was left open is uploaded with what was written to it, instead of being kept aside."""
        if self.mode == "sync":
            return name in self.fallback
        return self.is_here_alone(name) and EMPTY not in self.drafts_of(name)

    def torn(self, name):
        """What a file may hold after a write that was cut off."""
        cut_off = [*self.under_way.values(), *(line for _, line in self.errors)]
        return {content for line in cut_off if line["name"] == name for content in line.get("torn", [])}

    def is_here_alone(self, name):
        """Whether what was promised of a file may be on the local disk alone."""
        return self.mode == "write-back" and len(self.history.get(name, [])) > 1

    def settle(self, found, is_uploaded):
        """Goes on from what was found, which is on the server or will be."""
        files = {path: content for path, content in found.items() if content is not None}
        self.story = [] if is_uploaded else [{**line, "n": ("before", line.get("n"))} for line in self.story]
        if is_uploaded:
            self.history = {path: [content] for path, content in files.items()}
            self.fallback = {}
        else:
            for path in set(self.allowed) | set(files):
                before = self.may_be(path) | set(self.history.get(path, ())) | self.fallback.get(path, set())
                self.fallback[path] = before
                self.history[path] = [*before, files.get(path)]
        self.allowed = {path: {content} for path, content in files.items()}
        self.directories = set(found) - set(files)
        self.unsure_directories = set()
        self.drafts, self.written = {}, set()
        self.under_way, self.renames, self.errors = {}, [], []
