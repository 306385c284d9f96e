"""Modes, owners and times that programs set are there after a remount with the same cache directory, and a crash."""

import contextlib
import os
import pathlib
import sqlite3

import pytest

from mountkit import Mount, call_name, check, counting, read, run, write
from servercalls import pattern
from serverkit import poll
from test_tools_git import ENVIRONMENT

THEN = 1_500_000_000_123_456_789


def stats(root):
    """What stat(2) says of all below a directory, but for access times."""
    found = {}
    for folder, directories, files in os.walk(root):
        for name in directories + files:
            path = os.path.join(folder, name)
            stat = os.lstat(path)
            found[os.path.relpath(path, root)] = (
                oct(stat.st_mode), stat.st_uid, stat.st_gid, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino,
            )
    return found


def remembered_times(mount):
    """The modification times that the journal has, by path."""
    journal = mount.cache_dir / mount.filesystem / "journal.sqlite"
    with contextlib.closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as database:
        rows = database.execute("select parent, name, mtime, mtime_ns from attributes where mtime is not null")
        return {"/".join(filter(None, row[:2])): row[2] * 10**9 + row[3] for row in rows}


def kill(mount):
    """Kills the driver once the journal has what stat(2) shows: a second after the last change at the latest."""
    shown = {path: values[4] for path, values in stats(mount.path).items()}
    # What nothing was set of bears the time of the first mount, in whole seconds.
    shown = {path: time for path, time in shown.items() if time % 10**9}
    poll(lambda: shown.items() <= remembered_times(mount).items(), what="the times in the journal")
    mount.kill()


@pytest.fixture
def mounted(server, filesystem, cache_dir):
    """Makes a mount on the one cache directory."""
    return lambda *options: Mount(server, filesystem, *options, cache_dir=cache_dir)


@pytest.fixture(params=["unmount", "kill"])
def ended(request):
    """What ends the first mount, at the end of its block."""
    return kill if request.param == "kill" else lambda mount: None


@pytest.fixture
def source(tmp_path):
    """A tree of files and directories with modes and times of their own."""
    folder = tmp_path / "source"
    for index, name in enumerate(["a", "d/b", "d/e/c", "d/e/program"]):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pattern(1 + 5000 * index, index))
        os.chmod(path, 0o600 + 0o100 * (name == "d/e/program") + 0o004 * index)
        os.utime(path, ns=(THEN, THEN + index))
    for name in ["d/e", "d"]:
        os.chmod(folder / name, 0o750)
        os.utime(folder / name, ns=(THEN, THEN + 7))
    return folder


def test_what_cp_keeps_is_kept(mounted, source, ended):
    with mounted() as mount:
        check(["cp", "-a", source, mount / "copy"])
        before = stats(mount.path)
        assert before["copy/d/e/program"][0] == oct(0o100714) and before["copy/d"][4] == THEN + 7
        ended(mount)
    with mounted() as mount:
        assert stats(mount.path) == before


def test_a_second_rsync_transfers_nothing(server, mounted, source, ended):
    with mounted() as mount:
        check(["rsync", "-a", f"{source}/", mount / "copy/"])
        ended(mount)
    with mounted() as mount, counting(server) as seen:
        assert check(["rsync", "-a", "--itemize-changes", f"{source}/", mount / "copy/"]) == ""
    assert not {"post", "put", "delete", "read"} & set(seen.calls)


def test_make_builds_nothing_anew(content, mounted, ended):
    content.write("Makefile", b"out: in between\n\tcat in between > out\nbetween: in\n\tcp in between\n")
    content.write("in", b"source\n")
    with mounted() as mount:
        check(["make", "-C", mount.path])
        assert read(mount / "out") == b"source\nsource\n"
        ended(mount)
    with mounted() as mount:
        assert run(["make", "-q", "-C", mount.path]).returncode == 0
        write(mount / "in", b"changed\n")
        assert run(["make", "-q", "-C", mount.path]).returncode == 1


def test_git_status_is_clean_without_reading_a_file(server, mounted, ended):
    def git(mount, *arguments):
        return check(["git", "-C", mount / "work", *arguments], env=ENVIRONMENT)

    with mounted() as mount:
        os.mkdir(mount / "work")
        git(mount, "init", "--quiet", "--initial-branch=main")
        for index in range(20):
            write(mount / f"work/file-{index}", pattern(1 + 100 * index))
            # Of the index's own second a file would be read again by git's own rule.
            os.utime(mount / f"work/file-{index}", ns=(THEN, THEN + index))
        git(mount, "add", ".")
        git(mount, "commit", "--quiet", "-m", "All")
        assert git(mount, "status", "--porcelain") == ""
        ended(mount)
    with mounted() as mount, counting(server) as seen:
        assert git(mount, "status", "--porcelain") == ""
    reads = [entry.path for entry in seen.entries if call_name(entry) == "read"]
    assert [path for path in reads if "/.git/" not in path] == []


def test_everything_bears_the_time_of_the_first_mount(content, mounted):
    content.write("d/f", b"hello")
    with mounted() as mount:
        before = [os.stat(mount / name).st_mtime_ns for name in ("", "d", "d/f")]
    with mounted() as mount:
        assert [os.stat(mount / name).st_mtime_ns for name in ("", "d", "d/f")] == before


def test_what_was_set_of_the_root_is_kept(mounted, ended):
    with mounted() as mount:
        os.chmod(mount.path, 0o751)
        os.chown(mount.path, 12, 34)
        os.utime(mount.path, ns=(THEN, THEN))
        if ended is kill:
            poll(lambda: remembered_times(mount).get("") == THEN, what="the root's time in the journal")
        ended(mount)
    with mounted() as mount:
        stat = os.stat(mount.path)
        assert (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid, stat.st_mtime_ns) == (0o751, 12, 34, THEN)


def test_a_file_that_has_another_size_by_now_has_nothing_of_it(content, mounted):
    content.write("f", b"hello")
    with mounted() as mount:
        os.chmod(mount / "f", 0o700)
        os.utime(mount / "f", ns=(THEN, THEN))
    content.write("f", b"hello, world")
    with mounted() as mount:
        stat = os.stat(mount / "f")
        assert stat.st_mode & 0o777 == 0o644 and stat.st_mtime_ns > THEN


def test_a_new_file_has_nothing_of_an_old_one_of_its_name(content, mounted):
    content.write("d/f", b"hello")
    with mounted() as mount:
        os.chmod(mount / "d/f", 0o700)
        os.chmod(mount / "d", 0o700)
        os.unlink(mount / "d/f")
        os.rmdir(mount / "d")
    content.write("d/f", b"hello")
    with mounted() as mount:
        assert os.stat(mount / "d").st_mode & 0o777 == 0o755
        assert os.stat(mount / "d/f").st_mode & 0o777 == 0o644


def test_what_was_set_goes_along_with_a_rename(mounted, source, ended):
    with mounted() as mount:
        check(["cp", "-a", source, mount / "copy"])
        os.rename(mount / "copy/d/e/c", mount / "copy/d/f")
        os.rename(mount / "copy/d", mount / "moved")
        before = stats(mount.path)
        assert before["moved/e/program"][4] == THEN + 3 and before["moved/f"][4] == THEN + 2
        ended(mount)
    with mounted() as mount:
        assert stats(mount.path) == before


def test_what_is_listed_costs_no_request_more(server, content, mounted):
    for index in range(200):
        content.write(f"d/{index}", b"x")
    with mounted() as mount:
        for index in range(0, 200, 2):
            os.chmod(mount / f"d/{index}", 0o600)
    with mounted() as mount, counting(server) as seen:
        modes = {int(path): values[0] for path, values in stats(mount / "d").items()}
    assert modes == {index: oct(0o100600 if index % 2 == 0 else 0o100644) for index in range(200)}
    assert seen.calls == {"list": 2, "size": 200}


def test_another_cache_directory_knows_nothing(server, filesystem, content, mounted):
    content.write("f", b"hello")
    with mounted() as mount:
        os.chmod(mount / "f", 0o700)
    with Mount(server, filesystem) as mount:
        assert os.stat(mount / "f").st_mode & 0o777 == 0o644
