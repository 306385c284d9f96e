"""The operations of the table of faults: what a program does, and what the server holds before and after it.

Each is done in a directory of its own, which holds `before`; paths are relative to it. What is read is compared.
"""

import os
import re

from mountkit import read, run, write
from servercalls import pattern

SMALL, LARGE, NEW = pattern(3000), pattern(200_000, start=3), pattern(5000, start=9)
# Two parts.
HUGE = pattern((8 << 20) + 70_000, start=7)
TREE = {"sub": None, "sub/a": pattern(2000, start=1), "sub/b": pattern(70_000, start=2), "c": pattern(10, start=5)}
FILE = {"f": SMALL}

MOVED = {"to": None, **{f"to/{path}": data for path, data in TREE.items()}}
STAYED = {"from": None, **{f"from/{path}": data for path, data in TREE.items()}}


class CommandFailed(Exception):
    """A command that ended with an error, with what it said."""


def same(got, expected):
    """Asserts that a program got the right bytes."""
    assert got == expected, f"WRONG BYTES: {len(got)} of {len(expected)}"


def stat(root):
    same(os.stat(f"{root}/f").st_size, len(SMALL))


def list_directory(root):
    same(sorted(os.listdir(root)), sorted(name for name in TREE if "/" not in name))


def read_small(root):
    same(read(f"{root}/f"), SMALL)


def read_large(root):
    same(read(f"{root}/f"), LARGE)


def changed(root, flags, data, offset=None, is_synced=False):
    """Writes into a file that is there; a failed fsync is that of the operation, and so is a failed close."""
    descriptor = os.open(f"{root}/f", os.O_RDWR | flags)
    try:
        os.write(descriptor, data) if offset is None else os.pwrite(descriptor, data, offset)
        if is_synced:
            os.fsync(descriptor)
    except BaseException:
        # Its error is told; what its close says beside it is not what is looked at.
        try:
            os.close(descriptor)
        except OSError:
            pass
        raise
    os.close(descriptor)


def command(*arguments):
    """Runs a command; what it says is in the error."""
    result = run(arguments, env={**os.environ, "LC_ALL": "C"})
    if result.returncode != 0:
        raise CommandFailed(result.stderr)


class Operation:
    """before, after: what the directory holds, files with their bytes and directories with None.

    temporary: the names under which a program writes what it renames later.
    changes_names: whether what the server has is what the mount shows, also after a failure; of bytes whose upload
    failed the mount shows the new ones.
    """

    def __init__(self, name, run, before, after, temporary="(?!)", changes_names=False):
        self.name, self.run, self.before, self.after = name, run, before, after
        self.changes_names = changes_names
        self.temporary = re.compile(temporary)


def overwritten(data, new, offset):
    return data[:offset] + new + data[offset + len(new):]


OPERATIONS = [
    Operation("stat", stat, FILE, FILE),
    Operation("list a directory", list_directory, TREE, TREE),
    Operation("open and read, small", read_small, FILE, FILE),
    Operation("open and read, large", read_large, {"f": LARGE}, {"f": LARGE}),
    Operation("create, write, close", lambda root: write(f"{root}/f", NEW), {}, {"f": NEW}),
    Operation("the same in two parts", lambda root: write(f"{root}/f", HUGE), {}, {"f": HUGE}),
    Operation("replace (O_TRUNC)", lambda root: write(f"{root}/f", NEW), FILE, {"f": NEW}),
    Operation(
        "overwrite in place", lambda root: changed(root, 0, NEW, 100_000), {"f": LARGE},
        {"f": overwritten(LARGE, NEW, 100_000)},
    ),
    Operation("append", lambda root: changed(root, os.O_APPEND, NEW), FILE, {"f": SMALL + NEW}),
    Operation(
        "write, fsync", lambda root: changed(root, 0, NEW[:100], 50, is_synced=True), FILE,
        {"f": overwritten(SMALL, NEW[:100], 50)},
    ),
    Operation("truncate", lambda root: os.truncate(f"{root}/f", 1000), FILE, {"f": SMALL[:1000]}),
    Operation(
        "rename a file", lambda root: os.rename(f"{root}/f", f"{root}/g"), FILE, {"g": SMALL}, changes_names=True
    ),
    Operation(
        "rename a directory", lambda root: os.rename(f"{root}/from", f"{root}/to"), STAYED, MOVED, changes_names=True
    ),
    Operation("mkdir", lambda root: os.mkdir(f"{root}/d"), {}, {"d": None}, changes_names=True),
    Operation("unlink", lambda root: os.unlink(f"{root}/f"), FILE, {}, changes_names=True),
    Operation("rmdir", lambda root: os.rmdir(f"{root}/d"), {"d": None}, {}, changes_names=True),
]


def with_local_tree(folder):
    """The operations that copy a tree of this machine, which is made in a folder, to the mount."""
    source = folder / "to"
    for path, data in sorted(TREE.items()):
        target = source / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.mkdir() if data is None else target.write_bytes(data)
    return [
        Operation("cp -r", lambda root: command("cp", "-r", source, root), {}, MOVED),
        Operation("rsync -a", lambda root: command("rsync", "-a", source, root), {}, MOVED, r"(.*/)?\.[^/]+\.\w{6}"),
    ]
