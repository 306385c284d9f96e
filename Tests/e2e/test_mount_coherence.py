"""What is done to a file by others meanwhile, and during its upload: never a mix, never a made-up byte."""

import concurrent.futures
import contextlib
import errno
import mmap
import os
import subprocess
import sys

import pytest

import faultplan
from mountkit import Mount, check, counting, fails, read, refused, without_uploads, write
from servercalls import pattern
from serverkit import poll

OLD = pattern(300_000)
SHORTER, LONGER = pattern(200_000, start=100), pattern(400_000, start=50)


@contextlib.contextmanager
def spinning(count):
    """Keeps the machine's processors busy with so many processes."""
    spinners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


# Versions of others.

@pytest.mark.parametrize("new", [SHORTER, pattern(10), LONGER], ids=["shorter", "tiny", "longer"])
def test_a_file_replaced_after_its_size_was_asked_is_read_as_one_version(server, filesystem, content, new):
    content.write("f", OLD)
    with Mount(server, filesystem, "--metadata-ttl", 600) as mount:
        os.stat(mount / "f")
        content.write("f", new)
        with contextlib.suppress(OSError):
            # Within the TTL the size is what it was: of a longer version no more is seen than that.
            assert read(mount / "f") in (new, new[:len(OLD)])
        if len(new) < len(OLD):
            assert read(mount / "f") == new and os.stat(mount / "f").st_size == len(new)


def test_files_that_became_shorter_are_read_without_made_up_zeros_on_a_busy_machine(server, filesystem, content):
    """The kernel misses a size that it is told while it is made to forget the one that it knew: one file in seven."""
    names = [f"f{number}" for number in range(40)]
    with Mount(server, filesystem, "--metadata-ttl", 600) as mount, spinning(4):
        for name in names:
            content.write(name, OLD)
        for name in names:
            os.stat(mount / name)
            content.write(name, SHORTER)
        for name in names:
            with contextlib.suppress(OSError):
                got = read(mount / name)
                assert got == SHORTER, (name, len(got))
            # No error stays.
            assert read(mount / name) == SHORTER, name


def test_a_size_told_by_a_directory_listing_is_never_filled_up_with_zeros(server, filesystem, content):
    content.write("d/f", OLD)
    with Mount(server, filesystem, "--metadata-ttl", 600) as mount:
        check(["ls", "-l", mount / "d"])
        # The kernel forgets; its next listing brings names and sizes in one answer.
        with open("/proc/sys/vm/drop_caches", "w") as drop:
            drop.write("2")
        check(["ls", "-l", mount / "d"])
        content.write("d/f", SHORTER)
        with contextlib.suppress(OSError):
            assert read(mount / "d/f") in (SHORTER, OLD)
        assert read(mount / "d/f") == SHORTER


def test_the_first_write_after_a_pause_is_not_over_a_version_that_is_past(server, filesystem, content):
    with Mount(server, filesystem, "--metadata-ttl", 1) as mount:
        descriptor = os.open(mount / "f", os.O_RDWR | os.O_CREAT)
        os.write(descriptor, OLD)
        os.fsync(descriptor)
        content.write("f", LONGER)
        poll(lambda: os.stat(mount / "f").st_size == len(LONGER), what="news of the other version")
        os.pwrite(descriptor, b"x", 0)
        os.close(descriptor)
        assert content.read("f") == b"x" + LONGER[1:]


def test_the_first_write_after_a_pause_asks_for_the_size_that_the_file_has(server, filesystem, content):
    """Nobody looked at the file meanwhile, and what was written before is still kept here."""
    with Mount(server, filesystem, "--metadata-ttl", 0) as mount:
        descriptor = os.open(mount / "f", os.O_RDWR | os.O_CREAT)
        os.write(descriptor, OLD)
        os.fsync(descriptor)
        content.write("f", LONGER)
        os.pwrite(descriptor, b"x", 0)
        os.close(descriptor)
        assert content.read("f") == b"x" + LONGER[1:]


@pytest.mark.parametrize("new", [SHORTER, pattern(10)], ids=["shorter", "tiny"])
def test_a_file_seen_to_have_changed_while_it_is_read_is_read_anew(server, filesystem, content, new):
    content.write("f", OLD)
    with Mount(server, filesystem, "--metadata-ttl", 600) as mount:
        descriptor = os.open(mount / "f", os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        assert os.pread(descriptor, 1000, 0) == OLD[:1000]
        content.write("f", new)
        with contextlib.suppress(OSError):
            # It may be cut short where the error is met.
            got = os.pread(descriptor, 50_000, 150_000)
            assert got in (new[150_000:150_000 + len(got)], OLD[150_000:150_000 + len(got)])
        with contextlib.suppress(OSError):
            os.pread(descriptor, 50_000, 250_000)
        os.close(descriptor)
        assert read(mount / "f") == new and os.stat(mount / "f").st_size == len(new)


def test_a_file_that_is_gone_while_it_is_read_is_an_error(server, filesystem, content):
    content.write("f", OLD)
    with Mount(server, filesystem, "--metadata-ttl", 2) as mount:
        descriptor = os.open(mount / "f", os.O_RDONLY)
        content.remove("f")
        with pytest.raises(OSError) as caught:
            # Beyond the first bytes, which come with the open.
            os.pread(descriptor, 1000, 200_000)
        assert caught.value.errno in (errno.ESTALE, errno.EIO)
        os.close(descriptor)
        poll(lambda: not os.path.exists(mount / "f"), what="end of the name")


def test_a_partial_overwrite_never_mixes_two_versions(server, filesystem, content):
    content.write("f", OLD)
    with Mount(server, filesystem, "--metadata-ttl", 600, "--retries", 0) as mount:
        descriptor = os.open(mount / "f", os.O_RDWR)
        os.pwrite(descriptor, b"changed", 150_000)
        content.write("f", SHORTER)
        fails(errno.EIO, os.close, descriptor)
        assert content.read("f") == SHORTER
        # What was written is of no use without the rest of its version: told once more, and kept.
        refused(mount.unmount(), "recovered/")
        assert mount.unmount().returncode == 0


def test_a_file_that_vanished_behind_a_writer_is_not_lost_silently(server, filesystem, content):
    content.write("f", b"old")
    with Mount(server, filesystem, "--metadata-ttl", 0) as mount:
        descriptor = os.open(mount / "f", os.O_RDWR)
        content.remove("f")
        assert os.listdir(mount.path) == []
        try:
            os.pwrite(descriptor, b"NEW", 0)
            os.close(descriptor)
        except OSError as error:
            assert error.errno in (errno.ESTALE, errno.EIO)
            assert content.tree() == {}
            with contextlib.suppress(OSError):
                os.close(descriptor)
        else:
            assert content.tree() == {"f": b"NEW"}


def test_an_empty_file_on_the_server_is_empty(content, mount):
    content.write("f", b"")
    assert read(mount / "f") == b"" and os.stat(mount / "f").st_size == 0
    write(mount / "f", b"no longer", os.O_WRONLY | os.O_APPEND)
    assert content.read("f") == b"no longer" == read(mount / "f")


# Ways of writing that promise more than write(2) alone.

@pytest.mark.parametrize("flag", [os.O_SYNC, os.O_DSYNC])
def test_a_synchronous_write_is_on_the_server_when_it_returns(content, mount, flag):
    content.write("f", b"old")
    descriptor = os.open(mount / "f", os.O_WRONLY | flag)
    os.write(descriptor, b"new")
    assert content.read("f") == b"new"
    os.close(descriptor)


def test_direct_reads_and_writes_work(content, mount):
    content.write("f", OLD)
    descriptor = os.open(mount / "f", os.O_RDWR | os.O_DIRECT)
    buffer = mmap.mmap(-1, 8192)
    assert os.preadv(descriptor, [buffer], 4096) == 8192 and buffer[:] == OLD[4096:12288]
    buffer[:] = b"x" * 8192
    assert os.pwritev(descriptor, [buffer], 8192) == 8192
    os.close(descriptor)
    wanted = OLD[:8192] + b"x" * 8192 + OLD[16384:]
    assert content.read("f") == wanted == read(mount / "f")


def test_a_direct_read_may_go_beyond_the_end_of_a_file_that_was_larger(content, mount):
    content.write("f", pattern(3 << 20))
    assert len(read(mount / "f")) == 3 << 20
    os.truncate(mount / "f", 100_000)
    descriptor = os.open(mount / "f", os.O_RDONLY | os.O_DIRECT)
    buffer = mmap.mmap(-1, 1 << 20)
    assert os.preadv(descriptor, [buffer], 0) == 100_000
    os.close(descriptor)
    assert buffer[:100_000] == pattern(3 << 20)[:100_000]


# While an upload is under way.

NEW = pattern(250_000, start=77)


class Closing:
    """A file written anew whose close waits for an upload that stands still at some call, until `go_on`."""

    def __init__(self, server, path, call="put"):
        self.server, self.path, self.call = server, path, call

    def __enter__(self):
        rule = self.server.faults.add(self.call, faultplan.stall())
        self.pool = concurrent.futures.ThreadPoolExecutor(4)
        self.closed = self.pool.submit(write, self.path, NEW)
        rule.wait()
        return self

    def meanwhile(self, call, *arguments):
        """Starts something beside it."""
        return self.pool.submit(call, *arguments)

    def go_on(self):
        self.server.faults.clear()
        self.closed.result(60)

    def __exit__(self, *_):
        self.server.faults.clear()
        self.pool.shutdown()


@pytest.fixture
def uploading(deployed, request):
    filesystem = deployed.create_filesystem(request.node.name)
    content = deployed.content(filesystem)
    content.write("d/f", OLD)
    with Mount(deployed, filesystem) as mount:
        yield mount, content


@pytest.mark.parametrize("call", ["begin", "put", "complete"])
def test_a_file_can_be_read_and_stat_while_it_is_uploaded(deployed, uploading, call):
    mount, content = uploading
    with Closing(deployed, mount / "d/f", call) as closing:
        assert closing.meanwhile(read, mount / "d/f").result(60) == NEW
        assert closing.meanwhile(os.stat, mount / "d/f").result(60).st_size == len(NEW)
        assert closing.meanwhile(os.listdir, mount / "d").result(60) == ["f"]
        assert content.read("d/f") == OLD and not closing.closed.done()
        closing.go_on()
    assert content.tree() == {"d": None, "d/f": NEW}


@pytest.mark.parametrize("call", ["begin", "put", "complete"])
def test_other_files_are_written_while_one_is_uploaded(deployed, uploading, call):
    mount, content = uploading
    with Closing(deployed, mount / "d/f", call) as closing:
        closing.meanwhile(write, mount / "d/g", b"another").result(60)
        closing.meanwhile(os.mkdir, mount / "d/sub").result(60)
        closing.meanwhile(os.rename, mount / "d/g", mount / "d/sub/g").result(60)
        assert content.read("d/sub/g") == b"another"
        closing.go_on()
    assert content.tree() == {"d": None, "d/f": NEW, "d/sub": None, "d/sub/g": b"another"}


@pytest.mark.parametrize("call", ["begin", "put", "complete"])
def test_what_is_written_during_an_upload_is_uploaded_too(deployed, uploading, call):
    mount, content = uploading
    with Closing(deployed, mount / "d/f", call) as closing:
        second = closing.meanwhile(write, mount / "d/f", b"the second", os.O_WRONLY)
        closing.go_on()
        second.result(60)
    wanted = b"the second" + NEW[10:]
    assert without_uploads(content) == {"d": None, "d/f": wanted} and read(mount / "d/f") == wanted


@pytest.mark.parametrize("call", ["begin", "put", "complete"])
@pytest.mark.parametrize("size", [100, 300_000])
def test_a_truncation_during_an_upload_comes_after_it(deployed, uploading, call, size):
    mount, content = uploading
    with Closing(deployed, mount / "d/f", call) as closing:
        cut = closing.meanwhile(os.truncate, mount / "d/f", size)
        closing.go_on()
        cut.result(60)
    wanted = NEW[:size] + bytes(max(0, size - len(NEW)))
    assert content.read("d/f") == wanted == read(mount / "d/f")


@pytest.mark.parametrize("call", ["begin", "put", "complete"])
@pytest.mark.parametrize("change", ["rename", "rename over", "rename directory", "unlink"])
def test_a_change_of_its_name_during_an_upload_leaves_one_file(deployed, uploading, call, change):
    mount, content = uploading
    content.write("g", b"another")
    with Closing(deployed, mount / "d/f", call) as closing:
        changed = {
            "rename": lambda: closing.meanwhile(os.rename, mount / "d/f", mount / "h"),
            "rename over": lambda: closing.meanwhile(os.rename, mount / "d/f", mount / "g"),
            "rename directory": lambda: closing.meanwhile(os.rename, mount / "d", mount / "e"),
            "unlink": lambda: closing.meanwhile(os.unlink, mount / "d/f"),
        }[change]()
        closing.go_on()
        changed.result(60)
    tree = {
        "rename": {"d": None, "h": NEW, "g": b"another"}, "rename over": {"d": None, "g": NEW},
        "rename directory": {"e": None, "e/f": NEW, "g": b"another"}, "unlink": {"d": None, "g": b"another"},
    }[change]
    assert without_uploads(content) == tree
    for path, data in tree.items():
        assert data is None or read(mount / path) == data


def test_a_file_that_is_read_while_it_is_replaced_here_is_one_of_both(deployed, uploading):
    mount, content = uploading
    os.stat(mount / "d/f")
    with Closing(deployed, mount / "d/new") as closing:
        # The kernel looks names up in no directory in which one is being moved; this one it knows.
        moved = closing.meanwhile(os.rename, mount / "d/new", mount / "d/f")
        assert closing.meanwhile(read, mount / "d/f").result(60) in (OLD, NEW)
        closing.go_on()
        moved.result(60)
    assert content.tree() == {"d": None, "d/f": NEW}


def test_a_new_files_name_is_taken_before_its_upload_is_done(deployed, uploading):
    mount, content = uploading
    with Closing(deployed, mount / "d/new") as closing:
        fails(errno.EEXIST, os.mkdir, mount / "d/new")
        fails(errno.EEXIST, os.open, mount / "d/new", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        closing.go_on()
    assert content.tree() == {"d": None, "d/f": OLD, "d/new": NEW}


def test_an_upload_into_a_directory_that_others_removed_is_an_error(deployed, uploading):
    mount, content = uploading
    os.listdir(mount / "d")
    content.remove("d")
    with counting(deployed) as seen:
        with pytest.raises(OSError) as caught:
            write(mount / "d/new", NEW)
    assert caught.value.errno in (errno.EIO, errno.ENOENT, errno.ESTALE)
    assert "put" not in seen.calls
    # So that nothing is left to upload.
    content.mkdir("d")
    poll(lambda: not os.path.exists(mount / "d/new") or os.unlink(mount / "d/new") is None, what="end of the file")
