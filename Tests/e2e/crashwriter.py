"""The program that writes while something is killed: run by crashkit as a process of its own, below a mount.

    python crashwriter.py '{"root": "/mnt", "device": 52, "seed": 7, "workers": 3, "sizes": [1, 5000], "contents": "…"}'

It says on its standard output, a JSON line each, what it is about to do and then how that ended: what is acknowledged
is what its reader has seen, which outlives any crash of the driver. Contents are named by their hash (`digest`):

    {"n": 4, "do": "write", "name": "w0-a", "hash": "…"}     what the file will hold, as programs here see it; `torn` is
                                                             what it may hold if the write is cut off
    {"n": 4, "errno": 0}                                     `before` is what it held; both are kept below `contents`
    {"n": 5, "do": "commit", "by": "close", "name": "w0-a", "hash": "…"}

`commit` (close, fsync, truncate by path), `rename`, `rename-directory`, `unlink` and `mkdir` promise something once
they have returned; `open` and `write` do not. What it reads that is not what it wrote it says as
{"wrong": name, …}. Each worker, a thread, has names and a seed of its own. It ends when its standard input does,
closing all, or when the driver is gone.
"""

import errno
import hashlib
import itertools
import json
import os
import random
import sys
import threading

# What a system call on a mount says once its driver is dead.
GONE = {errno.ENOTCONN, errno.ECONNABORTED}
# A worker has one of the two directories, or none; while a rename failed half-way, both.
DIRECTORIES = ["d", "e"]
NAMES = ["a", "b", "c", *(f"{directory}/{name}" for directory in DIRECTORIES for name in "ab")]


def hasher(data):
    return hashlib.blake2b(data, digest_size=8)


def digest(data):
    """The name of a content."""
    return hasher(data).hexdigest()


class DriverGone(Exception):
    pass


class Failed(Exception):
    """A call that returned an error, which was said."""


class Said:
    """Standard output, in whole lines whichever thread speaks."""

    def __init__(self):
        self.numbers = itertools.count()
        self.lock = threading.Lock()

    def line(self, **event):
        # A pipe takes a long one in pieces.
        with self.lock:
            os.write(1, json.dumps(event).encode() + b"\n")

    def step(self, call, **event):
        """Says what is about to be done, does it, and says how it ended."""
        number = next(self.numbers)
        self.line(n=number, **event)
        try:
            value = call()
        except OSError as error:
            self.line(n=number, errno=error.errno)
            raise (DriverGone if error.errno in GONE else Failed)(errno.errorcode[error.errno]) from None
        self.line(n=number, errno=0)
        return value


def torn(old, data, offset):
    """What a file may hold after a write that was cut off: pages of it, the first ones first."""
    ends = range(4096 - offset % 4096, len(data), 4096)
    if offset < len(old):
        return [digest(old[:offset] + data[:end] + old[offset + end:]) for end in ends]
    # Each is the one before it and a page more.
    known, contents = hasher(old), []
    for start, end in zip([0, *ends], ends):
        known.update(data[start:end])
        contents.append(known.hexdigest())
    return contents


def write_all(descriptor, data, offset):
    view = memoryview(data)
    while view:
        count = os.pwrite(descriptor, view[:1 << 20], offset)
        view, offset = view[count:], offset + count


class Worker:
    """Works on names of its own until it is told to stop."""

    def __init__(self, index, settings, said, stop):
        self.root, self.prefix = settings["root"], f"w{index}-"
        self.settings = settings
        self.sizes = settings["sizes"]
        self.smallest = min(self.sizes)
        self.chance = random.Random(f"{settings['seed']} {index}")
        self.said, self.stop = said, stop
        # What a program here sees under each name, none if there is no file.
        self.contents = {}
        # Names of which nobody can say what they hold, as a change of them failed.
        self.unknown = set()
        # Open descriptors by name; those of them that were written to since the last promise.
        self.open, self.dirty = {}, set()
        self.directories = set()

    def path(self, name):
        return f"{self.root}/{name}"

    def run(self):
        try:
            self.look()
        except OSError as error:
            assert error.errno in GONE
            return
        try:
            while not self.stop.is_set():
                self.attempt(self.choose())
            for name in set(self.open) - self.unknown:
                self.attempt(lambda name=name: self.close(name))
        except DriverGone:
            pass

    def attempt(self, operation):
        try:
            operation()
        except Failed:
            pass

    def look(self):
        """Reads what an earlier writer left."""
        names = [self.prefix + directory for directory in DIRECTORIES]
        self.directories = {name for name in names if os.path.isdir(self.path(name))}
        for name in NAMES:
            name = self.prefix + name
            self.contents[name] = None
            if os.path.lexists(self.path(name)):
                with open(self.path(name), "rb", buffering=0) as file:
                    self.contents[name] = file.readall()

    # What it does.

    def usable(self):
        return [name for name in self.contents if name not in self.unknown
                and ("/" not in name or name.partition("/")[0] in self.directories)]

    def choose(self):
        chance = self.chance
        if not self.directories and chance.random() < 0.05:
            return self.make_directory
        if len(self.directories) == 1 and chance.random() < 0.03:
            return self.move_directory
        known = sorted(set(self.open) - self.unknown)
        if known and chance.random() < 0.55:
            name = chance.choice(known)
            call = chance.choice([self.overwrite, self.append, self.cut, self.sync, self.close, self.close])
            return lambda: call(name)
        closed = [name for name in self.usable() if name not in self.open]
        if not closed:
            return lambda: None
        name = chance.choice(closed)
        if self.contents[name] is None:
            call = chance.choice([self.create, self.create_and_close, self.replace])
            return lambda: call(name)
        call = chance.choice([
            self.create, self.create_and_close, self.replace, self.open_it, self.open_it, self.truncate, self.move,
            self.move, self.unlink, self.read,
        ])
        return lambda: call(name)

    def data(self):
        return self.chance.randbytes(self.chance.choice(self.sizes))

    def some_data(self, name):
        """What one request of the kernel takes, and a change for sure; of a large file less than a page, as it takes long
        to tell what else is left of it."""
        most = 60_000 if len(self.contents[name]) < 1 << 20 else 100
        return self.chance.randbytes(min(max(1, self.chance.choice(self.sizes)), most))

    def changing(self, name, call, **event):
        """A step after whose failure nobody can say what the name holds."""
        try:
            return self.said.step(call, name=name, **event)
        except Failed:
            self.unknown.add(name)
            raise

    def make_directory(self):
        name = self.prefix + self.chance.choice(DIRECTORIES)
        self.directories.add(name)
        try:
            self.changing(name, lambda: os.mkdir(self.path(name)), do="mkdir")
        except Failed:
            self.unknown.update(other for other in self.contents if "/" in other)
            raise

    def move_directory(self):
        """Renames the directory, if nothing in it is open, was written to without a promise, or is in doubt."""
        [name] = self.directories
        other = next(self.prefix + last for last in DIRECTORIES if self.prefix + last != name)
        below = [file for file in {*self.contents, *self.unknown} if file.startswith((name + "/", other + "/"))]
        if any(file in self.open or file in self.dirty or file in self.unknown for file in below):
            return
        try:
            self.said.step(
                lambda: os.rename(self.path(name), self.path(other)), do="rename-directory", name=name, to=other
            )
        except Failed:
            self.unknown.update(below)
            raise
        self.directories = {other}
        for file in [file for file in below if file.startswith(name + "/")]:
            self.contents[other + file[len(name):]], self.contents[file] = self.contents[file], None

    def opened(self, name, flags, **event):
        self.open[name] = self.changing(
            name, lambda: os.open(self.path(name), os.O_RDWR | flags, 0o666), do="open", **event
        )

    def create(self, name):
        """Opens a file empty, new or not, and writes it whole."""
        self.opened(name, os.O_CREAT | os.O_TRUNC, hash=digest(b""))
        self.contents[name] = b""
        self.put(name, self.data(), 0)

    def create_and_close(self, name):
        self.create(name)
        self.close(name)

    def open_it(self, name):
        self.opened(name, 0)

    def put(self, name, data, offset):
        old = self.contents[name]
        new = old[:offset] + data + old[offset + len(data):]
        event = {"hash": digest(new), "torn": torn(old, data, offset)}
        if max(len(old), len(new)) < 1 << 20:
            event["before"] = self.save(old)
            self.save(new)
        self.changing(name, lambda: write_all(self.open[name], data, offset), do="write", **event)
        self.contents[name] = new
        self.dirty.add(name)

    def save(self, content):
        """Has a content outlive this process; its digest."""
        path = os.path.join(self.settings["contents"], digest(content))
        if not os.path.exists(path):
            with open(path, "wb") as file:
                file.write(content)
        return digest(content)

    def overwrite(self, name):
        """Writes somewhere in the file, perhaps beyond its end."""
        size = len(self.contents[name])
        offset = self.chance.randrange(size + 1)
        self.put(name, self.some_data(name), offset)

    def append(self, name):
        self.put(name, self.some_data(name), len(self.contents[name]))

    def cut(self, name):
        size = self.chance.randint(self.smallest, max(self.smallest, len(self.contents[name])))
        if size == len(self.contents[name]):
            return
        new = self.contents[name][:size].ljust(size, b"\0")
        self.changing(name, lambda: os.ftruncate(self.open[name], size), do="write", cuts=True, hash=digest(new))
        self.contents[name] = new
        self.dirty.add(name)

    def sync(self, name):
        self.commit(name, "fsync", lambda: os.fsync(self.open[name]))

    def close(self, name):
        descriptor = self.open.pop(name)
        self.commit(name, "close", lambda: os.close(descriptor))

    def commit(self, name, by, call):
        self.said.step(call, do="commit", by=by, name=name, hash=digest(self.contents[name]))
        self.dirty.discard(name)

    def truncate(self, name):
        size = self.chance.randint(self.smallest, max(self.smallest, len(self.contents[name])))
        new = self.contents[name][:size].ljust(size, b"\0")
        self.changing(name, lambda: os.truncate(self.path(name), size), do="commit", by="truncate", hash=digest(new))
        self.contents[name] = new

    def move(self, name):
        """Renames to another name that is not open, whatever is there; not what a failed close left in doubt."""
        others = [other for other in self.usable() if other != name and other not in self.open]
        if name in self.dirty or not others:
            return
        self.rename(name, self.chance.choice(others))

    def rename(self, name, other):
        try:
            self.changing(
                name, lambda: os.rename(self.path(name), self.path(other)), do="rename", to=other,
                hash=digest(self.contents[name]),
            )
        except Failed:
            self.unknown.add(other)
            raise
        self.contents[other], self.contents[name] = self.contents[name], None
        self.dirty.discard(other)

    def replace(self, name):
        """What careful programs do: writes another file whole and renames it over this one."""
        above, _, last = name.rpartition("/")
        temporary = f"{above}{'/' if above else ''}.{last}.Xa3b9Z"
        if temporary in self.unknown:
            return
        self.contents[temporary] = None
        try:
            self.create(temporary)
            if self.chance.random() < 0.3:
                self.sync(temporary)
            self.close(temporary)
            self.rename(temporary, name)
        except Failed:
            self.unknown.add(temporary)
            raise
        finally:
            self.open.pop(temporary, None)
            self.contents.pop(temporary)

    def unlink(self, name):
        self.changing(name, lambda: os.unlink(self.path(name)), do="unlink")
        self.contents[name] = None
        self.dirty.discard(name)

    def read(self, name):
        def whole():
            with open(self.path(name), "rb", buffering=0) as file:
                return file.readall()

        got = self.said.step(whole, do="read", name=name)
        if got != self.contents[name]:
            self.said.line(wrong=name, got=digest(got), expected=digest(self.contents[name]), size=len(got))


def main():
    settings = json.loads(sys.argv[1])
    # By way of a descriptor: once a dead mount is taken away its path is that of the directory below it.
    try:
        root = os.open(settings["root"], os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        assert error.errno in GONE
        return
    if os.fstat(root).st_dev != settings["device"]:
        return
    settings["root"] = f"/proc/self/fd/{root}"
    stop = threading.Event()
    said = Said()
    workers = [Worker(index, settings, said, stop) for index in range(settings["workers"])]
    threads = [threading.Thread(target=worker.run) for worker in workers]
    for thread in threads:
        thread.start()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    for thread in threads:
        thread.join()
    # Descriptors of a dead mount need no closing, and the thread that waits for the end of the input no end.
    os._exit(0)


if __name__ == "__main__":
    main()
