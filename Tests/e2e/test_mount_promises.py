"""Single sentences of docs/semantics.md that no other test shows."""

import errno
import os
import pathlib
import re
import subprocess

import pytest

import faultplan
from mountkit import Mount, counting, fails, libc, read, tetherfs, write
from servercalls import pattern
from serverkit import poll

DATA = pattern(3_000_000)


def test_what_was_written_is_on_the_local_disk_and_on_no_server_before_close(server, content, mount):
    with counting(server) as seen:
        descriptor = os.open(mount / "f", os.O_WRONLY | os.O_CREAT)
        assert os.write(descriptor, DATA[:100_000]) == 100_000
        staged = [path.read_bytes() for path in mount.cache_dir.rglob("staging/*") if path.is_file()]
        assert DATA[:100_000] in staged
        assert content.tree() == {}
    assert seen.calls["put"] == 0
    os.close(descriptor)
    assert content.read("f") == DATA[:100_000]


def test_bytes_that_are_gone_from_an_open_file_are_an_error_and_what_is_there_is_read_as_it_is_now(
        server, filesystem, content):
    content.write("f", DATA)
    shorter = pattern(1_000_000, start=5)
    with Mount(server, filesystem, "--metadata-ttl", 600) as mount, open(mount / "f", "rb", buffering=0) as file:
        content.write("f", shorter)
        fails(errno.EIO, os.pread, file.fileno(), 1000, 2_000_000)
        assert os.pread(file.fileno(), 1000, 500_000) == shorter[500_000:501_000]
        assert read(mount / "f") == shorter


@pytest.mark.parametrize("new", [pattern(400_000, start=9), pattern(300_000, start=9)], ids=["longer", "as long"])
def test_who_has_a_replaced_file_open_reads_the_new_version_once_it_is_opened_anew(server, filesystem, content, new):
    old = pattern(300_000)
    content.write("f", old)
    options = ["--metadata-ttl", 0.2, "--block-ttl", 1]
    with Mount(server, filesystem, *options) as mount, open(mount / "f", "rb", buffering=0) as file:
        assert os.pread(file.fileno(), 500_000, 0) == old
        content.write("f", new)
        assert os.pread(file.fileno(), 500_000, 0) == old
        poll(lambda: read(mount / "f") == new, what="the new version")
        assert os.pread(file.fileno(), 500_000, 0) == new


def test_a_changed_byte_uploads_the_whole_file(server, content, mount):
    write(mount / "f", DATA)
    with counting(server) as seen:
        write(mount / "f", b"!", os.O_WRONLY)
    ranges = [entry.content_range.rpartition(":")[2] for entry in seen.entries if entry.method == "PUT"]
    ends = [tuple(map(int, part.split("-"))) for part in ranges]
    assert sum(end - start for start, end in ends) == len(DATA)
    assert content.read("f") == b"!" + DATA[1:]


def synced(mount, change):
    """The files whose bytes the driver has had synced while something was done, in order, by their names."""
    trace = mount.folder / "trace"
    tracer = subprocess.Popen(
        ["strace", "-f", "-y", "-p", str(mount.pid), "-e", "trace=fsync,fdatasync", "-o", trace],
        stderr=subprocess.DEVNULL,
    )
    try:
        tasks = pathlib.Path("/proc", str(mount.pid), "task")
        poll(lambda: all("TracerPid:\t0\n" not in (task / "status").read_text() for task in tasks.iterdir()),
             what="the tracer")
        change()
    finally:
        tracer.terminate()
        tracer.wait()
    paths = re.findall(r"(?:fsync|fdatasync)\(\d+<(.*?)>", trace.read_text())
    return [re.sub(r"^dirty-.*", "dirty", os.path.basename(path)) for path in paths]


def test_a_close_in_write_back_has_bytes_name_and_record_synced_in_that_order(server, filesystem):
    options = ["--writes", "write-back", "--temporary-names", "*", "--temporary-delay", 600]
    with Mount(server, filesystem, *options) as mount:
        assert synced(mount, lambda: write(mount / "f", b"data")) == ["dirty", "staging", "journal.sqlite-wal"]
        # What is safe stays so without another one.
        assert synced(mount, lambda: os.close(os.open(mount / "f", os.O_RDWR))) == []
        assert synced(mount, lambda: os.rename(mount / "f", mount / "g")) == []
        write(mount / "f", b"more")
        # The record of what is replaced goes for good.
        assert "journal.sqlite-wal" in synced(mount, lambda: os.rename(mount / "f", mount / "g"))


def test_sync_and_syncfs_upload_nothing(server, content, mount):
    descriptor = os.open(mount / "f", os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, b"data")
    with counting(server) as seen:
        assert libc.syncfs(descriptor) == 0
        os.sync()
    assert seen.calls["put"] == seen.calls["post"] == 0
    os.close(descriptor)
    assert content.read("f") == b"data"


@pytest.mark.parametrize("server", ["deployed"], indirect=True)
def test_flush_uploads_what_a_close_could_not(server, filesystem, content):
    with Mount(server, filesystem, "--retries", 0) as mount:
        server.faults.add("put", faultplan.status(503), times=None)
        fails(errno.EIO, write, mount / "f", b"data")
        server.faults.clear()
        assert tetherfs("flush", mount.path).returncode == 0
        assert content.read("f") == b"data"


def test_a_new_file_is_seen_here_at_once_and_elsewhere_when_it_was_closed(server, filesystem, mount):
    with Mount(server, filesystem, "--metadata-ttl", 0) as elsewhere:
        descriptor = os.open(mount / "f", os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, b"data")
        assert os.listdir(mount.path) == ["f"] and os.stat(mount / "f").st_size == 4
        assert os.listdir(elsewhere.path) == []
        os.close(descriptor)
        assert os.listdir(elsewhere.path) == ["f"]


def test_every_link_count_is_1_until_the_name_is_gone(content, mount):
    content.write("d/e/f", b"data")
    assert [os.stat(mount / name).st_nlink for name in (".", "d", "d/e", "d/e/f")] == [1, 1, 1, 1]
    file = os.open(mount / "d/e/f", os.O_RDONLY)
    os.unlink(mount / "d/e/f")
    assert os.fstat(file).st_nlink == 0
    directory = os.open(mount / "d/e", os.O_RDONLY)
    os.rmdir(mount / "d/e")
    assert os.fstat(directory).st_nlink == 0
    os.close(file)
    os.close(directory)


def test_a_file_that_changes_elsewhere_gets_the_time_at_which_that_was_seen(server, filesystem, content):
    content.write("f", b"old")
    with Mount(server, filesystem, "--metadata-ttl", 0.1) as mount:
        first = os.stat(mount / "f")
        content.write("f", b"new and longer")
        poll(lambda: os.stat(mount / "f").st_size == 14, what="the new size")
        assert os.stat(mount / "f").st_mtime_ns > first.st_mtime_ns
        assert os.stat(mount / "f").st_ctime_ns > first.st_ctime_ns


def test_reading_changes_no_access_time(content, mount):
    content.write("d/f", b"data")
    os.utime(mount / "d/f", (1000, 2000))
    before = [os.stat(mount / name).st_atime_ns for name in ("d", "d/f")]
    with open(mount / "d/f", "rb") as file:
        assert file.read() == b"data"
    assert os.listdir(mount / "d") == ["f"]
    assert [os.stat(mount / name).st_atime_ns for name in ("d", "d/f")] == before
    assert before[1] == 1000 * 10**9


def test_statfs_shows_1_pib_free(mount):
    status = os.statvfs(mount.path)
    sizes = [status.f_frsize * blocks for blocks in (status.f_blocks, status.f_bfree, status.f_bavail)]
    assert sizes == [1 << 50] * 3
