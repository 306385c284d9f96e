"""What writing costs of memory: little, however much it is, as it is on the local disk until it is sent."""

import json
import subprocess
import sys

import pytest

import faultplan
from mountkit import Mount, memory, python, tetherfs
from servercalls import pattern
from serverkit import poll

MIB = 1 << 20
BUDGET = 64 * MIB

WRITE = """
file, piece = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY), open(sys.argv[2], "rb").read()
for _ in range(int(sys.argv[3])):
    os.write(file, piece)
os.close(file)
"""
# Every other block, in no order.
SCATTER = """
file, count = os.open(sys.argv[1], os.O_WRONLY), int(sys.argv[2])
for number in range(count):
    os.pwrite(file, b"w" * 4096, number * 7919 % count * 8192)
os.close(file)
"""
# To a file each, all at once, when a line comes.
TOGETHER = """
import concurrent.futures, os, sys
count, piece = int(sys.argv[2]), b"w" * (1 << 20)
files = [os.open(f"{sys.argv[1]}/{number}", os.O_WRONLY) for number in range(count)]
print("open", flush=True)
sys.stdin.readline()
with concurrent.futures.ThreadPoolExecutor(count) as pool:
    assert set(pool.map(lambda file: os.pwrite(file, piece, 0), files)) == {len(piece)}
"""
# By many at once: they wait for the local disk together.
MAKE = """
import concurrent.futures
def make(number):
    with open(f"{sys.argv[1]}/{number}", "wb") as file:
        file.write(b"x" * 1000)
with concurrent.futures.ThreadPoolExecutor(32) as pool:
    list(pool.map(make, range(int(sys.argv[2]))))
"""
REMOVE = """
import concurrent.futures
with concurrent.futures.ThreadPoolExecutor(32) as pool:
    list(pool.map(lambda name: os.unlink(f"{sys.argv[1]}/{name}"), os.listdir(sys.argv[1])))
"""


@pytest.fixture
def mounted(our_server, request):
    """Makes a mount with little memory, whose use of it in the end is looked at."""
    filesystem = our_server.create_filesystem(request.node.name)

    def make(*options):
        return Mount(our_server, filesystem, "--memory", BUDGET, *options, limit=200)

    make.content = our_server.content(filesystem)
    return make


def requests(mount):
    """How many requests are under way, or wait for that."""
    server = json.loads(tetherfs("status", mount.path, "--json").stdout)["server"]
    return server["inFlight"] + server["queued"]


def stays_bounded(mount, idle, by=BUDGET):
    assert memory(mount.pid, "VmHWM") <= idle + by


@pytest.mark.parametrize("mode", ["sync", "write-back"])
def test_memory_stays_bounded_while_a_large_file_is_written(mounted, tmp_path, mode):
    (tmp_path / "piece").write_bytes(pattern(4 * MIB))
    with mounted("--writes", mode) as mount:
        idle = memory(mount.pid, "VmRSS")
        python(WRITE, mount / "f", tmp_path / "piece", "64", timeout=120)
        assert tetherfs("flush", mount.path).returncode == 0
        stays_bounded(mount, idle)
    assert mounted.content.read("f") == pattern(4 * MIB) * 64


def test_memory_stays_bounded_while_a_large_file_is_written_in_many_places(mounted):
    count = 16_384
    with open(mounted.content.folder / "f", "wb") as file:
        file.truncate(count * 8192)
    with mounted("--disk-cache", 0) as mount:
        idle = memory(mount.pid, "VmRSS")
        python(SCATTER, mount / "f", str(count), timeout=120)
        stays_bounded(mount, idle)
    assert mounted.content.read("f") == (b"w" * 4096 + bytes(4096)) * count


def test_memory_stays_bounded_while_many_writes_wait_for_the_server(deployed, request):
    count = 150
    filesystem = deployed.create_filesystem(request.node.name)
    content = deployed.content(filesystem)
    for number in range(count):
        content.write(str(number), b"old")
    with Mount(deployed, filesystem, "--metadata-ttl", 0) as mount:
        idle = memory(mount.pid, "VmRSS")
        writer = subprocess.Popen(
            [sys.executable, "-c", TOGETHER, mount.path, str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert writer.stdout.readline() == b"open\n"
            # Each write asks for the size of what it is written over.
            deployed.faults.add("size", faultplan.stall(), times=None)
            writer.stdin.write(b"\n")
            writer.stdin.flush()
            poll(lambda: requests(mount) >= count, timeout=30, what="all writes waiting")
            deployed.faults.clear()
            assert writer.wait(60) == 0
        finally:
            writer.kill()
        stays_bounded(mount, idle, 128 * MIB)
    assert content.tree() == {str(number): b"w" * MIB for number in range(count)}


def test_memory_stays_bounded_by_8_kib_a_file_while_files_wait(mounted):
    count = 2000
    with mounted("--writes", "write-back", "--temporary-names", "*", "--temporary-delay", 600) as mount:
        idle = memory(mount.pid, "VmRSS")
        python(MAKE, mount.path, str(count), timeout=120)
        stays_bounded(mount, idle, count * 8 << 10)
        python(REMOVE, mount.path, timeout=120)
    assert mounted.content.tree() == {}
