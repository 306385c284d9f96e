"""How a file's bytes get to the service: of what is here and what is there, while they are written, part by part."""

import contextlib
import errno
import itertools
import os
import pathlib
import signal
import subprocess
import sys

import pytest

import faultplan
from mountkit import Mount, call_name, check, counting, fails, memory, python, read, tetherfs, without_uploads, write
from servercalls import pattern
from serverkit import poll

MIB = 1 << 20
PART = 8 * MIB

# Copies as cp does, up to some offset, waits for a line, and copies the rest.
COPY = """
source, target = os.open(sys.argv[1], os.O_RDONLY), os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
if sys.argv[4] == "preallocated":
    os.posix_fallocate(target, 0, os.fstat(source).st_size)
    # From a pipe, of which no size could be guessed.
    reader = os.popen("cat '%s'" % sys.argv[1])
    source = reader.fileno()
done = 0
def copy(end):
    global done
    while done < end and (piece := os.read(source, 256 << 10)):
        done += os.write(target, piece)
copy(int(sys.argv[3]))
pipe = os.open(sys.argv[5], os.O_RDONLY)
os.read(pipe, 1)
copy(1 << 60)
os.close(target)
"""

# Appends a line to so many files, all of which it closes at once.
APPEND = """
import threading
count = int(sys.argv[2])
files = [os.open("%s/log.%d" % (sys.argv[1], index), os.O_WRONLY | os.O_APPEND) for index in range(count)]
for file in files:
    os.write(file, b"end\\n")
threads = [threading.Thread(target=os.close, args=(file,)) for file in files]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""

# A remote shell, for rsync: it runs the command here, and passes on so many bytes before it waits for a line.
RELAY = """
server = subprocess.Popen(" ".join(sys.argv[4:]), shell=True, stdin=subprocess.PIPE, bufsize=0)
def relay(left):
    while piece := os.read(0, 64 << 10):
        if 0 <= left < len(piece):
            os.read(os.open(sys.argv[1], os.O_RDONLY), 1)
        left -= len(piece)
        server.stdin.write(piece)
threading.Thread(target=relay, args=[int(sys.argv[2])], daemon=True).start()
os._exit(server.wait())
"""


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source"
    path.write_bytes(pattern(32 * MIB + 12345))
    return path


# Writes 4 KiB, says so, and closes the file once it is told to.
PATCH = """
import os, sys
file = os.open(sys.argv[1], os.O_WRONLY)
os.pwrite(file, b"w" * 4096, int(sys.argv[2]))
os.write(1, b"w")
os.read(0, 1)
os.close(file)
"""


def copying(mount, source, gate, how="plain"):
    """A program that copies and waits, with more than two parts written, for a byte in a pipe."""
    os.mkfifo(gate)
    return subprocess.Popen(
        [sys.executable, "-c", "import os, sys\n" + COPY, source, mount / "f", str(20 * MIB), how, gate])


def go_on(process, gate):
    """Lets it copy the rest, which must succeed."""
    descriptor = os.open(gate, os.O_WRONLY)
    os.write(descriptor, b"x")
    os.close(descriptor)
    assert process.wait(60) == 0


def test_a_small_write_into_a_large_file_is_uploaded_in_little_memory(our_server, request):
    filesystem = our_server.create_filesystem(request.node.name)
    content = our_server.content(filesystem)
    size, place = 1024 * MIB + 4321, 500 * MIB + 77
    with open(content.folder / "big", "wb") as file:
        file.truncate(size)
    with Mount(our_server, filesystem, limit=300) as mount:
        before = memory(mount.pid, "VmRSS")
        with counting(our_server) as seen:
            start = len(our_server.requests_log())
            process = subprocess.Popen(
                [sys.executable, "-c", PATCH, mount / "big", str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            assert process.stdout.read(1) == b"w"
            # Nothing is fetched for it before the upload.
            assert "read" not in [call_name(entry) for entry in our_server.requests_log(start)]
            process.communicate(b"c", timeout=240)
            assert process.returncode == 0
        assert memory(mount.pid, "VmHWM") - before <= 160 * MIB
        # The block that was written to comes too, for the bytes around; nothing comes twice.
        assert seen.bytes("read") <= size
        # No second copy of it on the disk: what was written is all that is staged.
        staged = list((mount.cache_dir / filesystem / "staging").iterdir())
        assert sum(file.stat().st_blocks * 512 for file in staged) <= 64 << 10
    with open(content.folder / "big", "rb") as file:
        assert os.fstat(file.fileno()).st_size == size
        offset = 0
        while piece := file.read(16 * MIB):
            expected = bytearray(len(piece))
            start, end = max(place, offset), min(place + 4096, offset + len(piece))
            if start < end:
                expected[start - offset:end - offset] = b"w" * (end - start)
            assert piece == expected, offset
            offset += len(piece)
    (content.folder / "big").unlink()


def test_what_was_read_is_not_downloaded_for_the_upload_of_a_small_write(server, content, mount):
    data = bytearray(pattern(30 * MIB))
    content.write("f", data)
    assert read(mount / "f") == data
    with counting(server) as seen:
        descriptor = os.open(mount / "f", os.O_WRONLY)
        os.pwrite(descriptor, b"written", 17 * MIB)
        os.close(descriptor)
    data[17 * MIB:17 * MIB + 7] = b"written"
    assert content.read("f") == data
    assert seen.bytes("read") == 0


@pytest.mark.parametrize("how", ["plain", "preallocated"])
def test_a_file_that_is_copied_goes_up_while_it_is_written(server, content, mount, source, tmp_path, how):
    start = len(server.requests_log())
    with counting(server) as seen:
        process = copying(mount, source, tmp_path / "gate", how)
        try:
            poll(lambda: sum(entry.method == "PUT" for entry in server.requests_log(start)) >= 2, what="two parts")
            assert "f" not in content.names()
            go_on(process, tmp_path / "gate")
        finally:
            process.kill()
    assert content.read("f") == source.read_bytes()
    # As many requests as any upload of it takes: begin and complete, and each part once.
    assert seen.calls["post"] == 2 and seen.calls["put"] == 5


def through_rsync(mount, source, gate, *options):
    """rsync into a mount, which waits, with more than two parts sent, for a byte in a pipe."""
    os.mkfifo(gate)
    shell = f"{sys.executable} {gate}.py {gate} {20 * MIB}"
    pathlib.Path(f"{gate}.py").write_text("import os, subprocess, sys, threading\n" + RELAY)
    return subprocess.Popen(
        ["rsync", "--preallocate", *options, "-e", shell, source, f"any:{mount / 'f'}"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)


# rsync tells an even and an odd size in different ways.
@pytest.mark.parametrize("how, more", [(["--inplace"], 0), (["--inplace"], 1), ([], 0)], ids=["even", "odd", "renamed"])
def test_what_rsync_preallocates_goes_up_while_it_is_written(server, content, mount, source, tmp_path, how, more):
    if more:
        source.write_bytes(source.read_bytes() + b"x")
    start = len(server.requests_log())
    with counting(server) as seen:
        process = through_rsync(mount, source, tmp_path / "gate", *how)
        try:
            poll(lambda: sum(entry.method == "PUT" for entry in server.requests_log(start)) >= 2, what="two parts")
            assert "f" not in content.names()
            go_on(process, tmp_path / "gate")
        finally:
            # With what it runs, which waits in vain if this failed.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.stdout.read() == ""
    assert content.read("f") == source.read_bytes()
    # As many as any upload takes, and once more all of them for the other name.
    uploads = 1 if how else 2
    assert seen.calls["post"] == 2 * uploads and seen.calls["put"] == 5 * uploads


def test_cp_costs_the_requests_of_one_upload(server, content, mount, source):
    with counting(server) as seen:
        check(["cp", source, mount / "f"])
    assert content.read("f") == source.read_bytes()
    assert seen.calls["post"] == 2 and seen.calls["put"] == 5


@pytest.mark.parametrize("mode", ["sync", "write-back"])
def test_a_driver_that_dies_while_a_file_goes_up_leaves_the_old_one(
        server, content, source, filesystem, tmp_path, cache_dir, mode):
    content.write("f", b"old")
    seen_before = len(server.requests_log())
    with Mount(server, filesystem, "--writes", mode, cache_dir=cache_dir) as mount:
        process = copying(mount, source, tmp_path / "gate")
        try:
            poll(lambda: any(entry.method == "PUT" for entry in server.requests_log(seen_before)), what="a part")
            mount.kill()
        finally:
            process.kill()
            process.wait()
        check(["umount", "-fl", mount.path])
    assert without_uploads(content) == {"f": b"old"}
    with Mount(server, filesystem, "--writes", mode, cache_dir=cache_dir) as mount:
        assert os.listdir(mount.path) == ["f"] and read(mount / "f") == b"old"
        # Also where the server lists uploads: that one is deleted.
        poll(lambda: content.tree() == {"f": b"old"}, what="end of the upload that died")
        # What was written and not promised is kept.
        (kept,) = (pathlib.Path(cache_dir) / filesystem / "recovered").iterdir()
        assert source.read_bytes().startswith(data := kept.read_bytes()) and len(data) >= PART


@pytest.mark.parametrize("how", ["flushed", "left alone"])
def test_an_upload_that_is_given_up_does_not_stay_on_the_server(deployed, request, how):
    filesystem = deployed.create_filesystem(request.node.name)
    content = deployed.content(filesystem)
    data = pattern(20 * MIB)
    with Mount(deployed, filesystem) as mount:
        start = len(deployed.requests_log())
        descriptor = os.open(mount / "f", os.O_WRONLY | os.O_CREAT)
        os.ftruncate(descriptor, 32 * MIB)
        os.pwrite(descriptor, data, 0)
        poll(lambda: sum(entry.method == "PUT" for entry in deployed.requests_log(start)) >= 2, what="two parts")
        os.ftruncate(descriptor, 5)
        os.close(descriptor)
        assert content.read("f") == data[:5]
        if how == "flushed":
            assert tetherfs("flush", mount.path).returncode == 0
            assert content.tree() == {"f": data[:5]}
        poll(lambda: content.names() == ["f"], what="end of what is left of the upload")
        assert os.listdir(mount.path) == ["f"]


def test_a_part_that_fails_is_sent_again_alone(deployed, request, source):
    filesystem = deployed.create_filesystem(request.node.name)
    content = deployed.content(filesystem)
    with Mount(deployed, filesystem) as mount, counting(deployed) as seen:
        deployed.faults.add("put", faultplan.reset())
        deployed.faults.add("put", faultplan.status(503))
        write(mount / "f", source.read_bytes())
    assert content.read("f") == source.read_bytes()
    assert seen.calls["post"] == 2 and 5 <= seen.calls["put"] <= 7


def test_a_part_that_stands_still_is_sent_again_on_another_connection(deployed, request, source):
    filesystem = deployed.create_filesystem(request.node.name)
    content = deployed.content(filesystem)
    number = itertools.count(1)
    stalled = faultplan.stall()
    deployed.faults.add("put", lambda it: stalled(it) if next(number) == 2 else it.answer(), times=None)
    # Nothing is repeated, so that a part which nobody asks for again fails the close.
    with Mount(deployed, filesystem, "--retries", 0, "--request-timeout", 30) as mount:
        with counting(deployed) as seen:
            write(mount / "f", source.read_bytes())
        assert content.read("f") == source.read_bytes()
        # The one that stands still is there all the while, and is no answered one.
        poll(lambda: deployed.gauge.now["put"] == 1, what="end of all other parts")
        assert seen.calls["post"] == 2 and seen.calls["put"] == 5
        deployed.faults.clear()


def outage_after(count):
    """Answers so many requests, and none after them."""
    seen = itertools.count()
    return lambda exchange: exchange.answer() if next(seen) < count else exchange.send(500, b"out of order\n")


def test_an_upload_that_an_outage_cut_off_goes_on_at_the_next_close(deployed, request, source):
    filesystem = deployed.create_filesystem(request.node.name)
    content = deployed.content(filesystem)
    with Mount(deployed, filesystem, "--retries", 0) as mount:
        deployed.faults.add("put", outage_after(2), times=None)
        fails(errno.EIO, write, mount / "f", source.read_bytes())
        deployed.faults.clear()
        poll(lambda: deployed.gauge.now["put"] == 0, what="end of the parts that the failure left under way")
        with counting(deployed) as seen:
            os.close(os.open(mount / "f", os.O_WRONLY))
    assert content.read("f") == source.read_bytes()
    # Not begun again: all that is posted is the completion.
    assert seen.calls["post"] == 1 and 3 <= seen.calls["put"] <= 5


def test_many_files_of_which_only_the_end_is_here_are_closed_at_once(server, filesystem, content):
    """Each upload waits for the bytes that the service has: if it keeps its connection meanwhile, none is left for them."""
    count = 150
    for index in range(count):
        content.write(f"log.{index}", pattern(5000, index))
    with Mount(server, filesystem) as mount:
        assert len(os.listdir(mount.path)) == count
        python(APPEND, mount.path, str(count), timeout=120)
    for index in range(count):
        assert content.read(f"log.{index}") == pattern(5000, index) + b"end\n"
