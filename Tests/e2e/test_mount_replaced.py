"""Files that are replaced by ones of the same size, which the API does not show: what is kept of the old ones here.

After a remount the kernel has no pages and the driver's memory no blocks: old bytes would come from the disk cache.
"""

import concurrent.futures
import os
import random
import threading

import pytest

from mountkit import Mount, read, write
from serverkit import poll

BLOCK = 64 << 10
SMALL, SMALL_TOO = (random.Random(seed).randbytes(3 * BLOCK + 100) for seed in (20, 21))
LARGE = random.Random(22).randbytes(5 << 20)


def overwrite(mount, _content):
    write(mount / "f", SMALL_TOO)


def overwrite_in_place(mount, _content):
    with open(mount / "f", "r+b", buffering=0) as file:
        file.write(SMALL_TOO)


def overwrite_in_pieces(mount, _content):
    for start in range(0, len(SMALL), BLOCK):
        with open(mount / "f", "r+b", buffering=0) as file:
            os.pwrite(file.fileno(), SMALL_TOO[start:start + BLOCK], start)


def rename_over(mount, _content):
    write(mount / "new", SMALL_TOO)
    os.rename(mount / "new", mount / "f")


def rename_over_while_it_is_read(mount, _content):
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        is_done = threading.Event()

        def read_on():
            while not is_done.is_set():
                assert read(mount / "f") in (SMALL, SMALL_TOO)

        readers = [pool.submit(read_on) for _ in range(3)]
        try:
            for data in [SMALL, SMALL_TOO] * 4:
                write(mount / "new", data)
                os.rename(mount / "new", mount / "f")
                assert read(mount / "f") == data
        finally:
            is_done.set()
        for reader in readers:
            reader.result()


def truncate_and_write(mount, _content):
    os.truncate(mount / "f", 0)
    write(mount / "f", SMALL_TOO)


def remove_and_make(mount, _content):
    os.unlink(mount / "f")
    write(mount / "f", SMALL_TOO)


def remove_for_another_client(mount, content):
    os.unlink(mount / "f")
    content.write("f", SMALL_TOO)


def move_away_for_another_client(mount, content):
    os.rename(mount / "f", mount / "old")
    content.write("f", SMALL_TOO)


CHANGES = [
    overwrite, overwrite_in_place, overwrite_in_pieces, rename_over, rename_over_while_it_is_read, truncate_and_write,
    remove_and_make, remove_for_another_client, move_away_for_another_client,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("is_killed", [False, True], ids=["unmounted", "killed"])
def test_what_this_mount_replaced_by_as_many_bytes_never_comes_back(
    server, filesystem, content, cache_dir, reads, change, is_killed
):
    content.write("f", SMALL)
    assert reads("f", SMALL) == len(SMALL)
    with Mount(server, filesystem, cache_dir=cache_dir) as mount:
        assert read(mount / "f") == SMALL
        change(mount, content)
        if is_killed:
            mount.kill()
            assert mount.unmount().returncode == 0
    reads("f", SMALL_TOO)
    assert reads("f", SMALL_TOO) == 0


@pytest.mark.parametrize("is_killed", [False, True], ids=["unmounted", "killed"])
def test_files_that_follow_in_the_place_of_a_renamed_directory_are_read_as_they_are(
    server, filesystem, content, cache_dir, reads, is_killed
):
    content.write("d/sub/f", SMALL)
    assert reads("d/sub/f", SMALL) == len(SMALL)
    with Mount(server, filesystem, cache_dir=cache_dir) as mount:
        os.rename(mount / "d", mount / "e")
        content.write("d/sub/f", SMALL_TOO)
        if is_killed:
            mount.kill()
            assert mount.unmount().returncode == 0
    reads("d/sub/f", SMALL_TOO)
    reads("e/sub/f", SMALL)


def test_a_file_that_had_this_size_before_is_not_read_as_it_was_then(content, reads):
    content.write("f", SMALL)
    assert reads("f", SMALL) == len(SMALL)
    content.write("f", LARGE)
    reads("f", LARGE)
    content.write("f", SMALL_TOO)
    assert reads("f", SMALL_TOO) == len(SMALL)


def test_blocks_on_the_disk_are_believed_for_the_block_ttl_only(content, reads):
    content.write("f", SMALL)
    assert reads("f", SMALL) == len(SMALL)
    assert reads("f", SMALL, "--block-ttl", 3600) == 0
    poll(lambda: reads("f", SMALL, "--block-ttl", 1) == len(SMALL), what="block that is over age")
    assert reads("f", SMALL, "--block-ttl", 0) == len(SMALL)
