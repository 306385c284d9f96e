"""The cache directory of a mount: which ones are refused and left alone, and that no two mounts share one."""

import errno
import os

import pytest

from mountkit import Mount, read, refused, small_disk, write
from servercalls import pattern

DATA = pattern(50_000)


@pytest.fixture
def server(deployed):
    return deployed


@pytest.mark.parametrize("found", [b"tetherfs cache 999\n", b"", b"\xff\x00garbage", b"x" * 100_000])
def test_a_cache_directory_of_another_version_is_refused_and_left_alone(server, filesystem, prepared, found):
    folder = prepared.cache_dir / filesystem
    folder.mkdir(parents=True)
    (folder / "FORMAT").write_bytes(found)
    (folder / "precious").write_bytes(DATA)
    refused(prepared.mount(), str(folder), "--cache-dir")
    assert (folder / "FORMAT").read_bytes() == found and (folder / "precious").read_bytes() == DATA
    assert not prepared.is_mounted and prepared.pid is None


def test_a_directory_with_other_things_in_it_is_no_cache_directory(server, filesystem, prepared):
    folder = prepared.cache_dir / filesystem
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_bytes(DATA)
    refused(prepared.mount(), str(folder), "--cache-dir")
    assert (folder / "thesis.tex").read_bytes() == DATA


@pytest.mark.parametrize("kind", ["file", "file for the filesystem", "below a file"])
def test_a_cache_directory_that_cannot_be_is_told(filesystem, prepared, kind):
    if kind == "file for the filesystem":
        prepared.cache_dir.mkdir()
        (prepared.cache_dir / filesystem).write_text("a file")
    elif kind == "file":
        prepared.cache_dir.write_text("a file")
    else:
        prepared.cache_dir.write_text("a file")
        prepared.cache_dir /= "cache"
    refused(prepared.mount(), str(prepared.cache_dir), "--cache-dir")


def test_garbage_in_a_cache_directory_harms_nothing(server, filesystem, content, cache_dir):
    content.write("f", DATA)
    with Mount(server, filesystem, cache_dir=cache_dir):
        pass
    for folder in ("staging", "recovered", ""):
        for name in ("garbage", "clean-1", "dirty-x", "dirty-99-f"):
            with open(os.path.join(cache_dir, filesystem, folder, name), "wb") as file:
                file.write(os.urandom(1000))
    with Mount(server, filesystem, cache_dir=cache_dir) as mount:
        assert os.listdir(mount.path) == ["f"] and read(mount / "f") == DATA
        write(mount / "f", b"new")
    assert content.tree() == {"f": b"new"}


def test_two_mounts_of_a_filesystem_do_not_share_a_cache_directory(server, filesystem, content, cache_dir):
    content.write("f", DATA)
    with Mount(server, filesystem, cache_dir=cache_dir) as mount:
        second = Mount(server, filesystem, cache_dir=cache_dir)
        refused(second.mount(), cache_dir, "--cache-dir")
        second.take_away()
        assert read(mount / "f") == DATA
        with Mount(server, filesystem) as other:
            assert read(other / "f") == DATA


def test_mounts_of_two_filesystems_share_a_cache_directory(server, filesystem, content, cache_dir):
    content.write("f", DATA)
    another = server.create_filesystem("another")
    with Mount(server, filesystem, cache_dir=cache_dir) as one, Mount(server, another, cache_dir=cache_dir) as two:
        write(two / "g", b"x")
        assert (os.listdir(one.path), os.listdir(two.path)) == (["f"], ["g"])


def test_what_was_uploaded_makes_room_for_what_is_written_next_on_a_full_disk(server, filesystem, content, cache_dir):
    data = pattern(5 << 20)
    with small_disk(cache_dir, "8M"), Mount(server, filesystem, "--disk-cache", 0, cache_dir=cache_dir) as mount:
        for name in ("f", "g", "h"):
            write(mount / name, data)
    assert content.tree() == dict.fromkeys(("f", "g", "h"), data)


def test_a_full_local_disk_is_the_writers_error_before_anything_is_replaced(server, filesystem, content, cache_dir):
    content.write("f", DATA)
    with small_disk(cache_dir, 2 << 20), Mount(server, filesystem, cache_dir=cache_dir) as mount:
        descriptor = os.open(mount / "f", os.O_RDWR)
        written = 0
        with pytest.raises(OSError) as caught:
            while True:
                written += os.pwrite(descriptor, bytes(100_000), len(DATA) + written)
        assert caught.value.errno == errno.ENOSPC
        assert content.read("f") == DATA
        os.ftruncate(descriptor, len(DATA))
        os.close(descriptor)
        write(mount / "g", b"there is room again")
    assert content.tree() == {"f": DATA, "g": b"there is room again"}
