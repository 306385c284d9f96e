"""Many at once on a mount: threads, programs, two mounts, and a kernel that forgets what it was told."""

import concurrent.futures
import errno
import os
import random
import threading

import pytest

from mountkit import Mount, check, counting, python, read, write
from servercalls import pattern


def test_many_files_written_at_once_are_all_there(content, mount):
    def work(index):
        os.mkdir(mount / f"{index}")
        for number in range(10):
            write(mount / f"{index}/{number}", pattern(1000 * number + index + 1))
            assert read(mount / f"{index}/{number}") == pattern(1000 * number + index + 1)
        os.rename(mount / f"{index}/0", mount / f"{index}/renamed")
        os.unlink(mount / f"{index}/1")

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    wanted = {}
    for index in range(8):
        wanted[f"{index}"] = None
        wanted[f"{index}/renamed"] = pattern(index + 1)
        wanted |= {f"{index}/{number}": pattern(1000 * number + index + 1) for number in range(2, 10)}
    assert content.tree() == wanted


def test_more_files_can_be_open_and_unsent_than_a_process_may_open_by_default(deployed, request):
    filesystem = deployed.create_filesystem(request.node.name)
    code = """
import concurrent.futures, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
descriptors = [os.open(f"{sys.argv[1]}/{index}", os.O_RDWR | os.O_CREAT) for index in range(1100)]
for index, descriptor in enumerate(descriptors):
    os.write(descriptor, b"%d" % index)
with concurrent.futures.ThreadPoolExecutor(32) as pool:
    list(pool.map(os.close, descriptors))
"""
    with Mount(deployed, filesystem) as mount:
        python(code, mount.path)
    assert deployed.content(filesystem).tree() == {f"{index}": b"%d" % index for index in range(1100)}


def test_a_name_that_many_want_to_make_is_made_by_one(content, mount):
    def race(call):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            return sum(pool.map(lambda _: attempt(call), range(8)))

    def attempt(call):
        try:
            call()
            return 1
        except FileExistsError:
            return 0

    assert race(lambda: os.mkdir(mount / "d")) == 1
    assert race(lambda: write(mount / "f", b"x", os.O_CREAT | os.O_EXCL | os.O_WRONLY)) == 1
    assert content.tree() == {"d": None, "f": b"x"}


def test_a_file_replaced_again_and_again_is_always_read_whole(content, mount):
    versions = [bytes([letter]) * size for letter, size in zip(b"abcdef", (1000, 70_000, 200_000, 3, 150_000, 65_536))]
    write(mount / "f", versions[0])
    done = threading.Event()

    def replace():
        for version in versions * 5:
            write(mount / "new", version)
            os.rename(mount / "new", mount / "f")
        done.set()

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        writer = pool.submit(replace)
        reads = 0
        while not done.is_set() and not writer.done():
            assert read(mount / "f") in versions
            reads += 1
        writer.result()
    assert reads > 5
    assert content.tree() == {"f": versions[-1]}


def test_opposite_renames_at_once_lose_nothing(content, mount):
    for name in "ab":
        content.write(f"{name}/f", name.encode())
    chance = random.Random(1)

    def rename(names):
        source, target = names
        try:
            os.rename(mount / source, mount / target)
        except OSError as error:
            assert error.errno in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST, errno.EINVAL), error

    moves = [("a", "b/a"), ("b", "a/b"), ("b/a", "a"), ("a/b", "b"), ("a/f", "g"), ("g", "a/f")] * 5
    chance.shuffle(moves)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(rename, moves))
    assert sorted(data for data in content.tree().values() if data) == [b"a", b"b"]


def test_two_mounts_see_each_others_files(server, filesystem, content):
    with Mount(server, filesystem, "--metadata-ttl", 0) as one, Mount(server, filesystem, "--metadata-ttl", 0) as two:
        os.mkdir(one / "d")
        write(one / "d/f", b"by one")
        assert read(two / "d/f") == b"by one"
        write(two / "d/f", b"by the other")
        assert read(one / "d/f") == b"by the other"
        os.rename(two / "d/f", two / "d/g")
        assert os.listdir(one / "d") == ["g"]
        os.unlink(one / "d/g")
        assert os.listdir(two / "d") == []
        os.rmdir(two / "d")
        assert os.listdir(one.path) == [] and content.tree() == {}


def test_of_two_writers_on_two_mounts_the_last_wins_whole(server, filesystem, content):
    with Mount(server, filesystem) as one, Mount(server, filesystem) as two:
        first, second = (os.open(mount / "f", os.O_RDWR | os.O_CREAT) for mount in (one, two))
        os.write(first, b"1" * 100_000)
        os.write(second, b"2" * 50_000)
        os.close(second)
        assert content.read("f") == b"2" * 50_000
        os.close(first)
        assert content.read("f") == b"1" * 100_000


@pytest.mark.parametrize("what", ["names", "open file", "unsent file"])
def test_what_the_kernel_forgets_is_found_again(content, mount, what):
    for index in range(50):
        content.write(f"d/{index}", pattern(70_000))
    assert check(["ls", "-lR", mount.path]).count(" 70000 ") == 50
    descriptor = os.open(mount / "d/7", os.O_RDWR)
    if what == "unsent file":
        os.pwrite(descriptor, b"changed", 0)
    if what == "names":
        os.close(descriptor)
    # Dentries and inodes: the kernel sends FORGET for what nobody has open.
    with open("/proc/sys/vm/drop_caches", "w") as caches:
        caches.write("2")
    assert check(["ls", "-lR", mount.path]).count(" 70000 ") == 50
    assert read(mount / "d/8") == pattern(70_000)
    if what == "open file":
        assert os.pread(descriptor, 70_000, 0) == pattern(70_000)
    if what == "unsent file":
        assert read(mount / "d/7") == b"changed" + pattern(69_993, start=7)
    if what != "names":
        os.close(descriptor)
        assert content.read("d/7") == read(mount / "d/7")


def test_attributes_and_unlinked_files_survive_what_the_kernel_forgets(server, content, mount):
    content.write("f", b"x")
    content.write("g", pattern(100_000))
    os.chmod(mount / "f", 0o751)
    os.utime(mount / "f", (1000, 2000))
    descriptor = os.open(mount / "g", os.O_RDONLY)
    os.unlink(mount / "g")
    with open("/proc/sys/vm/drop_caches", "w") as caches:
        caches.write("3")
    with counting(server) as seen:
        assert os.pread(descriptor, 100_000, 0) == pattern(100_000)
    assert seen.calls == {}
    os.close(descriptor)
    status = os.stat(mount / "f")
    assert (status.st_mode & 0o777, status.st_mtime) == (0o751, 2000)
