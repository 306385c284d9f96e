"""What is fetched before it is read, counted on the server: first bytes beside the size, small files ahead of a walk."""

import errno
import os
import random
import signal
import subprocess

import pytest

import faultplan
from mountkit import Mount, check, counting, read
from servercalls import pattern
from serverkit import poll

COUNT = 200


@pytest.fixture
def lasting(server, filesystem):
    """A mount that believes what it knows for longer than any test takes."""
    with Mount(server, filesystem, "--metadata-ttl", 600) as mount:
        yield mount


def names(count=COUNT):
    return [f"file-{index:03}" for index in range(count)]


def fill(content, directory, count=COUNT, size=4096):
    for index, name in enumerate(names(count)):
        content.write(f"{directory}/{name}", pattern(size, start=index))


# The first bytes.

def test_the_first_byte_of_a_listed_file_is_two_requests_side_by_side(deployed, request):
    filesystem = deployed.create_filesystem(request.node.name)
    deployed.content(filesystem).write("f", pattern(100_000))
    for call in ("size", "read"):
        deployed.faults.add(call, faultplan.until_under_way(deployed.gauge, "any", 2), times=1)
    with Mount(deployed, filesystem) as mount:
        os.listdir(mount.path)
        deployed.gauge.most.clear()
        with counting(deployed) as seen, open(mount / "f", "rb", buffering=0) as file:
            assert file.read(1) == pattern(1)
        assert deployed.gauge.most["any"] == 2
    assert seen.calls == {"size": 1, "read": 1}
    assert seen.bytes("read") == 65536


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 300_000])
def test_a_file_is_whole_whatever_its_size_beside_a_block(server, content, lasting, size):
    content.write("f", pattern(size))
    os.listdir(lasting.path)
    with counting(server) as seen:
        assert read(lasting / "f") == pattern(size)
    assert seen.calls["size"] == 1
    assert seen.bytes("read") == size


def test_stat_of_many_files_in_no_order_fetches_no_contents(server, content, lasting):
    fill(content, "d", 100)
    os.listdir(lasting / "d")
    shuffled = names(100)
    random.Random(3).shuffle(shuffled)
    with counting(server) as seen:
        assert all(os.stat(lasting / f"d/{name}").st_size == 4096 for name in shuffled)
    assert seen.calls["size"] == 100
    # Where it cannot be seen that they are stats, a handful of guesses.
    assert seen.calls["read"] <= 4


def test_ls_l_fetches_no_contents(server, content, lasting):
    fill(content, "d", 100)
    with counting(server) as seen:
        check(["ls", "-l", lasting / "d"])
    assert seen.calls["read"] == 0


def test_a_file_that_is_opened_to_be_replaced_is_not_downloaded(server, content, lasting):
    content.write("f", pattern(50_000))
    os.listdir(lasting.path)
    with counting(server) as seen:
        check(["sh", "-c", f"echo new > {lasting / 'f'}"])
    assert seen.calls["read"] <= 1
    assert content.read("f") == b"new\n"


# Walks.

@pytest.mark.parametrize("command", ["tar c . | cat", "cat d1/* d2/* d3/*", "grep -rh nothing . ; true"])
def test_a_walk_over_small_files_costs_two_requests_a_file(server, content, lasting, command):
    for directory in ("d1", "d2", "d3"):
        fill(content, directory)
    with counting(server) as seen:
        check(["sh", "-c", command + " > /dev/null"], cwd=lasting.path)
    files = 3 * COUNT
    assert seen.calls["size"] + seen.calls["read"] <= 2.1 * files, seen.calls
    assert seen.bytes("read") <= 1.05 * files * 4096


def test_tar_has_at_least_16_files_on_their_way_at_once(deployed, request):
    filesystem = deployed.create_filesystem(request.node.name)
    content = deployed.content(filesystem)
    fill(content, "d")
    deployed.faults.add("read", faultplan.until_under_way(deployed.gauge, "read", 16), path="d/file-1.*", times=None)
    with Mount(deployed, filesystem) as mount:
        check(["sh", "-c", "tar c . | cat > /dev/null"], cwd=mount.path)
    assert deployed.gauge.most["read"] >= 16


def test_tar_brings_every_byte_as_it_is(server, content, lasting, tmp_path):
    for directory in ("d1", "d1/sub", "d2"):
        fill(content, directory, 60)
    content.write("d1/large", pattern(3_000_000))
    content.write("d1/empty", b"")
    check(["sh", "-c", f"tar c . | tar x -C {tmp_path}"], cwd=lasting.path)
    copied = {
        str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()
    }
    assert copied == {path: data for path, data in content.tree().items() if data is not None}


def test_a_walk_that_stops_wastes_a_bounded_number_of_requests(server, content, lasting):
    fill(content, "d")
    os.listdir(lasting / "d")
    with counting(server) as seen:
        for name in names(50):
            read(lasting / f"d/{name}")
        for name in reversed(names()[150:]):
            read(lasting / f"d/{name}")
    assert seen.calls["read"] <= 50 + 48 + 50 + 4


@pytest.mark.parametrize("size", [10, 9000, 100_000])
def test_a_file_that_changes_after_it_was_fetched_ahead_is_never_a_mixture(server, filesystem, content, size):
    fill(content, "d", 60)
    with Mount(server, filesystem, "--metadata-ttl", 1) as mount:
        os.listdir(mount / "d")
        for name in names(10):
            read(mount / f"d/{name}")
        content.write("d/file-010", pattern(size, start=77))
        old, new = pattern(4096, start=10), pattern(size, start=77)
        try:
            # Within the time to live a longer version is seen no further than the size that was known.
            assert read(mount / "d/file-010") in (old, new, new[:len(old)])
        except OSError as error:
            # Its size was known, its bytes were not here yet: what it lacks of that size is an error, not zeros.
            assert error.errno == errno.EIO and size < 4096
        poll(lambda: os.stat(mount / "d/file-010").st_size == size, what="new size")
        assert read(mount / "d/file-010") == pattern(size, start=77)


def test_a_signal_ends_an_open_that_waits_for_size_and_first_bytes(deployed, request):
    filesystem = deployed.create_filesystem(request.node.name)
    deployed.content(filesystem).write("f", pattern(1000))
    with Mount(deployed, filesystem) as mount:
        os.listdir(mount.path)
        rules = [deployed.faults.add(call, faultplan.stall()) for call in ("size", "read")]
        program = subprocess.Popen(["cat", mount / "f"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for rule in rules:
                rule.wait()
            program.send_signal(signal.SIGINT)
            program.wait(20)
        except BaseException:
            mount.abort()
            program.kill()
            raise
        assert program.returncode == -signal.SIGINT
        deployed.faults.clear()
        assert read(mount / "f") == pattern(1000)
