"""The bytes of files on a mount: opening, writing in all ways, sizes, holes, over both servers."""

import ctypes
import errno
import os
import random

import pytest

from modelkit import outcome
from mountkit import Mount, check, counting, fails, libc, python, read, small_disk, write
from servercalls import pattern
from serverkit import poll

# FALLOC_FL_KEEP_SIZE of linux/falloc.h.
KEEP_SIZE = 0x01
BIG = 20 * 1024 * 1024 + 12_345


# Opening.

def test_what_was_written_is_on_the_server_when_close_returns(content, mount):
    for size in (1, 4095, 4096, 4097, 1_000_003):
        write(mount / "f", pattern(size))
        assert content.read("f") == pattern(size)
        assert read(mount / "f") == pattern(size) and os.stat(mount / "f").st_size == size


def test_a_big_file_goes_up_and_comes_back_whole(server, filesystem, content, mount):
    data = pattern(BIG)
    write(mount / "f", data)
    assert content.read("f") == data
    with Mount(server, filesystem) as other:
        assert read(other / "f") == data


def test_an_empty_file_made_here_is_on_our_server(our_server, request):
    filesystem = our_server.create_filesystem(request.node.name)
    with Mount(our_server, filesystem) as mount:
        write(mount / "by-open", b"")
        os.mknod(mount / "by-mknod", 0o644)
        check(["touch", mount / "by-touch"])
        assert {os.stat(mount / name).st_size for name in os.listdir(mount.path)} == {0}
    assert our_server.content(filesystem).tree() == {"by-open": b"", "by-mknod": b"", "by-touch": b""}


def test_an_empty_file_leaves_nothing_beside_it_on_a_server_that_refuses_them(deployed, request):
    filesystem = deployed.create_filesystem(request.node.name)
    with Mount(deployed, filesystem) as mount:
        write(mount / "f", b"")
        write(mount / "g", b"")
    assert deployed.content(filesystem).tree() == {"f": b"", "g": b""}


def test_o_excl_takes_no_name_that_exists(server, filesystem, content):
    content.write("f", b"old")
    with Mount(server, filesystem, "--metadata-ttl", 0) as mount:
        fails(errno.EEXIST, os.open, mount / "f", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        os.listdir(mount.path)
        content.write("g", b"theirs")
        fails(errno.EEXIST, os.open, mount / "g", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        write(mount / "new", b"x", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    assert content.tree() == {"f": b"old", "g": b"theirs", "new": b"x"}


def test_o_trunc_empties_what_was_there(content, mount):
    content.write("f", pattern(100_000))
    descriptor = os.open(mount / "f", os.O_WRONLY | os.O_TRUNC)
    assert os.fstat(descriptor).st_size == 0
    os.write(descriptor, b"new")
    os.close(descriptor)
    assert content.read("f") == b"new" and read(mount / "f") == b"new"


def test_creat_of_an_existing_file_without_o_trunc_keeps_its_bytes(content, mount):
    content.write("f", b"hello")
    write(mount / "f", b"J", os.O_WRONLY | os.O_CREAT)
    assert content.read("f") == b"Jello"


def test_o_append_writes_at_the_end_whoever_else_writes(content, mount):
    content.write("f", b"start")
    descriptors = [os.open(mount / "f", os.O_WRONLY | os.O_APPEND) for _ in range(2)]
    for index in range(10):
        os.write(descriptors[index % 2], b"%d" % index)
    for descriptor in descriptors:
        os.close(descriptor)
    assert content.read("f") == b"start0123456789"


def test_a_handle_that_may_not_write_or_read_does_not(content, mount):
    content.write("f", b"hello")
    for flags, call in {os.O_RDONLY: lambda fd: os.write(fd, b"x"), os.O_WRONLY: lambda fd: os.read(fd, 1)}.items():
        descriptor = os.open(mount / "f", flags)
        fails(errno.EBADF, call, descriptor)
        os.close(descriptor)
    assert content.read("f") == b"hello"


# Overwriting.

def test_a_write_into_the_middle_of_a_big_file_changes_nothing_else(content, mount):
    data = bytearray(pattern(BIG))
    content.write("f", data)
    descriptor = os.open(mount / "f", os.O_RDWR)
    os.pwrite(descriptor, b"changed" * 100, 10_000_123)
    data[10_000_123:10_000_823] = b"changed" * 100
    assert os.pread(descriptor, 2000, 10_000_000) == data[10_000_000:10_002_000]
    os.close(descriptor)
    assert content.read("f") == data
    assert read(mount / "f") == data


def test_an_append_to_a_big_file_changes_nothing_else(content, mount):
    content.write("f", pattern(BIG))
    write(mount / "f", b"the end", os.O_WRONLY | os.O_APPEND)
    assert content.read("f") == pattern(BIG) + b"the end"
    assert os.stat(mount / "f").st_size == BIG + 7


def test_random_writes_and_truncations_come_out_as_in_a_byte_array(content, mount):
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    data = bytearray(pattern(700_000))
    content.write("f", data)
    for _ in range(4):
        descriptor = os.open(mount / "f", os.O_RDWR)
        for _ in range(40):
            offset = chance.randrange(len(data) + 50_000)
            if chance.random() < 0.2:
                os.ftruncate(descriptor, offset)
                data = data[:offset] + bytes(max(0, offset - len(data)))
            elif chance.random() < 0.6:
                new = chance.randbytes(chance.choice([1, 100, 5000, 70_000]))
                os.pwrite(descriptor, new, offset)
                data.extend(bytes(max(0, offset - len(data))))
                data[offset:offset + len(new)] = new
            else:
                count = chance.choice([1, 5000, 200_000])
                assert os.pread(descriptor, count, offset) == data[offset:offset + count]
            assert os.fstat(descriptor).st_size == len(data)
        os.close(descriptor)
        assert content.read("f") == data
        assert read(mount / "f") == data


# Sizes.

@pytest.mark.parametrize("size", [0, 1, 99_999, 100_000, 100_001, 3_000_000])
def test_truncate_by_path_and_by_handle(server, content, mount, size):
    if size == 0 and getattr(server, "refuses_empty", False):
        size = 2
    data = pattern(100_000)
    wanted = data[:size] + bytes(max(0, size - len(data)))
    content.write("by-path", data)
    content.write("by-handle", data)
    os.truncate(mount / "by-path", size)
    assert content.read("by-path") == wanted
    descriptor = os.open(mount / "by-handle", os.O_RDWR)
    os.ftruncate(descriptor, size)
    assert os.fstat(descriptor).st_size == size
    os.close(descriptor)
    assert content.read("by-handle") == wanted
    for name in ("by-path", "by-handle"):
        assert os.stat(mount / name).st_size == size and read(mount / name) == wanted


def test_bytes_cut_off_do_not_come_back_when_the_file_grows_again(content, mount):
    content.write("f", pattern(100_000))
    assert len(read(mount / "f")) == 100_000
    descriptor = os.open(mount / "f", os.O_RDWR)
    os.ftruncate(descriptor, 1000)
    os.ftruncate(descriptor, 50_000)
    wanted = pattern(1000) + bytes(49_000)
    assert os.pread(descriptor, 100_000, 0) == wanted
    os.close(descriptor)
    assert content.read("f") == wanted and read(mount / "f") == wanted


def test_truncate_by_path_holds_for_who_has_the_file_open(content, mount):
    content.write("f", pattern(100_000))
    descriptor = os.open(mount / "f", os.O_RDWR)
    os.pwrite(descriptor, b"x", 0)
    os.truncate(mount / "f", 10)
    assert os.fstat(descriptor).st_size == 10
    os.close(descriptor)
    assert content.read("f") == b"x" + pattern(9, start=1)


def test_a_write_past_the_end_leaves_zeros_between(content, mount):
    content.write("f", b"hello")
    descriptor = os.open(mount / "f", os.O_RDWR)
    os.pwrite(descriptor, b"far", 1_000_000)
    wanted = b"hello" + bytes(999_995) + b"far"
    assert os.pread(descriptor, 2_000_000, 0) == wanted
    os.close(descriptor)
    assert content.read("f") == wanted and read(mount / "f") == wanted


def test_a_file_larger_than_any_may_be_is_refused(mount):
    descriptor = os.open(mount / "f", os.O_RDWR | os.O_CREAT)
    os.write(descriptor, b"x")
    fails(errno.EFBIG, os.ftruncate, descriptor, 1 << 62)
    fails(errno.EFBIG, os.pwrite, descriptor, b"x", 1 << 62)
    assert os.fstat(descriptor).st_size == 1
    os.close(descriptor)


# Room and holes.

def test_fallocate_makes_room_and_grows_the_file(content, mount):
    descriptor = os.open(mount / "f", os.O_RDWR | os.O_CREAT)
    os.write(descriptor, b"hello")
    os.posix_fallocate(descriptor, 0, 100_000)
    assert os.fstat(descriptor).st_size == 100_000
    os.close(descriptor)
    assert content.read("f") == b"hello" + bytes(99_995)


def fallocate(descriptor, mode, offset, length):
    libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    if libc.fallocate(descriptor, mode, offset, length) != 0:
        raise OSError(ctypes.get_errno(), "fallocate")


def test_room_beyond_the_end_leaves_the_file_as_it_is_and_uploads_nothing(server, content, mount):
    content.write("f", pattern(10_000))
    with counting(server) as seen:
        descriptor = os.open(mount / "f", os.O_RDWR)
        fallocate(descriptor, KEEP_SIZE, 5_000, 100_000)
        assert os.fstat(descriptor).st_size == 10_000 and os.pread(descriptor, 20_000, 0) == pattern(10_000)
        os.close(descriptor)
    assert seen.calls["post"] == 0
    descriptor = os.open(mount / "f", os.O_RDWR)
    fallocate(descriptor, KEEP_SIZE, 0, 100_000)
    os.pwrite(descriptor, b"written", 20_000)
    os.close(descriptor)
    assert content.read("f") == pattern(10_000) + bytes(10_000) + b"written"


def test_room_that_the_local_disk_does_not_have_is_refused_and_what_is_not_used_is_given_back(
        server, filesystem, content, cache_dir):
    with small_disk(cache_dir, "8M"), Mount(server, filesystem, "--disk-cache", 0, cache_dir=cache_dir) as mount:
        descriptor = os.open(mount / "f", os.O_RDWR | os.O_CREAT)
        os.write(descriptor, b"written")
        fails(errno.ENOSPC, fallocate, descriptor, KEEP_SIZE, 0, 10 << 20)
        fallocate(descriptor, KEEP_SIZE, 0, 6 << 20)
        other = os.open(mount / "g", os.O_RDWR | os.O_CREAT)
        fails(errno.ENOSPC, fallocate, other, KEEP_SIZE, 0, 6 << 20)
        os.close(descriptor)
        # The kernel tells that nobody has it open any more some time after the close.
        poll(lambda: outcome(fallocate, other, KEEP_SIZE, 0, 6 << 20) is None, what="room")
        os.write(other, pattern(5 << 20))
        os.close(other)
    assert content.tree() == {"f": b"written", "g": pattern(5 << 20)}


@pytest.mark.parametrize("mode", [0x03, 0x10, 0x08], ids=["punch hole", "zero range", "collapse"])
def test_other_ways_of_fallocate_are_not_supported(content, mount, mode):
    content.write("f", pattern(10_000))
    descriptor = os.open(mount / "f", os.O_RDWR)
    fails(errno.EOPNOTSUPP, fallocate, descriptor, mode, 0, 4096)
    os.close(descriptor)
    assert content.read("f") == pattern(10_000)


def test_a_file_is_data_up_to_its_end(content, mount):
    content.write("f", pattern(10_000))
    descriptor = os.open(mount / "f", os.O_RDONLY)
    assert os.lseek(descriptor, 0, os.SEEK_DATA) == 0
    assert os.lseek(descriptor, 5000, os.SEEK_DATA) == 5000
    assert os.lseek(descriptor, 0, os.SEEK_HOLE) == 10_000
    for whence in (os.SEEK_DATA, os.SEEK_HOLE):
        fails(errno.ENXIO, os.lseek, descriptor, 10_000, whence)
    assert os.lseek(descriptor, 0, os.SEEK_END) == 10_000
    os.close(descriptor)


def test_reads_end_at_the_files_end(content, mount):
    content.write("f", pattern(100_000))
    descriptor = os.open(mount / "f", os.O_RDONLY)
    assert os.pread(descriptor, 1000, 99_990) == pattern(10, start=99_990)
    assert os.pread(descriptor, 1000, 100_000) == b"" == os.pread(descriptor, 10, 1_000_000)
    os.close(descriptor)


def test_copies_by_tools_are_whole(content, mount, tmp_path):
    (tmp_path / "f").write_bytes(pattern(3_000_000))
    check(["cp", tmp_path / "f", mount / "f"])
    check(["cp", "--sparse=always", mount / "f", mount / "g"])
    check(["dd", f"if={mount / 'g'}", f"of={mount / 'h'}", "bs=77777", "status=none"])
    for name in "fgh":
        assert content.read(name) == pattern(3_000_000)
    python("os.copy_file_range(os.open(sys.argv[1], os.O_RDONLY), os.open(sys.argv[2], os.O_RDWR), 1000, 0, 5)",
           mount / "f", mount / "h")
    assert content.read("h") == pattern(5) + pattern(1000) + pattern(3_000_000)[1005:]


def test_reading_changes_nothing_on_the_server(server, content, mount):
    content.write("f", pattern(1000))
    descriptor = os.open(mount / "f", os.O_RDWR)
    with counting(server) as seen:
        os.pread(descriptor, 1000, 0)
        os.close(descriptor)
    assert set(seen.calls) <= {"read"}
