"""Random operations on a mount and on a local directory side by side: results, errors and content must be the same."""

import concurrent.futures
import errno
import os
import random
import threading

import pytest

import faultplan
from mountkit import Mount, read, without_uploads, write
from servercalls import pattern

NAMES = ["a", "b", "c", "a/x", "a/y", "b/x", "b/y", "a/x/p", "a/x/q", "b/x/p"]
CHECKED = 25


def outcome(call, *arguments):
    """What a call comes to: its result or its error."""
    try:
        return call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]


class Operations:
    """What is done at random, each to a path below a root.

    sizes_differ: no file ever has a size that one had before, as another mount sees no change that keeps the size.
    """

    def __init__(self, chance, sizes_differ=False):
        self.chance = chance
        self.count = 0
        self.sizes_differ = sizes_differ
        self.names = [name for name in dir(self) if name.startswith("op_")]
        if sizes_differ:
            others = {"op_append", "op_overwrite", "op_rename_open", "op_unlink_open"}
            self.names = [name for name in self.names if name not in others]

    def choose(self):
        """An operation as a function of the root, and its text."""
        self.count += 1
        # In so few steps no two of the sizes below meet.
        more = 100 * self.count if self.sizes_differ else 0
        name = self.chance.choice(self.names)
        path, other = self.chance.choice(NAMES), self.chance.choice(NAMES)
        data = pattern(self.chance.choice([1, 10, 5000, 70_000]) + more, start=self.chance.randrange(251))
        offset = self.chance.choice([0, 3, 4096, 60_000]) + more

        def run(root):
            return outcome(getattr(self, name), f"{root}/{path}", f"{root}/{other}", data, offset)

        return run, f"{name[3:]} {path} {other} {len(data)} {offset}"

    def op_mkdir(self, path, *_):
        os.mkdir(path)

    op_mkdir_more = op_mkdir_again = op_mkdir

    def op_rmdir(self, path, *_):
        os.rmdir(path)

    def op_unlink(self, path, *_):
        os.unlink(path)

    def op_write(self, path, _, data, __):
        write(path, data)

    op_write_more = op_write_again = op_write

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


def compare(roots, local, seed, count, check=lambda: None):
    """Does so many random operations in both places, each through one of the roots."""
    chance = random.Random(seed)
    operations = Operations(chance, sizes_differ=len(roots) > 1)
    done = []
    for index in range(count):
        operation, text = operations.choose()
        root = chance.choice(roots)
        done.append(f"{roots.index(root)}: {text}")
        assert operation(root) == operation(local), (seed, done[-40:])
        if index % CHECKED == 0:
            check()
    for root in roots:
        assert tree(root) == tree(local), (seed, done[-40:])


def new_seed():
    seed = random.randrange(1 << 32)
    print("seed", seed)
    return seed


@pytest.mark.parametrize("ttl", [0, 0.05, 600])
def test_random_operations_do_what_they_do_on_a_local_disk(server, filesystem, content, tmp_path, ttl):
    def check():
        assert without_uploads(content) == tree(tmp_path)

    with Mount(server, filesystem, "--metadata-ttl", ttl) as mount:
        compare([mount.path], str(tmp_path), new_seed(), 400, check)
        check()


@pytest.mark.parametrize("ttl", [0, 0.05, 600])
def test_random_operations_of_many_at_once_do_not_disturb_one_another(server, filesystem, content, tmp_path, ttl):
    seed = new_seed()
    done = threading.Event()

    def forget():
        while not done.wait(0.2):
            with open("/proc/sys/vm/drop_caches", "w") as caches:
                caches.write("2")

    def work(mount, index):
        for folder in (mount.path, tmp_path):
            os.mkdir(f"{folder}/{index}")
        compare([f"{mount.path}/{index}"], f"{tmp_path}/{index}", seed + index, 150)

    with Mount(server, filesystem, "--metadata-ttl", ttl) as mount, concurrent.futures.ThreadPoolExecutor(7) as pool:
        forgetting = pool.submit(forget)
        try:
            for worker in [pool.submit(work, mount, index) for index in range(6)]:
                worker.result()
        finally:
            done.set()
        forgetting.result()
        assert tree(mount.path) == tree(tmp_path) == without_uploads(content)


def test_random_operations_through_two_mounts_are_seen_by_both_at_once(server, filesystem, content, tmp_path):
    options = "--metadata-ttl", 0
    with Mount(server, filesystem, *options) as one, Mount(server, filesystem, *options) as two:
        compare([one.path, two.path], str(tmp_path), new_seed(), 300)
    assert without_uploads(content) == tree(tmp_path)


def test_a_service_that_fails_now_and_then_is_not_noticed(deployed, request, tmp_path):
    filesystem = deployed.create_filesystem(request.node.name)
    seed = new_seed()
    chance = random.Random(seed)
    refusals = [faultplan.status(500), faultplan.status(503), faultplan.status(429), faultplan.reset()]
    losses = [faultplan.lost(), faultplan.acted_status(502), faultplan.acted_status(504), faultplan.cut(1)]

    def sometimes(exchange):
        if chance.random() < 0.9:
            exchange.answer()
        else:
            # An upload whose id was lost leaves its staging name in sight, as anybody's would be.
            chance.choice(refusals if exchange.call == "begin" else refusals + losses)(exchange)

    with Mount(deployed, filesystem, "--retries", 9, "--metadata-ttl", 0.05) as mount:
        rule = deployed.faults.add("any", sometimes, times=None)
        compare([mount.path], str(tmp_path), seed, 300)
        assert rule.hits > 20
        assert without_uploads(deployed.content(filesystem)) == tree(tmp_path)
