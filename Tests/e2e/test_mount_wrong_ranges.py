"""Answers to reads that are of another place than was asked for, or of another version: no byte of them is shown."""

import errno
import os

import pytest

import faultplan
from mountkit import Mount, fails, read
from servercalls import pattern

MIB = 1 << 20
DATA = pattern(2 * MIB)


def whole(exchange):
    """Sends the whole file, as servers do that take no notice of the range; it says how long that is."""
    exchange.send(200, DATA)


@pytest.fixture
def filesystem(deployed, request):
    filesystem = deployed.create_filesystem(request.node.name)
    deployed.content(filesystem).write("f", DATA)
    return filesystem


def test_of_a_whole_file_in_place_of_a_range_nothing_is_taken(deployed, filesystem):
    with Mount(deployed, filesystem, "--retries", 1) as mount:
        with open(mount / "f", "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            deployed.faults.add("read", whole, times=None)
            for start in range(MIB, 2 * MIB, 256 << 10):
                fails(errno.EIO, os.pread, file.fileno(), 128 << 10, start)
            deployed.faults.clear()
            for start in range(MIB, 2 * MIB, 256 << 10):
                assert os.pread(file.fileno(), 128 << 10, start) == DATA[start:start + (128 << 10)]
        assert read(mount / "f") == DATA


def test_a_whole_file_in_place_of_a_range_once_does_no_harm(deployed, filesystem):
    with Mount(deployed, filesystem) as mount:
        rule = deployed.faults.add("read", whole, times=3)
        assert read(mount / "f") == DATA
        assert rule.hits >= 1
        assert read(mount / "f") == DATA


def test_a_file_that_was_shorter_for_a_moment_is_read_as_it_is(deployed, filesystem):
    content = deployed.content(filesystem)
    after = pattern(2 * MIB, start=99)
    with Mount(deployed, filesystem, "--metadata-ttl", 600) as mount:
        with open(mount / "f", "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            assert os.pread(file.fileno(), 100, 0) == DATA[:100]
            # What one read finds of a version that is there for no longer than that.
            rule = deployed.faults.add("read", lambda exchange: exchange.send(200, pattern(128 << 10, start=7)))
            content.write("f", after)
            assert os.pread(file.fileno(), 256 << 10, MIB) == after[MIB:][:256 << 10]
            assert rule.hits == 1
        # Not only what was asked for then.
        assert read(mount / "f") == after
