"""The driver is killed in the middle of a rename: one of the names is whole at any time, and the next mount goes on."""

import contextlib
import errno
import os
import sqlite3
import threading

import pytest

import faultplan
from mountkit import Mount, check, counting, fails, read, without_uploads, write
from servercalls import pattern
from serverkit import poll

DATA, OTHER = pattern(30_000), b"another"


@pytest.fixture
def filesystem(deployed):
    return deployed.create_filesystem(os.urandom(8).hex())


@pytest.fixture
def content(deployed, filesystem):
    return deployed.content(filesystem)


@pytest.fixture
def mounted(deployed, filesystem, cache_dir):
    """Makes a mount on the one cache directory."""
    return lambda *options: Mount(deployed, filesystem, *options, cache_dir=cache_dir)


def rename_and_crash(server, mount, source, target, call, **when):
    """Renames until the driver is killed at some request."""
    rule = server.faults.add(call, faultplan.killing(mount, **when), times=None)
    with pytest.raises(OSError):
        os.rename(mount / source, mount / target)
    assert rule.hits > 0
    server.faults.clear()


def under_way(mount):
    """What the journal still has of renames."""
    journal = mount.cache_dir / mount.filesystem / "journal.sqlite"
    with contextlib.closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as database:
        return [row for table in ("moves", "copied") for row in database.execute(f"select * from {table}")]


def copied_files(mount):
    """How many files a rename has copied as the journal knows."""
    return len([size for *_, size in under_way(mount) if isinstance(size, int)])


# Files.

@pytest.mark.parametrize("replaced", [None, OTHER])
@pytest.mark.parametrize("call, acts", [("begin", False), ("put", False), ("put", True), ("complete", False)])
def test_before_the_new_name_is_whole_all_is_as_it_was(deployed, content, mounted, call, acts, replaced):
    content.write("d/f", DATA)
    content.mkdir("e")
    if replaced is not None:
        content.write("e/g", replaced)
    before = content.tree()
    with mounted() as mount:
        rename_and_crash(deployed, mount, "d/f", "e/g", call, acts=acts)
    with mounted() as mount:
        assert without_uploads(content) == before
        assert read(mount / "d/f") == DATA
        poll(lambda: under_way(mount) == [], what="end of the rename in the journal")


@pytest.mark.parametrize("replaced", [None, OTHER])
@pytest.mark.parametrize("call, acts", [("complete", True), ("delete", False), ("delete", True)])
def test_once_the_new_name_is_whole_the_next_mount_has_it_alone(deployed, content, mounted, call, acts, replaced):
    content.write("d/f", DATA)
    content.mkdir("e")
    if replaced is not None:
        content.write("e/g", replaced)
    with mounted() as mount:
        os.chmod(mount / "d/f", 0o700)
        if replaced is not None:
            os.stat(mount / "e/g")
        # The lazy save of the mode, which the rename itself does not wait for.
        poll(lambda: mode_is_saved(mount), what="the mode in the journal")
        rename_and_crash(deployed, mount, "d/f", "e/g", call, acts=acts)
        assert content.read("e/g") == DATA
    with mounted() as mount:
        assert content.tree() == {"d": None, "e": None, "e/g": DATA}
        assert (os.listdir(mount / "d"), os.listdir(mount / "e")) == ([], ["g"])
        assert read(mount / "e/g") == DATA and os.stat(mount / "e/g").st_mode & 0o777 == 0o700
        poll(lambda: under_way(mount) == [], what="end of the rename in the journal")


def mode_is_saved(mount):
    journal = mount.cache_dir / mount.filesystem / "journal.sqlite"
    with contextlib.closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as database:
        return database.execute("select 1 from attributes where name = 'f' and mode = ?", (0o700,)).fetchone()


def test_where_sizes_prove_nothing_both_names_stay(deployed, content, mounted):
    """The answer to `complete` was not heard, and what was replaced was as long: it might be the old one."""
    content.write("f", DATA)
    content.write("g", bytes(len(DATA)))
    with mounted() as mount:
        rename_and_crash(deployed, mount, "f", "g", "complete", acts=True)
    with mounted() as mount:
        assert content.tree() == {"f": DATA, "g": DATA}
        assert read(mount / "f") == read(mount / "g") == DATA


@pytest.mark.parametrize("name", ["f", "g"])
def test_what_another_client_wrote_since_is_not_deleted(deployed, content, mounted, name):
    content.write("f", DATA)
    with mounted() as mount:
        rename_and_crash(deployed, mount, "f", "g", "delete")
    content.write(name, b"written elsewhere")
    with mounted() as mount:
        assert content.tree() == {"f": DATA, "g": DATA, name: b"written elsewhere"}
        assert read(mount / name) == b"written elsewhere"


def test_an_old_name_that_became_a_directory_is_not_deleted(deployed, content, mounted):
    content.write("f", DATA)
    with mounted() as mount:
        rename_and_crash(deployed, mount, "f", "g", "delete")
    content.remove("f")
    content.write("f/precious", OTHER)
    with mounted() as mount:
        assert content.tree() == {"f": None, "f/precious": OTHER, "g": DATA}


def test_a_mount_that_only_reads_leaves_all_as_it_is(deployed, content, mounted):
    content.write("f", DATA)
    with mounted() as mount:
        rename_and_crash(deployed, mount, "f", "g", "delete")
    with mounted("--read-only") as mount, counting(deployed) as seen:
        assert sorted(os.listdir(mount.path)) == ["f", "g"]
        assert under_way(mount) != []
    assert "delete" not in seen.calls
    with mounted() as mount:
        assert os.listdir(mount.path) == ["g"]


# Directories.

TREE = {
    "d": None, "d/a": pattern(1000), "d/b": pattern(2000, 5), "d/e": None, "d/e/c": pattern(3000, 9), "d/e/f": None,
    "d/e/f/g": pattern(10, 3), "d/h": None,
}
MOVED = {"x" + path[1:]: data for path, data in TREE.items()}


def build(content):
    for path, data in TREE.items():
        if data is None:
            content.mkdir(path)
        else:
            content.write(path, data)


POINTS = [
    *(("mkdir", number, acts) for number in (1, 2, 3) for acts in (False, True)),
    *(("complete", number, acts) for number in (1, 2, 4) for acts in (False, True)),
    *(("delete", number, acts) for number in (1, 3, 5, 8) for acts in (False, True)),
]


@pytest.mark.parametrize("call, number, acts", POINTS)
def test_the_rename_of_a_directory_is_taken_up_again(deployed, content, mounted, call, number, acts):
    build(content)
    with mounted() as mount:
        rename_and_crash(deployed, mount, "d", "x", call, number=number, acts=acts)
        left = without_uploads(content)
        whole = [
            all(left.get(path) == data for path, data in tree.items()) for tree in (TREE, MOVED)
        ]
        assert any(whole)
    with mounted() as mount:
        poll(lambda: without_uploads(content) == MOVED, what="end of the rename")
        poll(lambda: os.listdir(mount.path) == ["x"], what="the new name alone")
        for path, data in MOVED.items():
            assert data is None or read(mount / path) == data
        poll(lambda: under_way(mount) == [], what="end of the rename in the journal")


def test_what_was_copied_before_is_not_copied_again(deployed, content, mounted):
    for index in range(40):
        content.write(f"d/{index:02}", pattern(100 + index))
    with mounted() as mount:
        # At most as many as are copied at once are not noted yet, once the journal's thread has come to it.
        def noted():
            poll(lambda: copied_files(mount) >= 29 - 8, 60, "copies in the journal")

        rename_and_crash(deployed, mount, "d", "x", "complete", number=30, first=noted)
        copied = copied_files(mount)
    with counting(deployed) as seen, mounted() as mount:
        poll(lambda: len(without_uploads(content)) == 41 and not content.exists("d"), what="end of the rename")
        poll(lambda: under_way(mount) == [], what="end of the rename in the journal")
    assert len([1 for call in seen.entries if call.method == "PUT"]) <= 40 - copied


def test_until_the_copy_is_whole_the_old_name_shows_alone(deployed, content, mounted):
    build(content)
    with mounted() as mount:
        rename_and_crash(deployed, mount, "d", "x", "complete", number=3)
    held = threading.Event()

    def hold(exchange):
        held.set()
        exchange.wait()
        exchange.answer()

    deployed.faults.add("complete", hold, times=None)
    with mounted("--metadata-ttl", 0) as mount:
        assert held.wait(30)
        assert os.listdir(mount.path) == ["d"] and read(mount / "d/a") == TREE["d/a"]
        deployed.faults.clear()
        poll(lambda: os.listdir(mount.path) == ["x"], what="the new name")
        poll(lambda: without_uploads(content) == MOVED, what="end of the rename")


def test_what_another_client_put_there_since_is_not_deleted(deployed, content, mounted):
    build(content)
    with mounted() as mount:
        rename_and_crash(deployed, mount, "d", "x", "delete", number=2)
    content.write("d/e/theirs", OTHER)
    with mounted() as mount:
        poll(lambda: under_way(mount) == [], what="end of the rename in the journal")
        left = without_uploads(content)
        assert left["d/e/theirs"] == OTHER
        assert MOVED.items() <= left.items()


# How much a rename moves.

@pytest.fixture
def large(content):
    """A directory of 1,000 files of 10,000 bytes."""
    for index in range(1000):
        content.write(f"d/{index}", bytes(10_000))
    return "d"


def test_a_directory_over_the_limit_is_left_to_mv(deployed, content, mounted, large):
    with mounted("--rename-limit", "100K") as mount:
        with counting(deployed) as seen:
            fails(errno.EXDEV, os.rename, mount / large, mount / "x")
        # The sum ends where it is known to be too much.
        assert set(seen.calls) == {"list", "size"} and seen.calls["size"] <= 64
        write(mount / "small", b"hello")
        os.mkdir(mount / "s")
        os.rename(mount / "small", mount / "s/small")
        os.rename(mount / "s", mount / "t")
        check(["mv", mount / "t", mount / "u"])
        assert read(mount / "u/small") == b"hello"


def test_mv_moves_a_directory_over_the_limit_itself(content, mounted):
    build(content)
    with mounted("--rename-limit", 100) as mount:
        fails(errno.EXDEV, os.rename, mount / "d", mount / "x")
        check(["mv", mount / "d", mount / "x"])
        assert without_uploads(content) == MOVED


# What a rename costs.

def test_the_rename_of_what_was_just_written_downloads_nothing(deployed, content, mounted):
    content.write("f", OTHER)
    with mounted() as mount:
        os.listdir(mount.path)
        write(mount / ".f.x7Rz1Q", DATA)
        with counting(deployed) as seen:
            os.rename(mount / ".f.x7Rz1Q", mount / "f")
        assert seen.calls == {"post": 2, "put": 1, "delete": 1}
        assert content.tree() == {"f": DATA}
