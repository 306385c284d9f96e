"""Random operations on a mount and on a local directory side by side: results, errors and content must be the same."""

import errno
import os
import random

import pytest

from mountkit import Mount, read, without_uploads, write
from servercalls import pattern

NAMES = ["a", "b", "c", "a/a", "a/b", "b/a", "b/c", "a/b/a", "a/b/c", "c/b/a"]
CHECKED = 25


def outcome(call, *arguments):
    """What a call comes to: its result or its error."""
    try:
        return call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]


class Operations:
    """What is done at random, each to a path below a root."""

    def __init__(self, chance):
        self.chance = chance

    def choose(self):
        """An operation as a function of the root, and its text."""
        name = self.chance.choice([name for name in dir(self) if name.startswith("op_")])
        path, other = self.chance.choice(NAMES), self.chance.choice(NAMES)
        data = pattern(self.chance.choice([1, 10, 5000, 70_000]), start=self.chance.randrange(251))
        offset = self.chance.choice([0, 3, 4096, 60_000])

        def run(root):
            return outcome(getattr(self, name), f"{root}/{path}", f"{root}/{other}", data, offset)

        return run, f"{name[3:]} {path} {other} {len(data)} {offset}"

    def op_mkdir(self, path, *_):
        os.mkdir(path)

    op_mkdir_more = op_mkdir

    def op_rmdir(self, path, *_):
        os.rmdir(path)

    def op_unlink(self, path, *_):
        os.unlink(path)

    def op_write(self, path, _, data, __):
        write(path, data)

    op_write_more = op_write

    def op_overwrite(self, path, _, data, offset):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
        try:
            os.pwrite(descriptor, data, offset)
            return os.pread(descriptor, 200_000, 0)
        finally:
            os.close(descriptor)

    def op_append(self, path, _, data, __):
        write(path, data, os.O_WRONLY | os.O_APPEND)

    def op_exclusive(self, path, _, data, __):
        write(path, data, os.O_WRONLY | os.O_CREAT | os.O_EXCL)

    def op_truncate(self, path, _, __, offset):
        os.truncate(path, offset + 1)

    def op_rename(self, path, other, *_):
        os.rename(path, other)

    op_rename_more = op_rename

    def op_rename_open(self, path, other, data, offset):
        descriptor = os.open(path, os.O_RDWR)
        try:
            os.rename(path, other)
            os.pwrite(descriptor, data, offset)
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def op_unlink_open(self, path, _, data, offset):
        descriptor = os.open(path, os.O_RDWR)
        try:
            os.unlink(path)
            os.pwrite(descriptor, data, offset)
            return os.pread(descriptor, 200_000, 0)
        finally:
            os.close(descriptor)

    def op_read(self, path, *_):
        return read(path)

    def op_list(self, path, *_):
        return sorted(os.listdir(path))

    def op_stat(self, path, *_):
        status = os.stat(path)
        return status.st_mode & 0o170000, status.st_size if os.path.isfile(path) else None


def tree(root):
    """Every path below a root, with the bytes of a file and None for a directory."""
    found = {}
    for folder, directories, files in os.walk(root):
        for name in directories:
            found[os.path.relpath(f"{folder}/{name}", root)] = None
        for name in files:
            found[os.path.relpath(f"{folder}/{name}", root)] = read(f"{folder}/{name}")
    return found


@pytest.mark.parametrize("ttl", [0, 0.05, 600])
def test_random_operations_do_what_they_do_on_a_local_disk(server, filesystem, content, tmp_path, ttl):
    seed = random.randrange(1 << 32)
    print("seed", seed)
    operations = Operations(random.Random(seed))
    done = []
    with Mount(server, filesystem, "--metadata-ttl", ttl) as mount:
        for count in range(400):
            operation, text = operations.choose()
            done.append(text)
            assert operation(mount.path) == operation(str(tmp_path)), done[-40:]
            if count % CHECKED == 0:
                assert without_uploads(content) == tree(tmp_path), done[-40:]
        assert tree(mount.path) == tree(tmp_path)
    assert without_uploads(content) == tree(tmp_path)
