"""What long reads leave to others: memory for what is read again and again, and a place on the way to the server."""

import concurrent.futures
import contextlib
import json
import mmap
import os

import faultplan
from mountkit import Mount, call_name, counting, tetherfs
from servercalls import pattern
from serverkit import poll

MIB = 1 << 20
CHUNK = 128 << 10


def read_past_the_kernel(path):
    """A whole file's bytes, also those of which the kernel has pages, from the driver."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, MIB) as buffer:
            parts = []
            while count := os.preadv(descriptor, [buffer], sum(map(len, parts))):
                parts.append(buffer[:count])
            return b"".join(parts)
    finally:
        os.close(descriptor)


def queued(mount):
    """How many requests wait for a place among those on the way."""
    result = tetherfs("status", mount.path, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)["server"]["queued"]


def test_what_is_read_again_and_again_outlives_the_scan_of_a_large_file(server, filesystem, content):
    often = pattern(4 * MIB, 1)
    content.write("often", often)
    content.write("large", pattern(100 * MIB, 2))
    for index in range(3):
        content.write(f"other-{index}", pattern(MIB, 3 + index))
    with Mount(server, filesystem, "--memory", "32M", "--disk-cache", 0) as mount:
        for index in range(3):
            assert read_past_the_kernel(mount / "often") == often
            read_past_the_kernel(mount / f"other-{index}")
        assert len(read_past_the_kernel(mount / "large")) == 100 * MIB
        with counting(server) as seen:
            assert read_past_the_kernel(mount / "often") == often
        # What lies beside it may be fetched ahead.
        assert [entry for entry in seen.entries if call_name(entry) == "read" and entry.path.endswith("often")] == []


def test_who_waits_for_bytes_finds_a_place_however_much_is_fetched_ahead(deployed, request):
    filesystem = deployed.create_filesystem(request.node.name)
    content = deployed.content(filesystem)
    data = pattern(16 * MIB)
    for index in range(100):
        content.write(f"d/{index}", data)
    held = faultplan.Held(lambda exchange: int(exchange.headers["Content-Range"].split("-")[0]) >= MIB)

    def read_beginning(files, path):
        file = files.enter_context(open(path, "rb", buffering=0)).fileno()
        # The kernel's own read-ahead would wait for what is held.
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
        return b"".join(os.pread(file, CHUNK, start) for start in range(0, 4 * CHUNK, CHUNK))

    with (
        Mount(deployed, filesystem, "--memory", "1G", "--request-timeout", 300) as mount,
        concurrent.futures.ThreadPoolExecutor(1) as pool,
        contextlib.ExitStack() as files,
    ):
        deployed.faults.add("read", held, times=None)
        try:
            for index in range(100):
                reading = pool.submit(read_beginning, files, mount / f"d/{index}")
                assert reading.result(20) == data[:4 * CHUNK]
            # More was asked for ahead than there are places, and is not answered.
            assert queued(mount) > 0 and held.given_up == 0
        finally:
            deployed.faults.clear()
