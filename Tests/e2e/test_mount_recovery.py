"""Drivers that are killed with files that are not uploaded, and the mounts after them."""

import contextlib
import errno
import os
import re
import sqlite3
import subprocess
import threading

import pytest

import faultplan
from mountkit import MODES, ONE_SERVER, UPLOAD, Mount, counting, fails, read, refused, tetherfs, without_uploads, write
from servercalls import pattern
from serverkit import poll

DATA = pattern(100_000)
# Every name is a temporary one, so that files wait as long as a test needs.
WAITING = ["--writes", "write-back", "--temporary-names", "*", "--temporary-delay", 600]

# Only this server fails as it is told to.
with_faults = pytest.mark.parametrize("server", ["deployed"], indirect=True)


@pytest.fixture
def mounts(server, filesystem, cache_dir):
    """Makes mounts one after another, all with one cache directory."""
    return lambda *options: Mount(server, filesystem, *options, cache_dir=cache_dir)


def files_on(content):
    """The files that a server holds."""
    return {path: data for path, data in without_uploads(content).items() if data is not None}


def killed(mount):
    """Kills a mount's driver; the mount goes, by who watches for that or by hand."""
    mount.kill()
    mount.unmount()
    assert not mount.is_mounted


def kept(cache_dir, filesystem):
    return os.listdir(os.path.join(cache_dir, filesystem, "recovered"))


def journal(mount):
    """The paths in a driver's journal."""
    [path] = mount.cache_dir.glob("*/journal.sqlite")
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        return [row[0] for row in database.execute("SELECT path FROM records")]


def noted_parts(mount):
    """Which parts of uploads have arrived by a driver's journal."""
    [path] = mount.cache_dir.glob("*/journal.sqlite")
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return [row[0] for row in database.execute("SELECT part FROM parts ORDER BY part")]


def acted_stall(exchange):
    """Does what was asked and answers nothing until the plan is cleared."""
    exchange.act()
    exchange.wait()


@pytest.mark.parametrize("options", [[], ["--writes", "write-back"]], ids=["sync", "write-back"])
def test_closed_files_are_there_after_a_crash_and_are_uploaded(content, mounts, options):
    content.write("old", b"old")
    content.mkdir("d/e")
    with mounts(*WAITING) as mount:
        write(mount / "old", DATA)
        write(mount / "d/e/new", DATA[:1000])
        write(mount / "empty", b"")
        write(mount / "d/before", DATA[:2000])
        os.rename(mount / "d/before", mount / "d/after")
        write(mount / "deleted", DATA)
        os.unlink(mount / "deleted")
        killed(mount)
    assert files_on(content) == {"old": b"old"}
    with mounts(*options) as mount:
        assert read(mount / "old") == DATA and os.stat(mount / "d/e/new").st_size == 1000
        assert sorted(os.listdir(mount / "d")) == ["after", "e"]
        expected = {"old": DATA, "d/e/new": DATA[:1000], "empty": b"", "d/after": DATA[:2000]}
        poll(lambda: files_on(content) == expected, timeout=30, what="upload")
        fails(errno.ENOENT, os.stat, mount / "deleted")


def test_renames_and_deletions_that_returned_are_done_after_a_crash(content, mounts):
    for number in range(10):
        with mounts(*WAITING) as mount:
            for name in ("gone", "before", "other"):
                write(mount / f"{name}{number}", DATA)
            os.rename(mount / f"other{number}", mount / f"moved{number}")
            os.unlink(mount / f"gone{number}")
            os.rename(mount / f"before{number}", mount / f"after{number}")
            killed(mount)
    with mounts() as mount:
        expected = {f"{name}{number}" for name in ("after", "moved") for number in range(10)}
        assert set(os.listdir(mount.path)) == expected
        assert tetherfs("flush", mount.path).returncode == 0
    assert files_on(content) == dict.fromkeys(expected, DATA)


@ONE_SERVER
def test_two_thousand_files_come_back(content, mounts):
    files = {f"f{number}": pattern(100, start=number) for number in range(2000)}
    with mounts(*WAITING) as mount:
        for name, data in files.items():
            write(mount / name, data)
        killed(mount)
    with mounts() as mount:
        assert sorted(os.listdir(mount.path)) == sorted(files)
        assert tetherfs("flush", mount.path).returncode == 0
    assert files_on(content) == files


@with_faults
def test_what_a_close_could_not_upload_is_uploaded_after_a_crash(server, content, mounts):
    with mounts("--retries", 0) as mount:
        server.faults.add("put", faultplan.status(503), times=None)
        fails(errno.EIO, write, mount / "f", DATA)
        poll(lambda: "f" in journal(mount), what="record in the journal")
        killed(mount)
    server.faults.clear()
    with mounts():
        poll(lambda: files_on(content) == {"f": DATA}, timeout=30, what="upload")


def test_a_file_that_was_open_is_kept_and_not_uploaded(content, mounts, cache_dir, filesystem):
    content.write("f", b"old")
    with mounts(*WAITING) as mount:
        descriptor = os.open(mount / "f", os.O_WRONLY | os.O_TRUNC)
        os.write(descriptor, DATA)
        killed(mount)
        fails(errno.ENOTCONN, os.close, descriptor)
    with mounts() as mount:
        assert read(mount / "f") == b"old"
        [name] = kept(cache_dir, filesystem)
        assert name in mount.log
    assert files_on(content) == {"f": b"old"}


@pytest.mark.parametrize("theirs", ["changed", "made", "deleted"])
@pytest.mark.parametrize("choice", ["keep-both", "last-writer-wins"])
def test_a_file_that_others_changed_before_the_next_mount(content, mounts, theirs, choice):
    if theirs != "made":
        content.write("f", b"base")
    with mounts(*WAITING) as mount:
        write(mount / "f", DATA)
        killed(mount)
    if theirs == "deleted":
        content.remove("f")
    else:
        content.write("f", b"of somebody else")
    with mounts("--on-conflict", choice) as mount:
        assert tetherfs("flush", mount.path).returncode == 0
        log = mount.log
    there = files_on(content)
    if choice == "last-writer-wins":
        assert there == {"f": DATA}
        return
    [copy] = [name for name in there if name.startswith("f.conflict-")]
    assert there.pop(copy) == DATA and copy in log
    assert there == ({} if theirs == "deleted" else {"f": b"of somebody else"})


def test_a_file_whose_directory_is_gone_is_kept(content, mounts, cache_dir, filesystem):
    content.mkdir("d")
    with mounts(*WAITING) as mount:
        write(mount / "d/f", DATA)
        killed(mount)
    content.remove("d")
    with mounts() as mount:
        [name] = kept(cache_dir, filesystem)
        assert name in mount.log and os.listdir(mount.path) == []
    with open(os.path.join(cache_dir, filesystem, "recovered", name), "rb") as file:
        assert file.read() == DATA


def test_a_read_only_mount_leaves_what_waits_as_it_is(content, mounts):
    with mounts(*WAITING) as mount:
        write(mount / "f", DATA)
        killed(mount)
    with mounts("--read-only") as mount:
        assert os.listdir(mount.path) == []
        assert "not upload" in mount.log
    with mounts():
        poll(lambda: files_on(content) == {"f": DATA}, timeout=30, what="upload")


@with_faults
def test_if_the_server_cannot_be_asked_the_mount_fails_and_nothing_is_lost(server, content, mounts):
    with mounts(*WAITING) as mount:
        write(mount / "f", DATA)
        killed(mount)
        server.faults.add("list", faultplan.status(503), times=None)
        mount.options += ["--retries", "0"]
        refused(mount.mount(), "did not upload", "kept")
        assert not mount.is_mounted
    server.faults.clear()
    with mounts():
        poll(lambda: files_on(content) == {"f": DATA}, timeout=30, what="upload")


@with_faults
def test_an_upload_that_was_cut_off_leaves_the_old_file_until_the_new_one_is_whole(server, content, mounts):
    content.write("f", b"old")
    data = pattern(20_000_000)
    with mounts("--writes", "write-back") as mount:
        rule = server.faults.add("put", faultplan.stall(), times=None)
        write(mount / "f", data)
        rule.wait()
        killed(mount)
    server.faults.clear()
    assert files_on(content) == {"f": b"old"}
    with mounts() as mount:
        assert read(mount / "f") == data
        poll(lambda: files_on(content) == {"f": data}, timeout=60, what="upload")
    assert len(files_on(content)) == 1


@with_faults
@MODES
def test_after_a_crash_an_upload_sends_the_parts_that_are_missing_and_no_other(server, content, mounts, mode):
    part = 8 << 20
    data = pattern(4 * part + 70_000)

    def start_of(content_range):
        return int(re.search(r"\]:(\d+)-", content_range)[1])

    def closes():
        # In sync mode the close waits, and is told that the driver is gone.
        with contextlib.suppress(OSError):
            write(mount / "f", data)

    held = faultplan.Held(lambda exchange: start_of(exchange.headers["Content-Range"]) > part)
    with mounts(*mode) as mount:
        server.faults.add("put", held, times=None)
        writer = threading.Thread(target=closes)
        writer.start()
        poll(lambda: held.count > 0 and noted_parts(mount) == [0, 1], what="note of two parts")
        killed(mount)
        writer.join(30)
        poll(lambda: server.gauge.now["put"] == 0, what="end of the parts that were under way")
    server.faults.clear()
    assert files_on(content) == {}
    # From before the mount on: it uploads by itself.
    with counting(server) as seen, mounts(*mode) as mount:
        assert tetherfs("flush", mount.path).returncode == 0
    assert content.tree() == {"f": data}
    sent = sorted(start_of(entry.content_range) for entry in seen.entries if entry.method == "PUT")
    assert sent == [2 * part, 3 * part, 4 * part]
    # Not begun again: all that is posted is the completion.
    assert seen.calls["post"] == 1


@with_faults
def test_a_lost_answer_to_the_last_call_is_no_conflict_after_a_crash(server, content, mounts):
    with mounts("--writes", "write-back", "--retries", 0, "--request-timeout", 600) as mount:
        rule = server.faults.add("complete", acted_stall, times=None)
        write(mount / "f", DATA)
        rule.wait()
        poll(lambda: files_on(content) == {"f": DATA}, what="completion")
        killed(mount)
    server.faults.clear()
    with mounts() as mount:
        assert read(mount / "f") == DATA
        assert tetherfs("flush", mount.path).returncode == 0
    assert files_on(content) == {"f": DATA}


@with_faults
def test_uploads_that_died_with_the_driver_are_not_shown_and_not_left_on_the_server(server, content, mounts):
    content.write("d/before", DATA)
    with mounts("--writes", "write-back") as mount:
        rule = server.faults.add("put", faultplan.stall(), times=None)
        write(mount / "d/closed", DATA[:5000])
        rule.wait()
        # The upload of a copy under the new name, of which a later mount makes no use.
        rename = subprocess.Popen(["mv", mount / "d/before", mount / "d/after"], stderr=subprocess.DEVNULL)
        poll(lambda: rule.hits == 2, what="both uploads")
        assert len([name for name in content.tree() if UPLOAD.fullmatch(name)]) == 2
        killed(mount)
        assert rename.wait(30) != 0
    server.faults.clear()
    expected = {"d": None, "d/before": DATA, "d/closed": DATA[:5000]}
    with mounts() as mount:
        assert sorted(os.listdir(mount / "d")) == ["before", "closed"]
        poll(lambda: content.tree() == expected, timeout=30, what="end of the uploads")


def test_a_journal_of_an_earlier_version_is_taken_up(content, mounts):
    with mounts(*WAITING) as mount:
        write(mount / "f", DATA)
        killed(mount)
        [path] = mount.cache_dir.glob("*/journal.sqlite")
        with sqlite3.connect(path) as database:
            database.executescript("DROP TABLE uploads; ALTER TABLE records DROP COLUMN synced_upload;")
    with mounts() as mount:
        poll(lambda: files_on(content) == {"f": DATA}, timeout=30, what="upload")
