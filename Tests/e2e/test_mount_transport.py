"""What the mount does about a server that is slow to one request, or refuses for being asked too much."""

import concurrent.futures
import os

import pytest

import faultplan
from mountkit import Mount, call_name, check, counting, read
from servercalls import pattern
from serverkit import poll

SIZE = 100_000


def names(count):
    return [f"file-{index:03}" for index in range(count)]


def fill(content, directory, count, size=SIZE):
    for index, name in enumerate(names(count)):
        content.write(f"{directory}/{name}", pattern(size, index))


def reads_of(seen, name):
    """The ranges that were read of a file."""
    return [entry.content_range for entry in seen.entries if call_name(entry) == "read" and entry.path.endswith(name)]


def test_one_of_8_reads_that_stalls_for_good_is_finished_by_one_more_request(deployed, request):
    filesystem = deployed.create_filesystem(request.node.name)
    fill(deployed.content(filesystem), "before", 16)
    fill(deployed.content(filesystem), "d", 8)
    with Mount(deployed, filesystem, "--retries", 0) as mount:
        for name in names(16):
            read(mount / f"before/{name}")
        rule = deployed.faults.add("read", faultplan.stall(after=20_000), path="d/file-003")
        with counting(deployed) as seen, concurrent.futures.ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda name: read(mount / f"d/{name}"), names(8)))
        assert found == [pattern(SIZE, index) for index in range(8)]
        assert rule.hits == 1
    stalled = reads_of(seen, "d/file-003")
    assert len(stalled) == len(reads_of(seen, "d/file-004")) + 1
    # Whichever of its requests came first.
    starts = {int(text.split("-")[0]) for text in stalled}
    assert any(start - 20_000 in starts for start in starts), stalled
    assert seen.calls["read"] == 8 * len(reads_of(seen, "d/file-004")) + 1


def test_a_size_that_is_never_answered_is_asked_again_once(deployed, request):
    filesystem = deployed.create_filesystem(request.node.name)
    fill(deployed.content(filesystem), "d", 20, size=3)
    with Mount(deployed, filesystem, "--retries", 0) as mount:
        for name in names(16):
            os.stat(mount / f"d/{name}")
        rule = deployed.faults.add("size", faultplan.stall(), path="d/file-018")
        with counting(deployed) as seen:
            assert os.stat(mount / "d/file-018").st_size == 3
        assert rule.hits == 1
        # The one that stalls is logged when it is answered.
        assert sum(call_name(entry) == "size" and entry.path.endswith("018") for entry in seen.entries) == 1


def test_a_listing_that_is_never_answered_is_asked_again_once(deployed, request):
    filesystem = deployed.create_filesystem(request.node.name)
    for name in names(20):
        fill(deployed.content(filesystem), name, 1, size=3)
    with Mount(deployed, filesystem, "--retries", 0) as mount:
        # In no order that would have the next ones listed ahead.
        for name in reversed(names(20)[2:]):
            os.listdir(mount / name)
        rule = deployed.faults.add("list", faultplan.stall(), path="file-000")
        with counting(deployed) as seen:
            assert os.listdir(mount / "file-000") == names(1)
        assert rule.hits == 1
        assert sum(call_name(entry) == "list" and entry.path.endswith("file-000") for entry in seen.entries) == 1


def connections(port):
    """The connections to a port of this machine: of each its timer and when that ends, in hundredths of a second."""
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table][1:]
    established = [row for row in rows if row[3] == "01" and row[2].endswith(f":{port:04X}")]
    return [tuple(int(part, 16) for part in row[5].split(":")) for row in established]


def test_a_connection_that_is_idle_is_asked_whether_it_is_alive(our_server, request):
    filesystem = our_server.create_filesystem(request.node.name)
    fill(our_server.content(filesystem), "d", 4)
    with Mount(our_server, filesystem) as mount:
        for name in names(4):
            read(mount / f"d/{name}")
        # proc_net_tcp(5): 2 is the timer of what is idle. Those that nothing was sent over yet have none.
        def ends():
            return [end for timer, end in connections(our_server.port) if timer == 2]

        assert all(end <= 30 * 100 for end in poll(ends, what="connection that is asked when it is idle"))


@pytest.mark.parametrize("code", [429, 503])
def test_a_refusal_halves_the_requests_on_the_way_and_answers_let_them_grow_again(deployed, request, code):
    filesystem = deployed.create_filesystem(request.node.name)
    content = deployed.content(filesystem)
    content.write("refused", b"x")
    for directory, count in (("a", 120), ("b", 3000), ("c", 200)):
        fill(content, directory, count, size=1)
    gauge = deployed.gauge
    with Mount(deployed, filesystem, "--metadata-ttl", 600) as mount:
        deployed.faults.add("size", faultplan.status(code), path="refused")
        assert os.stat(mount / "refused").st_size == 1
        together = faultplan.until_under_way(gauge, "size", 24)
        rule = deployed.faults.add("size", together, path="a/.*", times=None)
        gauge.most.clear()
        check(["ls", "-l", mount / "a"])
        assert rule.hits == 120
        assert 24 <= gauge.most["size"] <= 38
        check(["ls", "-l", mount / "b"])
        together = faultplan.until_under_way(gauge, "size", 45)
        deployed.faults.add("size", together, path="c/.*", times=None)
        gauge.most.clear()
        check(["ls", "-l", mount / "c"])
        assert 45 <= gauge.most["size"] <= 64
