"""What is kept of files' bytes on the local disk: what it spares a later mount, and that damage costs speed alone.

Each remount begins with none of the kernel's pages and none of the driver's memory: what is not asked of the server
then comes from the disk.
"""

import contextlib
import errno
import os
import pathlib
import random
import shutil
import sqlite3

import pytest

from mountkit import Mount, check, counting, fails, read, small_disk, without_uploads, write
from serverkit import poll

BLOCK = 64 << 10
SIZE = 20 << 20
DATA = random.Random(20).randbytes(SIZE)
OTHER = random.Random(21).randbytes(SIZE)
SMALL, SMALL_TOO = DATA[:3 * BLOCK + 100], OTHER[:3 * BLOCK + 100]


def blocks(cache_dir, filesystem):
    """Where a filesystem's blocks are kept."""
    return pathlib.Path(cache_dir) / filesystem / "blocks"


def segments(cache_dir, filesystem):
    return sorted((blocks(cache_dir, filesystem) / "segments").iterdir())


def stored_count(cache_dir, filesystem):
    """How many blocks the catalogue knows, by the 20 bytes that it has of each."""
    catalogue = f"file:{blocks(cache_dir, filesystem)}/catalogue.sqlite?mode=ro"
    with contextlib.closing(sqlite3.connect(catalogue, uri=True)) as connection:
        return connection.execute("SELECT coalesce(sum(length(blocks)), 0) / 20 FROM pieces").fetchone()[0]


# What it spares.

def test_a_file_read_before_a_remount_is_read_after_it_without_its_bytes_being_fetched(
    server, filesystem, content, cache_dir, reads
):
    content.write("d/f", DATA)
    assert reads("d/f", DATA) == SIZE
    with Mount(server, filesystem, cache_dir=cache_dir) as mount, counting(server) as seen:
        assert read(mount / "d/f") == DATA
    assert seen.calls == {"list": 2, "size": 1}


def test_nothing_of_a_large_file_read_at_full_speed_is_fetched_again_after_a_remount(
    server, filesystem, content, cache_dir, reads
):
    # Twice as much as memory has for blocks.
    large = random.Random(22).randbytes(192 << 20)
    # A disk that stands still for two seconds is not waited for.
    for name in ("f", "g", "h"):
        content.write(name, large)
        assert reads(name, large) == len(large)
        again = reads(name, large)
        if again == 0:
            break
    assert again == 0


def test_what_was_stored_when_the_driver_was_killed_is_not_fetched_again(
    server, filesystem, content, cache_dir, reads
):
    content.write("f", DATA)
    with Mount(server, filesystem, cache_dir=cache_dir) as mount:
        assert read(mount / "f") == DATA
        poll(lambda: stored_count(cache_dir, filesystem) == SIZE // BLOCK, what="line for each block")
        mount.kill()
        assert mount.unmount().returncode == 0
    assert reads("f", DATA) == 0


@pytest.mark.parametrize("count", [1, 60, 200])
def test_a_crash_while_blocks_are_written_leaves_none_that_are_wrong(
    server, filesystem, content, cache_dir, reads, count
):
    content.write("f", DATA)
    with Mount(server, filesystem, cache_dir=cache_dir) as mount:
        with open(mount / "f", "rb", buffering=0) as file:
            while stored_count(cache_dir, filesystem) < count and file.read(1 << 20):
                pass
        mount.kill()
        assert mount.unmount().returncode == 0
    assert reads("f", DATA) <= SIZE
    assert reads("f", DATA) == 0


def test_many_small_files_read_before_a_remount_are_not_fetched_after_it(server, filesystem, content, cache_dir):
    for index in range(300):
        content.write(f"d{index % 3}/f{index}", DATA[index:index + 3000])
    archives = []
    for _ in range(2):
        with Mount(server, filesystem, cache_dir=cache_dir) as mount, counting(server) as seen:
            # Times are those of the mount.
            archives.append(check(["tar", "c", "--mtime=@0", "--sort=name", "."], cwd=mount.path, text=False))
    assert archives[0] == archives[1]
    assert seen.calls["read"] == 0 and seen.calls["size"] <= 1.05 * 300


def test_blocks_take_no_more_of_the_disk_than_told(server, filesystem, content, cache_dir, reads):
    for name, data in (("f", DATA), ("g", OTHER)):
        content.write(name, data)
        reads(name, data, "--disk-cache", "8M")
    used = check(["du", "-s", "--block-size=1", blocks(cache_dir, filesystem)]).split()[0]
    assert 4 << 20 <= int(used) <= 8 << 20


def test_no_disk_cache_is_made_where_none_is_wanted(filesystem, content, cache_dir, reads):
    content.write("f", DATA)
    assert [reads("f", DATA, "--disk-cache", 0) for _ in range(2)] == [SIZE, SIZE]
    assert not blocks(cache_dir, filesystem).exists()


def test_filesystems_in_one_cache_directory_do_not_see_each_others_blocks(server, filesystem, content, cache_dir):
    another = server.create_filesystem("another of " + filesystem)
    content.write("f", SMALL)
    server.content(another).write("f", SMALL_TOO)
    for fetched in (True, False):
        for identifier, data in ((filesystem, SMALL), (another, SMALL_TOO)):
            with Mount(server, identifier, cache_dir=cache_dir) as mount, counting(server) as seen:
                assert read(mount / "f") == data
            assert seen.calls["read"] == 0 or fetched


# Damage.

def test_a_flipped_bit_in_each_segment_is_fetched_again_and_then_kept(filesystem, content, cache_dir, reads):
    content.write("f", DATA)
    reads("f", DATA)
    files = segments(cache_dir, filesystem)
    for file in files:
        with open(file, "r+b") as segment:
            place = os.path.getsize(file) // 2 + 1234
            byte = os.pread(segment.fileno(), 1, place)[0]
            os.pwrite(segment.fileno(), bytes([byte ^ 1]), place)
    assert len(files) >= 3
    assert reads("f", DATA) == len(files) * BLOCK
    assert reads("f", DATA) == 0


@pytest.mark.parametrize("damage", [
    lambda data: os.urandom(len(data)),
    lambda data: b"",
    lambda data: data[:len(data) // 2],
    lambda data: data[:100] + bytes(1000) + data[1100:],
    lambda data: data[:4096] + os.urandom(len(data) - 4096),
], ids=["garbage", "empty", "cut in half", "zeros in its head", "garbage behind its head"])
def test_a_damaged_catalogue_costs_speed_alone(filesystem, content, cache_dir, reads, damage):
    content.write("f", DATA)
    reads("f", DATA)
    catalogue = blocks(cache_dir, filesystem) / "catalogue.sqlite"
    for beside in ("-wal", "-shm"):
        pathlib.Path(f"{catalogue}{beside}").unlink(missing_ok=True)
    catalogue.write_bytes(damage(catalogue.read_bytes()))
    assert reads("f", DATA) == SIZE
    # Where this mount found it out only while it ran, the next one begins anew.
    reads("f", DATA)
    assert reads("f", DATA) == 0


def test_blocks_of_another_filesystem_or_layout_are_not_served(server, filesystem, content, cache_dir, reads):
    another = server.create_filesystem("another of " + filesystem)
    server.content(another).write("f", SMALL_TOO)
    content.write("f", SMALL)
    assert reads("f", SMALL) == len(SMALL)
    with Mount(server, another, cache_dir=cache_dir) as mount:
        assert read(mount / "f") == SMALL_TOO
    shutil.rmtree(blocks(cache_dir, filesystem))
    shutil.copytree(blocks(cache_dir, another), blocks(cache_dir, filesystem))
    assert reads("f", SMALL) == len(SMALL)
    mark = blocks(cache_dir, filesystem) / "FORMAT"
    mark.write_text(mark.read_text().replace("tetherfs blocks 1", "tetherfs blocks 0"))
    assert reads("f", SMALL) == len(SMALL)
    assert reads("f", SMALL) == 0


@pytest.mark.parametrize("what", ["segments", "all"])
def test_what_vanishes_from_the_disk_under_a_mount_costs_speed_alone(
    server, filesystem, content, cache_dir, reads, what
):
    content.write("f", DATA)
    content.write("g", OTHER)
    reads("f", DATA)
    with Mount(server, filesystem, "--memory", "16M", cache_dir=cache_dir) as mount:
        with open(mount / "f", "rb", buffering=0) as file:
            assert file.read(1 << 20) == DATA[:1 << 20]
            if what == "all":
                shutil.rmtree(blocks(cache_dir, filesystem))
            else:
                for segment in segments(cache_dir, filesystem):
                    segment.unlink()
            assert file.read() == DATA[1 << 20:]
        assert read(mount / "g") == OTHER
        write(mount / "f", OTHER)
    assert content.read("f") == OTHER
    reads("f", OTHER)
    assert reads("f", OTHER) == 0


# The disk's own trouble.

def test_a_full_disk_costs_reads_nothing_but_speed_and_is_told_to_writers(server, filesystem, content, cache_dir):
    content.write("f", DATA)
    content.write("g", OTHER)
    with small_disk(cache_dir, 6 << 20), Mount(server, filesystem, cache_dir=cache_dir) as mount:
        assert read(mount / "f") == DATA
        with open(pathlib.Path(cache_dir) / "filler", "wb", buffering=0) as filler, pytest.raises(OSError):
            while True:
                filler.write(bytes(4096))
        assert read(mount / "g") == OTHER
        fails(errno.ENOSPC, write, mount / "new", DATA)
        os.unlink(mount / "new")
        (pathlib.Path(cache_dir) / "filler").unlink()
        write(mount / "new", SMALL)
        assert read(mount / "f") == DATA and read(mount / "new") == SMALL
    assert without_uploads(content) == {"f": DATA, "g": OTHER, "new": SMALL}


def test_blocks_on_the_disk_make_room_for_what_is_written(server, filesystem, content, cache_dir):
    content.write("f", DATA)
    content.write("g", OTHER)
    with small_disk(cache_dir, 32 << 20), Mount(server, filesystem, cache_dir=cache_dir) as mount:
        assert read(mount / "f") == DATA and read(mount / "g") == OTHER
        write(mount / "new", DATA[:16 << 20])
    assert content.read("new") == DATA[:16 << 20]


@contextlib.contextmanager
def read_only(folder, tmp_path):
    """A folder on which nothing can be changed by its path any more."""
    view = tmp_path / "view"
    view.mkdir()
    with contextlib.ExitStack() as undo:
        check(["mount", "--bind", folder, view])
        undo.callback(check, ["umount", "-l", view])
        check(["mount", "-o", "remount,bind,ro", view])
        # Read-only from its first moment on: who has begun to write by it would keep it from becoming so.
        check(["mount", "--bind", view, folder])
        undo.callback(check, ["umount", "-l", folder])
        yield


def test_a_disk_that_becomes_read_only_under_a_mount_costs_speed_alone(
    server, filesystem, content, cache_dir, tmp_path
):
    content.write("f", DATA)
    content.write("g", OTHER)
    with Mount(server, filesystem, "--memory", "16M", cache_dir=cache_dir) as mount:
        assert read(mount / "f") == DATA
        with read_only(blocks(cache_dir, filesystem), tmp_path):
            assert read(mount / "g") == OTHER and read(mount / "f") == DATA
            write(mount / "f", OTHER)
            assert read(mount / "f") == OTHER
    with Mount(server, filesystem, cache_dir=cache_dir) as mount:
        assert read(mount / "f") == OTHER and read(mount / "g") == OTHER


def test_blocks_on_a_read_only_disk_do_not_keep_a_mount_from_working(
    filesystem, content, cache_dir, reads, tmp_path
):
    content.write("f", SMALL)
    reads("f", SMALL)
    with read_only(blocks(cache_dir, filesystem), tmp_path):
        assert reads("f", SMALL) == len(SMALL)
