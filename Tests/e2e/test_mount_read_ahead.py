"""What is read ahead within files, counted: each byte once, enough at a time, given up when nobody wants it."""

import concurrent.futures
import contextlib
import os
import random

import pytest

import faultplan
from mountkit import Mount, call_name, counting, memory, python, read
from servercalls import pattern
from serverkit import poll

BLOCK = 64 << 10
CHUNK = 128 << 10
MIB = 1 << 20
DATA = random.Random(64).randbytes(64 * MIB)


@pytest.fixture
def far(deployed, request):
    """A filesystem with a file, of a server whose every answer to a read takes a time."""
    filesystem = deployed.create_filesystem(request.node.name)
    deployed.content(filesystem).write("f", DATA)
    deployed.faults.add("read", faultplan.late(0.03), times=None)
    return filesystem


@contextlib.contextmanager
def opened(path, advice=os.POSIX_FADV_NORMAL):
    descriptor = os.open(path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, advice)
    yield descriptor
    os.close(descriptor)


def ranges(seen):
    """What was fetched, each range of bytes as it was asked for."""
    entries = [entry for entry in seen.entries if call_name(entry) == "read"]
    return sorted(tuple(map(int, entry.content_range.split("-"))) for entry in entries)


def begin(exchange):
    """The first byte that a read asks for."""
    return int(exchange.headers["Content-Range"].split("-")[0])


def assert_nothing_twice(seen):
    found = ranges(seen)
    assert all(before[1] <= after[0] for before, after in zip(found, found[1:])), found


# One reader.

def test_a_file_read_in_order_is_fetched_once_with_several_requests_under_way(deployed, far):
    with Mount(deployed, far) as mount, counting(deployed) as seen, opened(mount / "f") as file:
        deployed.gauge.most.clear()
        for start in range(0, len(DATA), CHUNK):
            assert os.pread(file, CHUNK, start) == DATA[start:start + CHUNK]
        assert 4 <= deployed.gauge.most["read"] <= 64
    assert_nothing_twice(seen)
    assert seen.bytes("read") == len(DATA)
    # Requests grow: 64 KiB each would be 1,024.
    assert seen.calls["read"] <= 80


def test_a_file_read_backwards_is_fetched_once_and_ahead(deployed, far):
    with Mount(deployed, far) as mount, counting(deployed) as seen, opened(mount / "f") as file:
        deployed.gauge.most.clear()
        for start in reversed(range(0, 32 * MIB, CHUNK)):
            assert os.pread(file, CHUNK, start) == DATA[start:start + CHUNK]
        assert deployed.gauge.most["read"] >= 2
    assert_nothing_twice(seen)
    assert seen.bytes("read") == 32 * MIB


@pytest.mark.parametrize("stride", [MIB, 300_000, -MIB], ids=["1 MiB", "no multiple of a block", "backwards"])
def test_reads_in_equal_steps_fetch_no_more_than_their_blocks_and_those_ahead(deployed, far, stride):
    starts = [index * abs(stride) + 1 for index in range(60)][::1 if stride > 0 else -1]
    touched = {block for start in starts for block in (start // BLOCK, (start + 4095) // BLOCK)}
    with Mount(deployed, far) as mount, opened(mount / "f", os.POSIX_FADV_RANDOM) as file:
        deployed.gauge.most.clear()
        with counting(deployed) as seen:
            for start in starts:
                assert os.pread(file, 4096, start) == DATA[start:start + 4096]
        assert deployed.gauge.most["read"] >= 2
    assert_nothing_twice(seen)
    # Beyond the last one read, those up to the file's end are steps too; the first block may come with the open.
    beyond = (len(DATA) - max(starts)) // abs(stride) if stride > 0 else 0
    assert seen.bytes("read") <= (len(touched) + 2 * beyond + 1) * BLOCK


@pytest.mark.parametrize("threads", [1, 16])
def test_random_reads_fetch_one_block_each(server, filesystem, content, threads):
    content.write("f", DATA)
    places = random.Random(1).sample(range(len(DATA) // BLOCK), 100)
    starts = [place * BLOCK + 4096 * (place % 16) for place in places]
    with Mount(server, filesystem) as mount, counting(server) as seen:
        with opened(mount / "f", os.POSIX_FADV_RANDOM) as file, concurrent.futures.ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(lambda start: os.pread(file, 4096, start), starts))
    assert found == [DATA[start:start + 4096] for start in starts]
    assert_nothing_twice(seen)
    assert all(end - start <= BLOCK for start, end in ranges(seen))
    # And the first one, which may come with the open.
    assert seen.bytes("read") <= (len(places) + 1) * BLOCK


def test_several_places_of_a_file_read_in_turn_are_streams_each(deployed, far):
    columns = [index * 16 * MIB for index in range(4)]
    with Mount(deployed, far) as mount, opened(mount / "f", os.POSIX_FADV_RANDOM) as file:
        deployed.gauge.most.clear()
        with counting(deployed) as seen:
            for offset in range(0, 16 * MIB, CHUNK):
                for column in columns:
                    assert os.pread(file, CHUNK, column + offset) == DATA[column + offset:][:CHUNK]
        assert deployed.gauge.most["read"] >= 4
    assert_nothing_twice(seen)
    assert seen.bytes("read") <= len(DATA)
    assert seen.calls["read"] <= 160


# Many readers.

def read_in_another_process(path):
    """A file's length and the hash of its bytes, as a process of its own reads it."""
    return python("import hashlib; print(hashlib.sha256(open(sys.argv[1], 'rb').read()).hexdigest())", path)


def test_readers_of_one_file_share_what_is_fetched(server, filesystem, content):
    content.write("f", DATA[:32 * MIB])
    with Mount(server, filesystem) as mount, counting(server) as seen:
        with concurrent.futures.ThreadPoolExecutor(10) as pool:
            found = list(pool.map(read_in_another_process, [mount / "f"] * 10))
    assert len(set(found)) == 1
    assert seen.bytes("read") == 32 * MIB


def test_readers_of_several_files_fetch_each_byte_once(server, filesystem, content):
    names = [f"f{index}" for index in range(4)]
    for index, name in enumerate(names):
        content.write(name, DATA[index * MIB:][:16 * MIB])
    with Mount(server, filesystem) as mount, counting(server) as seen:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda name: read(mount / name), names))
    assert found == [content.read(name) for name in names]
    assert seen.bytes("read") == 4 * 16 * MIB


def test_no_more_than_64_requests_are_under_way_however_many_read(deployed, far):
    content = deployed.content(far)
    for index in range(100):
        content.write(f"d/{index}", DATA[index:][:2 * MIB])
    with Mount(deployed, far) as mount, concurrent.futures.ThreadPoolExecutor(100) as pool:
        deployed.gauge.most.clear()
        found = list(pool.map(lambda index: read(mount / f"d/{index}"), range(100)))
        assert 32 <= deployed.gauge.most["any"] <= 64
    assert all(data == DATA[index:][:2 * MIB] for index, data in enumerate(found))


# The end of a pattern.

def test_what_is_ahead_of_a_reader_is_given_up_when_it_closes(deployed, request):
    filesystem = deployed.create_filesystem(request.node.name)
    deployed.content(filesystem).write("f", DATA)
    held = faultplan.Held(lambda exchange: begin(exchange) >= MIB)
    with Mount(deployed, filesystem, "--retries", 0) as mount:
        deployed.faults.add("read", held, times=None)
        # The kernel's own read-ahead would wait for what is held, and the file could not be closed.
        with opened(mount / "f", os.POSIX_FADV_RANDOM) as file:
            for start in range(0, 4 * CHUNK, CHUNK):
                assert os.pread(file, CHUNK, start) == DATA[start:start + CHUNK]
            poll(lambda: held.count >= 2, what="request ahead of the reader")
            assert held.given_up == 0
        poll(lambda: held.given_up == held.count, what="end of all that was ahead")
        deployed.faults.clear()
        assert read(mount / "f") == DATA


def test_a_reader_that_closes_takes_nothing_away_from_another_one_of_the_same_file(server, filesystem, content):
    content.write("f", DATA)
    # Memory is full long before the first one closes.
    with Mount(server, filesystem, "--memory", "32M", "--disk-cache", 0) as mount, counting(server) as seen:
        with opened(mount / "f", os.POSIX_FADV_RANDOM) as other:
            with opened(mount / "f", os.POSIX_FADV_RANDOM) as file:
                for offset in range(0, 16 * MIB, CHUNK):
                    for descriptor, start in ((file, offset), (other, 32 * MIB + offset)):
                        assert os.pread(descriptor, CHUNK, start) == DATA[start:start + CHUNK]
            for start in range(48 * MIB, 64 * MIB, CHUNK):
                assert os.pread(other, CHUNK, start) == DATA[start:start + CHUNK]
    assert_nothing_twice(seen)


def test_a_reader_that_stops_has_a_bounded_part_of_the_file_fetched(server, filesystem, content):
    content.write("f", DATA)
    with Mount(server, filesystem) as mount, counting(server) as seen, opened(mount / "f") as file:
        assert os.pread(file, CHUNK, 0) == DATA[:CHUNK]
        # Other requests go on meanwhile: a read of something else comes after what was asked for ahead.
        assert os.pread(file, 10, len(DATA) - 10) == DATA[-10:]
    assert seen.bytes("read") <= 10 * MIB


# What goes wrong.

def test_a_failure_ahead_of_a_reader_is_not_the_readers(deployed, request):
    filesystem = deployed.create_filesystem(request.node.name)
    deployed.content(filesystem).write("f", DATA)

    def refuse_what_is_ahead(exchange):
        if begin(exchange) >= MIB:
            faultplan.status(500)(exchange)
        else:
            exchange.answer()

    with Mount(deployed, filesystem, "--retries", 0) as mount:
        with opened(mount / "f", os.POSIX_FADV_RANDOM) as file:
            rule = deployed.faults.add("read", refuse_what_is_ahead, times=None)
            for start in range(0, 4 * CHUNK, CHUNK):
                assert os.pread(file, CHUNK, start) == DATA[start:start + CHUNK]
            poll(lambda: rule.hits > 4 and deployed.gauge.now["read"] == 0, what="end of what was asked for ahead")
            deployed.faults.clear()
            for start in range(4 * CHUNK, len(DATA), CHUNK):
                assert os.pread(file, CHUNK, start) == DATA[start:start + CHUNK]


@pytest.mark.parametrize("fault", [
    faultplan.cut(700_000), faultplan.cut(700_000, is_reset=True), faultplan.shortened(700_000),
    faultplan.lengthened(pattern(200_000)), faultplan.reset(), faultplan.status(503),
], ids=["cut off", "cut off by a reset", "shortened", "too long", "no answer", "refused"])
def test_broken_answers_in_a_long_stream_are_asked_for_again(deployed, request, fault):
    filesystem = deployed.create_filesystem(request.node.name)
    deployed.content(filesystem).write("f", DATA)
    dice = random.Random(5)
    broken = []

    def break_some(exchange):
        if dice.random() < 0.3 and len(broken) < 8:
            broken.append(exchange)
            fault(exchange)
        else:
            exchange.answer()

    deployed.faults.add("read", break_some, times=None)
    with Mount(deployed, filesystem, "--retries", 10) as mount:
        assert read(mount / "f") == DATA
    assert len(broken) >= 4


# Between two opens.

@pytest.mark.parametrize("sizes", [
    (100_000, 300_000), (300_000, 100_000), (BLOCK, BLOCK + 1), (BLOCK + 1, BLOCK), (5 * MIB, 0), (0, 5 * MIB),
], ids=str)
@pytest.mark.parametrize("ttl", [0, 1])
def test_a_file_that_has_another_size_at_the_next_open_is_read_as_it_is(server, filesystem, content, sizes, ttl):
    old, new = (pattern(size, start) for size, start in zip(sizes, (0, 77)))
    content.write("f", old)
    with Mount(server, filesystem, "--metadata-ttl", ttl) as mount:
        assert read(mount / "f") == old
        content.write("f", new)
        poll(lambda: os.stat(mount / "f").st_size == len(new), what="new size")
        assert read(mount / "f") == new
        content.write("f", old)
        poll(lambda: os.stat(mount / "f").st_size == len(old), what="old size")
        assert read(mount / "f") == old


# Memory.

def test_a_small_budget_of_memory_is_kept_while_a_large_file_is_read(server, filesystem, content):
    content.write("f", DATA)
    with Mount(server, filesystem, "--memory", "16M") as mount:
        assert os.listdir(mount.path) == ["f"]
        idle = memory(mount.pid, "VmRSS")
        with counting(server) as seen, concurrent.futures.ThreadPoolExecutor(4) as pool:
            assert all(data == DATA for data in pool.map(read, [mount / "f"] * 4))
        assert memory(mount.pid, "VmHWM") <= idle + 40 * MIB
    assert seen.bytes("read") >= len(DATA)
