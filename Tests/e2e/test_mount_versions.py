"""What is kept of a file is never shown in place of a version that this mount made or saw, though the API has no versions."""

import os
import pathlib
import sqlite3
import time

import pytest

from mountkit import Mount, read, write
from serverkit import poll

SIZE = 100_000
OLD, NEW = b"a" * SIZE, b"b" * SIZE


@pytest.fixture
def keep(filesystem, cache_dir):
    """Waits until the disk cache has a block of a file."""

    def is_kept(name):
        path = pathlib.Path(cache_dir, filesystem, "blocks", "catalogue.sqlite")
        try:
            with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as catalogue:
                return catalogue.execute("select 1 from pieces where path like ?", ("%" + name,)).fetchone()
        except sqlite3.Error:
            return None

    return lambda name: poll(lambda: is_kept(name), what=f"a block of {name} on the disk")


@pytest.fixture
def mounted(server, filesystem, cache_dir):
    """Makes a mount on the one cache directory, whose listings and sizes are soon too old."""
    return lambda *options: Mount(server, filesystem, "--metadata-ttl", "0.2", *options, cache_dir=cache_dir)


def see(what, is_so):
    """Looks again until listings and sizes are too old to be believed."""
    poll(is_so, what=what)


@pytest.mark.parametrize("between", ["0", "1M"])
def test_what_a_mount_without_a_disk_cache_changes_is_not_read_from_the_disk_later(content, mounted, keep, between):
    content.write("f", OLD)
    with mounted() as mount:
        assert read(mount / "f") == OLD
        keep("f")
    with mounted("--disk-cache", between) as mount:
        write(mount / "f", NEW)
    with mounted() as mount:
        assert read(mount / "f") == NEW


def change_and_back(content, mount, keep):
    """Has the mount read and keep the old bytes, and then see another size and the first one again, with new bytes."""
    content.write("f", OLD)
    assert read(mount / "f") == OLD
    keep("f")
    content.write("f", b"c" * 5000)
    see("the other size", lambda: os.stat(mount / "f").st_size == 5000)
    content.write("f", NEW)
    see("the size again", lambda: os.stat(mount / "f").st_size == SIZE)


def test_a_size_that_was_seen_to_change_and_came_back_is_another_version(content, mounted, keep):
    with mounted() as mount:
        change_and_back(content, mount, keep)
        assert read(mount / "f") == NEW


def test_a_byte_written_into_a_version_seen_anew_uploads_nothing_of_the_old_one(content, mounted, keep):
    with mounted() as mount:
        change_and_back(content, mount, keep)
        descriptor = os.open(mount / "f", os.O_RDWR)
        os.pwrite(descriptor, b"X", 10)
        os.close(descriptor)
        assert content.read("f") == NEW[:10] + b"X" + NEW[11:]


def test_a_name_that_was_seen_to_be_gone_is_another_file_when_it_is_back(content, mounted, keep):
    content.write("f", OLD)
    with mounted() as mount:
        assert read(mount / "f") == OLD
        keep("f")
        content.remove("f")
        see("that it is gone", lambda: not os.path.exists(mount / "f"))
        content.write("f", NEW)
        see("that it is back", lambda: os.path.exists(mount / "f"))
        assert read(mount / "f") == NEW


def test_bytes_of_a_size_that_stays_are_believed_no_longer_than_told_also_after_an_idle_time(content, mounted):
    content.write("f", OLD)
    with mounted("--block-ttl", "1") as mount:
        assert read(mount / "f") == OLD
        content.write("f", NEW)
        # The lifetime itself is what is tested, without anybody looking meanwhile.
        time.sleep(1.5)
        assert read(mount / "f") == NEW


def test_the_time_on_the_disk_and_in_memory_together_is_the_time_that_was_told(content, mounted, keep):
    content.write("f", OLD)
    with mounted("--block-ttl", "4") as mount:
        begin = time.monotonic()
        assert read(mount / "f") == OLD
        keep("f")
        content.write("f", NEW)
    with mounted("--block-ttl", "4") as mount:
        poll(lambda: read(mount / "f") == NEW, what="the new bytes")
        # With three seconds for a slow machine; it was twice the time once.
        assert time.monotonic() - begin < 7
