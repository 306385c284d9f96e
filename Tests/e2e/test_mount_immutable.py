"""Files that never change on the service (--immutable) are asked for once, and what this mount changes is seen."""

import os

import pytest

from mountkit import Mount, counting, read, write
from servercalls import pattern

SIZE = 200_000
OLD, NEW = pattern(SIZE), pattern(SIZE, start=99)


@pytest.fixture
def immutable(server, filesystem):
    """A mount that would ask for everything each time if files could change."""
    with Mount(server, filesystem, "--immutable", "--metadata-ttl", 0, "--block-ttl", 0) as mount:
        yield mount


def forget():
    """Has the kernel forget all pages, names and attributes."""
    with open("/proc/sys/vm/drop_caches", "w") as drop:
        drop.write("3")


def test_a_size_and_bytes_are_asked_for_once(server, content, immutable):
    content.write("f", OLD)
    with counting(server) as seen:
        for _ in range(4):
            assert os.stat(immutable / "f").st_size == SIZE and read(immutable / "f") == OLD
            forget()
    assert seen.calls["size"] == 1
    # Each byte comes once, however many requests that takes.
    assert seen.bytes("read") == SIZE


def test_bytes_that_an_earlier_mount_read_are_not_asked_for(server, filesystem, content, cache_dir):
    content.write("f", OLD)
    options = ("--immutable", "--block-ttl", 0)
    with Mount(server, filesystem, *options, cache_dir=cache_dir) as mount:
        assert read(mount / "f") == OLD
    with Mount(server, filesystem, *options, cache_dir=cache_dir) as mount, counting(server) as seen:
        assert read(mount / "f") == OLD
    assert seen.calls["read"] == 0


def test_names_made_and_taken_elsewhere_are_seen(content, immutable):
    content.write("f", OLD)
    assert os.listdir(immutable.path) == ["f"]
    content.write("g", NEW)
    content.remove("f")
    assert os.listdir(immutable.path) == ["g"] and read(immutable / "g") == NEW


def test_what_is_changed_here_is_seen(content, immutable):
    content.write("f", OLD)
    content.write("g", OLD)
    assert read(immutable / "f") == read(immutable / "g") == OLD
    write(immutable / "f", NEW)
    assert read(immutable / "f") == NEW == content.read("f")
    write(immutable / "f", b"short")
    assert read(immutable / "f") == b"short" and os.stat(immutable / "f").st_size == 5
    os.rename(immutable / "f", immutable / "g")
    forget()
    assert read(immutable / "g") == b"short" == content.read("g")
    os.unlink(immutable / "g")
    write(immutable / "g", OLD)
    forget()
    assert read(immutable / "g") == OLD == content.read("g")
