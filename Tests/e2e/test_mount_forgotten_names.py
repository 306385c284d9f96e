"""Names that the kernel is made to forget, as those of a walk over many would fill the memory."""

import contextlib
import os
import shutil
import subprocess
import sys
import uuid

import pytest

from mountkit import Mount, check, counting, read, write
from serverkit import poll

COUNT, DIRECTORIES = 300, 30
# Long names, so that fewer fill the memory.
TAIL = "-" * 200
# An eighth of the memory; a name takes some 100 bytes beside its own, and 50 if it is long.
BOUND = (16 << 20) // 8 // (150 + len(TAIL))

# A kernel before 6.18, as far as the driver can tell: it does not know FUSE_NOTIFY_PRUNE.
OLD_KERNEL = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/fuse.h>
#include <sys/uio.h>

ssize_t writev(int descriptor, const struct iovec *parts, int count) {
    const struct fuse_out_header *header = parts[0].iov_base;
    if (parts[0].iov_len == 32 && header->unique == 0 && header->error == 9) {
        errno = EINVAL;
        return -1;
    }
    ssize_t (*real)(int, const struct iovec *, int) = dlsym(RTLD_NEXT, "writev");
    return real(descriptor, parts, count);
}
"""


@pytest.fixture(scope="session")
def old_kernel(tmp_path_factory):
    """A library that makes the kernel look old to a program that it is preloaded into."""
    folder = tmp_path_factory.mktemp("old-kernel")
    (folder / "old.c").write_text(OLD_KERNEL)
    check([shutil.which("cc") or "clang", "-shared", "-fPIC", "-o", folder / "old.so", folder / "old.c"])
    return str(folder / "old.so")


@pytest.fixture(params=["pruning", "old kernel"])
def kernel(request, monkeypatch):
    """The kernel as it is, or as one that can be made to forget single names alone."""
    if request.param == "old kernel":
        monkeypatch.setenv("LD_PRELOAD", request.getfixturevalue("old_kernel"))
    return request.param


@pytest.fixture
def mount(our_server, filesystem, kernel, monkeypatch):
    """A mount with little memory, which believes what it knows for longer than any test takes."""
    with Mount(our_server, filesystem, "--memory", "16M", "--metadata-ttl", 600, limit=300) as mount:
        monkeypatch.delenv("LD_PRELOAD", raising=False)
        yield mount


@pytest.fixture
def server(our_server):
    """One server will do: what is tested is between the kernel and the driver."""
    return our_server


@pytest.fixture(scope="module")
def filesystem(our_server):
    """A filesystem with many small files: in many directories, and in one; a few others, to be changed."""
    filesystem = our_server.create_filesystem(str(uuid.uuid4()))
    content = our_server.content(filesystem)
    for directory in range(DIRECTORIES):
        for index in range(COUNT):
            content.write(f"t/d{directory:02}/f{index:03}{TAIL}", b"%02d" % directory)
            content.write(f"w/f{directory:02}-{index:03}{TAIL}", b"")
    return filesystem


def walk(mount, directory="t", count=COUNT * DIRECTORIES):
    """Has every size asked for, as du(1) does."""
    found = check(["find", mount / directory, "-xdev", "-type", "f", "-size", "-1025c"], timeout=200)
    assert found.count("\n") == count


def walk_and_wait(mount, *arguments, **options):
    """The same, until few names are left of it."""
    walk(mount, *arguments, **options)
    poll(lambda: mount.known_names <= BOUND, what="fewer names that the kernel knows")


def test_a_walk_over_many_names_memory_stays_bounded(mount):
    walk_and_wait(mount)


def test_one_directory_of_many_names_memory_stays_bounded(mount, kernel):
    walk(mount, "w")
    if kernel == "old kernel":
        # It would also forget what is in use: so not what is in the directory that was used last.
        for directory in range(5):
            walk(mount, f"t/d{directory:02}", COUNT)
    walk_and_wait(mount, "t/d00", COUNT)


def test_forgotten_names_cost_no_request_and_are_what_they_were(server, mount):
    names = ["t/d00", f"t/d00/f000{TAIL}", f"t/d01/f299{TAIL}"]
    before = {name: os.stat(mount / name) for name in names}
    walk_and_wait(mount)
    with counting(server) as seen:
        for name, status in before.items():
            now = os.stat(mount / name)
            assert (now.st_ino, now.st_size, now.st_mode) == (status.st_ino, status.st_size, status.st_mode)
        assert not os.path.exists(mount / "t/d00/none")
    assert seen.calls == {}
    assert read(mount / f"t/d00/f000{TAIL}") == b"00"


def test_forgotten_names_can_be_renamed_removed_and_written(mount, content):
    for name in "abcd":
        content.write(f"x/{name}", name.encode())
    content.write("x/e/f", b"f")
    assert sorted(os.listdir(mount / "x")) == list("abcde") and read(mount / "x/e/f") == b"f"
    for name in "abcd":
        assert os.stat(mount / f"x/{name}").st_size == 1
    walk_and_wait(mount)
    os.rename(mount / "x/a", mount / "new")
    os.unlink(mount / "x/b")
    os.rename(mount / "x/e", mount / "moved")
    write(mount / "x/c", b"other")
    os.rename(mount / "x/c", mount / "x/d")
    assert os.listdir(mount / "x") == ["d"]
    assert [read(mount / name) for name in ("new", "moved/f", "x/d")] == [b"a", b"f", b"other"]
    assert [content.read(name) for name in ("new", "moved/f", "x/d")] == [b"a", b"f", b"other"]
    for name in ("new", "moved", "x"):
        check(["rm", "-r", mount / name])


@contextlib.contextmanager
def inside(directory):
    """A program that is in a directory; asked for a file, it tells where it is and what the file holds."""
    code = "import os, sys\nfor name in sys.stdin: print(os.getcwd(), open(name.strip()).read(), flush=True)"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=directory, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        def ask(name):
            process.stdin.write(name + "\n")
            process.stdin.flush()
            return process.stdout.readline().split()

        yield ask
    finally:
        process.kill()
        process.communicate()


def test_what_programs_use_stays_while_other_names_are_forgotten(mount, tmp_path):
    path_only = os.open(mount / "t/d02", os.O_PATH)
    descriptor = os.open(mount / f"t/d01/f000{TAIL}", os.O_RDONLY)
    (tmp_path / "on top").write_text("here")
    check(["mount", "--bind", tmp_path, mount / "t/d03"])
    try:
        with inside(mount / "t/d00") as ask:
            assert ask(f"f000{TAIL}") == [mount / "t/d00", "00"]
            walk_and_wait(mount, count=COUNT * (DIRECTORIES - 1))
            assert ask(f"f001{TAIL}") == [mount / "t/d00", "00"]
        assert os.listdir(mount / "t/d03") == ["on top"]
        assert os.readlink(f"/proc/self/fd/{descriptor}") == mount / f"t/d01/f000{TAIL}"
        assert os.readlink(f"/proc/self/fd/{path_only}") == mount / "t/d02"
        assert os.pread(descriptor, 10, 0) == b"01"
        assert os.stat(f"f299{TAIL}", dir_fd=path_only).st_size == 2
    finally:
        os.close(descriptor)
        os.close(path_only)
        check(["umount", mount / "t/d03"])
