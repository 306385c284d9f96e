"""Random operations on names, on a mount and on a local directory side by side. See modelkit.

Every result and every error must be the same. What is open stays open while its name, or one above it, changes.
"""

import os
import pathlib
import stat

from mountkit import NOREPLACE, read, renameat2, write
from modelkit import must_be, outcome
from servercalls import pattern

NAMES = [
    "a", "b", "c", "a/x", "a/y", "b/x", "b/y", "a/x/p", "a/x/q", "b/x/p", "a/x/p/deep", "c/x", "c/x/ö",
    "a/x.part", "b~",
]
# What no program should do and some do.
ODD_NAMES = [
    ".", "a/", "a/x/", "a/.", "a/..", "a//x", "b/../a/x", "n" * 255, "n" * 256, "a/" + "ö" * 128, "a/x\n",
]

# How often each is done; what changes something takes a request or more.
WEIGHTS = {
    "stat": 400, "exists": 300, "list": 150, "scan": 60, "read": 50, "is_a": 50, "at_stat": 60, "held_stat": 80,
    "held_read": 30, "held_write": 6, "hold": 30, "hold_directory": 20, "drop": 25, "open_directory": 10,
    "mkdir": 30, "rmdir": 20, "unlink": 20, "write": 20, "exclusive": 6, "append": 8, "overwrite": 6, "truncate": 6,
    "rename": 20, "rename_new": 8, "rename_open": 6, "unlink_open": 4, "at_create": 4, "chmod": 6,
    "make_directories": 4,
}
# The same with less of what only looks.
CHANGING = {kind: min(weight, 12) for kind, weight in WEIGHTS.items()}
# Another mount sees no change that keeps the size, and knows nothing of what is open or was set on the first.
SEEN_ELSEWHERE = {
    "stat": 3, "list": 3, "scan": 1, "read": 3, "exists": 1, "mkdir": 9, "rmdir": 3, "unlink": 3, "write": 9,
    "exclusive": 3, "truncate": 3, "rename": 6,
}

HELD = 4
CLOSED = 1 << 20


def tree(root):
    """Every path below a root, with the bytes of a file and None for a directory."""
    found = {}
    for folder, directories, files in os.walk(root):
        for name in directories:
            found[os.path.relpath(f"{folder}/{name}", root)] = None
        for name in files:
            found[os.path.relpath(f"{folder}/{name}", root)] = read(f"{folder}/{name}")
    return found


class Side:
    """One of the places where all is done, and what is open there."""

    def __init__(self, root):
        self.root = str(root)
        self.files = [CLOSED] * HELD
        self.folders = [CLOSED] * HELD

    def replace(self, held, index, descriptor):
        """Closes what was open, and keeps a new descriptor."""
        if held[index] != CLOSED:
            os.close(held[index])
        held[index] = descriptor

    def close(self):
        for held in (self.files, self.folders):
            for index in range(HELD):
                self.replace(held, index, CLOSED)


class Names:
    """The tester of a directory. Through several mounts of it, none sees what only its size could not tell.

    modes: whether what chmod(2) sets is compared. weights: what is done, and how often.
    """

    def __init__(self, root, local, *, others=(), modes=True, weights=None):
        self.root, self.modes = str(root), modes
        self.sides = [Side(root) for root in (self.root, *others)]
        self.local = Side(local)
        self.sizes_differ = bool(others)
        weights = weights or (SEEN_ELSEWHERE if others else WEIGHTS)
        self.kinds, self.weights = list(weights), list(weights.values())
        self.count = 0

    def again(self, root):
        local = f"{self.local.root}-{pathlib.Path(root).name}"
        os.mkdir(root)
        os.mkdir(local)
        # Of several mounts one is enough to see most, and all know it at once.
        return Names(root, local, modes=self.modes)

    def choose(self, chance):
        self.count += 1
        # In a few hundred steps no two of the sizes below meet.
        more = 100 * self.count if self.sizes_differ else 0
        (kind,) = chance.choices(self.kinds, self.weights)
        names = ODD_NAMES if chance.random() < 0.05 else NAMES
        path, other = chance.choice(names), chance.choice(NAMES)
        size, start = chance.choice([1, 10, 5000, 70_000]) + more, chance.randrange(251)
        offset = chance.choice([0, 3, 4096, 60_000]) + more
        return kind, chance.randrange(len(self.sides)), path, other, size, start, offset

    def apply(self, operation):
        kind, side, path, other, size, start, offset = operation
        results = [
            outcome(getattr(self, "do_" + kind), side, f"{side.root}/{path}", f"{side.root}/{other}",
                    pattern(size, start), offset)
            for side in (self.sides[side % len(self.sides)], self.local)
        ]
        must_be(*results, f"{kind} {path!r} {other!r}")

    def settle(self):
        for side in (*self.sides, self.local):
            side.close()
        for side in self.sides:
            must_be(tree(side.root), tree(self.local.root), "all")

    # Looking.

    def shown(self, status):
        """What stat(2) says that is the same on every filesystem."""
        kind = stat.S_IFMT(status.st_mode)
        mode = stat.S_IMODE(status.st_mode) if self.modes else None
        return (kind, mode) if kind == stat.S_IFDIR else (kind, mode, status.st_size, status.st_nlink)

    def do_stat(self, _, path, *__):
        return self.shown(os.stat(path))

    def do_exists(self, _, path, *__):
        return os.path.lexists(path), os.access(path, os.R_OK)

    def do_is_a(self, _, path, *__):
        return os.path.isfile(path), os.path.isdir(path)

    def do_list(self, _, path, *__):
        return sorted(os.listdir(path))

    def do_scan(self, _, path, *__):
        with os.scandir(path) as entries:
            return sorted((entry.name, entry.is_dir(), entry.is_file()) for entry in entries)

    def do_read(self, _, path, *__):
        return read(path)

    def do_open_directory(self, _, path, *__):
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY))

    # Changing names.

    def do_mkdir(self, _, path, *__):
        os.mkdir(path)

    def do_make_directories(self, _, path, *__):
        os.makedirs(path, exist_ok=True)

    def do_rmdir(self, _, path, *__):
        os.rmdir(path)

    def do_unlink(self, _, path, *__):
        os.unlink(path)

    def do_rename(self, _, path, other, *__):
        os.rename(path, other)

    def do_rename_new(self, _, path, other, *__):
        """mv -n: not onto anything."""
        renameat2(path, other, NOREPLACE)

    def do_chmod(self, _, path, __, data, ___):
        # Everybody can read and enter: the tests are not always root.
        os.chmod(path, 0o755 | data[0] % 0o23)

    # Changing files.

    def do_write(self, _, path, __, data, ___):
        write(path, data)

    def do_overwrite(self, _, path, __, data, offset):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
        try:
            os.pwrite(descriptor, data, offset)
            return os.pread(descriptor, 200_000, 0)
        finally:
            os.close(descriptor)

    def do_append(self, _, path, __, data, ___):
        if os.path.isfile(path) and os.stat(path).st_size > 300_000:
            return os.unlink(path)
        return write(path, data, os.O_WRONLY | os.O_APPEND)

    def do_exclusive(self, _, path, __, data, ___):
        write(path, data, os.O_WRONLY | os.O_CREAT | os.O_EXCL)

    def do_truncate(self, _, path, __, ___, offset):
        os.truncate(path, offset + 1)

    def do_rename_open(self, _, path, other, data, offset):
        descriptor = os.open(path, os.O_RDWR)
        try:
            os.rename(path, other)
            os.pwrite(descriptor, data, offset)
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def do_unlink_open(self, _, path, __, data, offset):
        descriptor = os.open(path, os.O_RDWR)
        try:
            os.unlink(path)
            os.pwrite(descriptor, data, offset)
            return os.pread(descriptor, 200_000, 0)
        finally:
            os.close(descriptor)

    # What stays open.

    def do_hold(self, side, path, _, data, __):
        side.replace(side.files, data[0] % HELD, os.open(path, os.O_RDWR))

    def do_hold_directory(self, side, path, _, data, __):
        side.replace(side.folders, data[0] % HELD, os.open(path, os.O_RDONLY | os.O_DIRECTORY))

    def do_drop(self, side, _, __, data, ___):
        side.replace(side.files, data[0] % HELD, CLOSED)
        side.replace(side.folders, data[0] % HELD, CLOSED)

    def do_held_stat(self, side, _, __, data, ___):
        return self.shown(os.fstat(side.files[data[0] % HELD]))

    def do_held_read(self, side, _, __, data, offset):
        return os.pread(side.files[data[0] % HELD], 100_000, offset)

    def do_held_write(self, side, _, __, data, offset):
        return os.pwrite(side.files[data[0] % HELD], data, offset)

    def do_at_stat(self, side, path, _, data, __):
        return self.shown(os.stat(pathlib.Path(path).name or ".", dir_fd=side.folders[data[0] % HELD]))

    def do_at_create(self, side, path, _, data, __):
        name = pathlib.Path(path).name or "new"
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT, 0o666, dir_fd=side.folders[data[0] % HELD])
        try:
            return os.write(descriptor, data)
        finally:
            os.close(descriptor)
