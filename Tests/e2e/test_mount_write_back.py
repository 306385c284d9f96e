"""Mounts with `--writes write-back`: close waits for the local disk, the server gets the file in the background."""

import errno
import json
import os
import signal
import time

import pytest

import faultplan
from clikit import at_terminal
from mountkit import (
    ONE_SERVER, Mount, check, counting, fails, read, refused, small_disk, tetherfs, without_uploads, write,
)
from servercalls import pattern
from serverkit import binary, poll

DATA = pattern(100_000)
# Every name is a temporary one, so that files wait as long as a test needs.
WAITING = ["--writes", "write-back", "--temporary-names", "*", "--temporary-delay", 600]

# Only this server fails as it is told to.
with_faults = pytest.mark.parametrize("server", ["deployed"], indirect=True)


@pytest.fixture
def writes_back(server, filesystem):
    with Mount(server, filesystem, "--writes", "write-back") as mount:
        yield mount


@pytest.fixture
def waiting(server, filesystem):
    """A mount on which nothing is uploaded before somebody asks for it."""
    with Mount(server, filesystem, *WAITING) as mount:
        yield mount


def flush(mount):
    """`tetherfs flush`, which must succeed and say nothing."""
    result = tetherfs("flush", mount.path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", ""), result.stderr


def files_on(content):
    """The files that a server holds."""
    return {path: data for path, data in without_uploads(content).items() if data is not None}


def status(mount):
    """What `tetherfs status --json` tells of uploads."""
    return json.loads(check([binary("tetherfs"), "status", mount.path, "--json"]))["uploads"]


def status_lines(mount):
    """What `tetherfs status` tells a person."""
    return check([binary("tetherfs"), "status", mount.path]).splitlines()


def test_a_close_returns_before_the_server_has_the_file_which_is_read_from_here(waiting, content):
    write(waiting / "f", DATA)
    assert files_on(content) == {}
    assert read(waiting / "f") == DATA and os.stat(waiting / "f").st_size == len(DATA)
    assert os.listdir(waiting.path) == ["f"]
    flush(waiting)
    assert files_on(content) == {"f": DATA}


def test_closed_files_are_uploaded_without_anybody_asking(writes_back, content):
    os.mkdir(writes_back / "d")
    write(writes_back / "d/f", DATA)
    poll(lambda: files_on(content).get("d/f") == DATA, timeout=30, what="upload")
    poll(lambda: status(writes_back)["pending"]["files"] == 0, what="status")


@ONE_SERVER
def test_two_thousand_small_files_cost_three_requests_each(server, content, writes_back):
    files = {f"d{number % 10}/f{number}": pattern(4096, start=number) for number in range(2000)}
    for directory in range(10):
        os.mkdir(writes_back / f"d{directory}")
    begin = time.monotonic()
    with counting(server) as seen:
        for path, data in files.items():
            write(writes_back / path, data)
        flush(writes_back)
    seconds = time.monotonic() - begin
    assert files_on(content) == files
    calls = seen.calls
    assert calls["post"] == 4000 and calls["put"] == 2000, calls
    # Each directory's names are asked for once in two seconds, whatever is in it.
    assert sum(calls.values()) - calls["list"] == 6000 and calls["list"] <= 10 * (seconds / 2 + 2), calls


@ONE_SERVER
def test_thousands_of_files_that_wait_hold_few_descriptors(waiting):
    for number in range(2000):
        write(waiting / f"f{number}", b"data")
    # 1024 is what a process may have by default; 256 are staged files.
    poll(lambda: len(os.listdir(f"/proc/{waiting.pid}/fd")) < 512, what="closing of local files")
    assert all(read(waiting / f"f{number}") == b"data" for number in range(0, 2000, 50))


def test_an_unmount_leaves_no_copies_of_what_the_server_has(server, filesystem, content, cache_dir):
    with Mount(server, filesystem, "--writes", "write-back", cache_dir=cache_dir) as mount:
        write(mount / "f", DATA)
    assert files_on(content) == {"f": DATA}
    assert os.listdir(os.path.join(cache_dir, filesystem, "staging")) == []


def test_a_file_that_is_written_closed_and_renamed_is_uploaded_once(server, content, writes_back):
    content.write("old", b"old")
    with counting(server) as seen:
        for name in ("new", "old"):
            write(writes_back / f"{name}.tmp", DATA)
            os.rename(writes_back / f"{name}.tmp", writes_back / name)
        flush(writes_back)
    assert files_on(content) == {"new": DATA, "old": DATA}
    assert seen.calls["put"] == 2 and seen.calls["post"] == 4 and seen.calls["delete"] == 0, seen.calls


def test_a_temporary_name_is_uploaded_after_its_delay(server, filesystem, content):
    with Mount(server, filesystem, "--writes", "write-back", "--temporary-delay", "0.3") as mount:
        write(mount / "f.tmp", DATA)
        poll(lambda: files_on(content) == {"f.tmp": DATA}, timeout=30, what="upload")


def test_in_sync_mode_a_temporary_name_waits_only_by_an_option(server, filesystem, content):
    with Mount(server, filesystem, "--temporary-delay", 600) as mount:
        write(mount / "f.tmp", DATA)
        assert files_on(content) == {}
        write(mount / "g", DATA)
        assert files_on(content) == {"g": DATA}
        os.rename(mount / "f.tmp", mount / "f")
        assert files_on(content) == {"f": DATA, "g": DATA}


def test_what_is_deleted_overwritten_or_cut_before_its_upload_is_so_on_the_server(server, content, waiting):
    for name in "abc":
        write(waiting / name, DATA)
    with counting(server) as seen:
        os.unlink(waiting / "a")
    assert seen.calls["delete"] == 0
    write(waiting / "b", b"new")
    os.truncate(waiting / "c", 10)
    fails(errno.ENOENT, os.stat, waiting / "a")
    flush(waiting)
    assert files_on(content) == {"b": b"new", "c": DATA[:10]}


def test_a_directory_with_a_file_that_waits_is_not_empty(waiting):
    os.mkdir(waiting / "d")
    write(waiting / "d/f", DATA)
    fails(errno.ENOTEMPTY, os.rmdir, waiting / "d")
    os.unlink(waiting / "d/f")
    os.rmdir(waiting / "d")


def test_fsync_of_a_directory_succeeds(waiting):
    write(waiting / "f.tmp", DATA)
    os.rename(waiting / "f.tmp", waiting / "f")
    descriptor = os.open(waiting.path, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(descriptor)
    os.close(descriptor)


def test_unmount_uploads_what_waits(server, filesystem, content):
    with Mount(server, filesystem, *WAITING) as mount:
        write(mount / "f", DATA)
    assert files_on(content) == {"f": DATA}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_uploads_what_waits(server, filesystem, content, number):
    with Mount(server, filesystem, *WAITING) as mount:
        write(mount / "f", DATA)
        os.kill(mount.pid, number)
        poll(lambda: mount.pid is None, timeout=30, what="end of the driver")
    assert files_on(content) == {"f": DATA}


def test_the_status_tells_what_waits(waiting):
    write(waiting / "f", DATA)
    descriptor = os.open(waiting / "open", os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, b"abc")
    told = status(waiting)
    assert told["writes"] == "write-back"
    assert told["pending"] == {"files": 1, "bytes": len(DATA)}
    assert told["open"] == {"files": 1, "bytes": 3}
    assert (told["failedCount"], told["conflictCount"], told["keptCount"]) == (0, 0, 0)
    assert f"to upload: 1 file, {len(DATA)} bytes" in status_lines(waiting)
    os.close(descriptor)
    flush(waiting)
    assert "to upload: nothing" in status_lines(waiting)


@with_faults
def test_what_waits_is_told_in_the_columns_that_a_narrow_terminal_has(waiting, server):
    write(waiting / "f", DATA)
    server.faults.add("put", faultplan.Held(), times=None)
    code, screen = at_terminal(
        "flush", waiting.path, columns=20, asked="…", typed=lambda process: server.faults.clear()
    )
    shown = [line for line in screen.split("\r\x1b[K") if line]
    assert code == 0 and shown and set(shown) == {"1 file, 100000 byt…"} and len(shown[0]) == 19


@pytest.mark.parametrize("command", ["flush", "status"])
def test_what_is_no_mount_is_told(tmp_path, command):
    refused(tetherfs(command, tmp_path), str(tmp_path), "not a tetherfs mount")
    refused(tetherfs(command, tmp_path / "missing"), "does not exist")


# Conflicts. Both contents are on the server afterwards, or ours where that was chosen.

@pytest.mark.parametrize("theirs", ["changed", "made", "deleted"])
@pytest.mark.parametrize("choice", ["keep-both", "last-writer-wins"])
def test_a_file_that_others_changed_meanwhile(server, filesystem, content, theirs, choice):
    if theirs != "made":
        content.write("f", b"base")
    with Mount(server, filesystem, *WAITING, "--on-conflict", choice, "--metadata-ttl", 0) as mount:
        write(mount / "f", DATA)
        if theirs == "deleted":
            content.remove("f")
        else:
            content.write("f", b"of somebody else")
        flush(mount)
        told, there = status(mount), files_on(content)
        if choice == "last-writer-wins":
            assert there == {"f": DATA} and told["conflictCount"] == 0
            return
        assert told["conflictCount"] == 1 and told["conflicts"][0]["path"] == "f"
        copy = told["conflicts"][0]["copy"]
        assert copy.startswith("f.conflict-") and copy in mount.log
        assert there.pop(copy) == DATA
        assert there == ({} if theirs == "deleted" else {"f": b"of somebody else"})
        assert sorted(os.listdir(mount.path)) == sorted([copy, *there])
        assert read(mount / copy) == DATA


def test_a_file_that_others_made_after_a_program_looked_stays_theirs(server, filesystem, content):
    with Mount(server, filesystem, *WAITING) as mount:
        assert os.listdir(mount.path) == []
        # How old a look may be is what is tested: less than the time to live of names.
        time.sleep(2.1)
        content.write("f", b"of somebody else")
        write(mount / "f", DATA)
        flush(mount)
        [copy] = [name for name in files_on(content) if name != "f"]
        assert copy.startswith("f.conflict-")
        assert files_on(content) == {"f": b"of somebody else", copy: DATA}


# Failures.

@with_faults
def test_a_close_returns_while_the_server_is_silent_and_the_file_gets_there_later(server, filesystem, content):
    with Mount(server, filesystem, "--writes", "write-back", "--request-timeout", 1, "--retries", 0) as mount:
        rule = server.faults.add("begin", faultplan.stall(), times=None)
        write(mount / "f", DATA)
        rule.wait()
        assert read(mount / "f") == DATA
        server.faults.clear()
        poll(lambda: files_on(content) == {"f": DATA}, timeout=60, what="upload")


@with_faults
def test_a_refused_upload_is_the_error_of_the_next_close_once(server, filesystem, content):
    with Mount(server, filesystem, "--writes", "write-back", "--retries", 0) as mount:
        server.faults.add("begin", faultplan.status(403), times=1)
        write(mount / "f", DATA)
        poll(lambda: status(mount)["failedCount"] == 1, what="failure in the status")
        [failure] = status(mount)["failed"]
        assert failure["path"] == "f" and "403" in failure["reason"]
        descriptor = os.open(mount / "f", os.O_WRONLY)
        fails(errno.EACCES, os.close, descriptor)
        poll(lambda: files_on(content) == {"f": DATA}, timeout=30, what="upload")
        os.close(os.open(mount / "f", os.O_WRONLY))


@with_faults
@pytest.mark.parametrize("command", ["flush", "unmount"])
def test_who_waits_for_uploads_is_told_which_file_cannot_be_uploaded_and_why(
    server, filesystem, content, command
):
    with Mount(server, filesystem, *WAITING, "--retries", 0) as mount:
        server.faults.add("put", faultplan.status(400, "not today"), times=None)
        write(mount / "precious", DATA)
        refused(tetherfs(command, mount.path), "precious", "not today")
        assert mount.is_mounted and read(mount / "precious") == DATA
        server.faults.clear()
        flush(mount)
    assert files_on(content) == {"precious": DATA}


def test_a_close_that_finds_no_room_for_its_promise_says_so_and_its_bytes_go_up_later(
    server, filesystem, content, tmp_path
):
    names = [f"f-{number}" for number in range(50)]
    with small_disk(tmp_path, "8M"), Mount(server, filesystem, *WAITING, cache_dir=tmp_path / "cache") as mount:
        descriptors = [os.open(mount / name, os.O_WRONLY | os.O_CREAT) for name in names]
        for descriptor in descriptors:
            os.write(descriptor, DATA[:1000])
        filler = tmp_path / "filler"
        with pytest.raises(OSError), open(filler, "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        failures = []
        for descriptor in descriptors:
            try:
                os.close(descriptor)
            except OSError as error:
                failures.append(error.errno)
        assert set(failures) == {errno.ENOSPC}
        assert all(read(mount / name) == DATA[:1000] for name in names)
        filler.unlink()
        flush(mount)
        assert files_on(content) == {name: DATA[:1000] for name in names}


def test_a_full_local_disk_is_told_at_write_and_reads_go_on(server, filesystem, content, tmp_path):
    content.write("there", DATA)
    with small_disk(tmp_path, "8M"), Mount(server, filesystem, *WAITING, cache_dir=tmp_path / "cache") as mount:
        descriptor = os.open(mount / "f", os.O_WRONLY | os.O_CREAT)
        written = 0
        with pytest.raises(OSError) as caught:
            while written < 64 << 20:
                written += os.write(descriptor, bytes(1 << 20))
        assert caught.value.errno == errno.ENOSPC
        os.ftruncate(descriptor, 0)
        assert read(mount / "there") == DATA
        os.close(descriptor)
        flush(mount)
    assert files_on(content) == {"f": b"", "there": DATA}
