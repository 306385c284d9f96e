"""A service that fails while it is read: the right errno, never a wrong byte, never 'not found', never for ever."""

import concurrent.futures
import errno
import json
import os

import pytest

import faultplan
from deployedserver import DeployedServer
from mountkit import Mount, check, counting, fails, read, run, write
from servercalls import pattern
from serverkit import poll

FILE = pattern(300_000)


@pytest.fixture
def server(deployed):
    return deployed


@pytest.fixture
def content(server, filesystem):
    content = server.content(filesystem)
    content.write("d/f", FILE)
    return content


BROKEN = {
    **{str(code): (faultplan.status(code), errno.EIO) for code in (400, 404, 429, 500, 502, 503, 504, 599)},
    "401": (faultplan.status(401), errno.EACCES),
    "403": (faultplan.status(403), errno.EACCES),
    "redirect": (faultplan.status(302, Location="/elsewhere"), errno.EIO),
    "reset": (faultplan.reset(), errno.EIO),
    "silence": (faultplan.stall(), errno.ETIMEDOUT),
    "HTML": (faultplan.html(), errno.EIO),
    "no JSON": (faultplan.body(b"{\"files\": [\"f\", "), errno.EIO),
    "nothing": (faultplan.body(b""), errno.EIO),
    "null": (faultplan.body(b"null"), errno.EIO),
}
BAD_LISTINGS = [[], "x", {}, {"files": []}, {"files": "f", "directories": []}, {"files": [1], "directories": []},
                {"files": [None], "directories": []}, {"files": {"f": 1}, "directories": []}]
BAD_SIZES = ["12", -1, 1.5, 1e300, 10**30, None, [1], True]

BROKEN_LISTINGS = BROKEN | {
    json.dumps(value): (faultplan.body(json.dumps(value).encode()), errno.EIO) for value in BAD_LISTINGS
}
BROKEN_LISTINGS["cut off"] = (faultplan.cut(10), errno.EIO)
BROKEN_SIZES = BROKEN | {
    f"size {json.dumps(value)}": (faultplan.body(json.dumps({"size": value}).encode()), errno.EIO)
    for value in BAD_SIZES
}


@pytest.mark.parametrize("fault", BROKEN_LISTINGS)
def test_a_broken_listing_proves_nothing(server, content, impatient, fault):
    answer, number = BROKEN_LISTINGS[fault]
    if fault == "404":
        # The server says that the directory is gone, its parent's listing says that it is not.
        number = errno.ENOENT
    os.listdir(impatient.path)
    server.faults.add("list", answer, path="d", times=None)
    expected = {number, errno.EIO} if fault == "404" else {number}
    for call in (
        lambda: os.stat(impatient / "d/f"), lambda: os.listdir(impatient / "d"), lambda: os.rmdir(impatient / "d"),
        lambda: write(impatient / "d/f", b"lost?", os.O_WRONLY | os.O_CREAT),
        lambda: os.open(impatient / "d/new", os.O_WRONLY | os.O_CREAT | os.O_EXCL),
    ):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno in expected, caught.value
    server.faults.clear()
    assert content.tree() == {"d": None, "d/f": FILE}
    assert os.listdir(impatient / "d") == ["f"] and read(impatient / "d/f") == FILE


@pytest.mark.parametrize("fault", BROKEN_SIZES)
def test_a_broken_size_is_no_size(server, content, impatient, fault):
    answer, number = BROKEN_SIZES[fault]
    assert os.listdir(impatient / "d") == ["f"]
    server.faults.add("size", answer, times=None)
    fails(number, os.stat, impatient / "d/f")
    fails(number, read, impatient / "d/f")
    fails(number, write, impatient / "d/f", b"appended", os.O_WRONLY | os.O_APPEND)
    server.faults.clear()
    assert content.tree() == {"d": None, "d/f": FILE}
    assert os.stat(impatient / "d/f").st_size == len(FILE)


def test_an_append_while_the_server_fails_never_starts_from_an_empty_file(server, content, impatient):
    server.faults.add("any", faultplan.status(503), times=None)
    assert run(["sh", "-c", f"echo more >> {impatient / 'd/f'}"]).returncode != 0
    server.faults.clear()
    assert content.tree() == {"d": None, "d/f": FILE}
    check(["sh", "-c", f"echo more >> {impatient / 'd/f'}"])
    assert content.read("d/f") == FILE + b"more\n"


BROKEN_READS = {
    "500": faultplan.status(500), "503": faultplan.status(503), "reset": faultplan.reset(),
    "cut off": faultplan.cut(100_000), "cut off by a reset": faultplan.cut(100_000, is_reset=True),
    "cut off at once": faultplan.cut(0), "shortened": faultplan.shortened(100_000), "empty": faultplan.shortened(0),
    "too long": faultplan.lengthened(), "much too long": faultplan.lengthened(pattern(1_000_000)),
    "HTML": faultplan.html(), "stalled midway": faultplan.stall(after=100_000),
}


@pytest.mark.parametrize("fault", BROKEN_READS)
def test_a_read_that_breaks_once_gives_all_the_right_bytes(server, filesystem, content, fault):
    with Mount(server, filesystem, "--retries", 2, "--request-timeout", 1) as mount:
        rule = server.faults.add("read", BROKEN_READS[fault])
        assert read(mount / "d/f") == FILE
        assert rule.hits == 1


@pytest.mark.parametrize("fault", BROKEN_READS)
def test_a_read_that_always_breaks_gives_no_wrong_byte_and_no_early_end(server, content, impatient, fault):
    server.faults.add("read", BROKEN_READS[fault], times=None)
    descriptor = os.open(impatient / "d/f", os.O_RDONLY)
    got = bytearray()
    try:
        while piece := os.pread(descriptor, 65536, len(got)):
            got += piece
        # Where each answer has some right bytes, all of them may be had.
        assert got == FILE
    except OSError as error:
        assert error.errno in (errno.EIO, errno.ETIMEDOUT)
        assert got == FILE[:len(got)]
    server.faults.clear()
    assert os.pread(descriptor, 400_000, 0) == FILE
    os.close(descriptor)


@pytest.mark.parametrize("fault", ["500", "reset", "cut off at once", "empty", "too long", "HTML"])
def test_a_read_that_cannot_be_done_is_an_io_error(server, content, impatient, fault):
    server.faults.add("read", BROKEN_READS[fault], times=None)
    fails(errno.EIO, read, impatient / "d/f")


@pytest.mark.parametrize("fault", ["silence"])
def test_a_read_without_an_answer_times_out(server, content, impatient, fault):
    server.faults.add("read", BROKEN[fault][0], times=None)
    fails(errno.ETIMEDOUT, read, impatient / "d/f")


def test_a_dead_server_is_an_error_and_back_again_it_works(our_server, request):
    filesystem = our_server.create_filesystem(request.node.name)
    our_server.content(filesystem).write("f", FILE)
    our_server.content(filesystem).write("g", FILE)
    with Mount(our_server, filesystem, "--retries", 0, "--metadata-ttl", 600) as mount:
        assert read(mount / "f") == FILE
        os.listdir(mount.path)
        our_server.kill()
        try:
            assert read(mount / "f") == FILE
            fails(errno.EIO, read, mount / "g")
            fails(errno.EIO, os.mkdir, mount / "d")
        finally:
            our_server.start()
        assert read(mount / "g") == FILE


# Retry-After.

@pytest.mark.parametrize("code", [429, 503])
def test_no_request_comes_before_the_time_that_retry_after_names(server, filesystem, content, code):
    for index in range(10):
        content.write(f"d/{index}", b"x")
    closed = faultplan.Closed(code, 1)
    with Mount(server, filesystem) as mount:
        os.listdir(mount / "d")
        server.faults.add("any", closed, times=None)
        with concurrent.futures.ThreadPoolExecutor(11) as pool:
            first = pool.submit(os.stat, mount / "d/f")
            poll(lambda: f"answered {code}" in mount.log, what="refusal that the driver has heard of")
            # The whole mount waits: nothing that is asked for now is refused.
            others = list(pool.map(lambda index: os.stat(mount / f"d/{index}").st_size, range(10)))
            assert others == [1] * 10 and first.result().st_size == len(FILE)
    assert closed.refused == 1


# Hostile names.

HOSTILE = ["../escape", "a/b", "/abs", "..", ".", "", "nul\0byte", "x" * 256, "é" * 200, "\ud800"]


@pytest.mark.parametrize("kind", ["files", "directories"])
def test_names_that_no_directory_can_hold_are_left_out_and_logged_once(server, filesystem, content, kind):
    server.extra_names[filesystem, "d"] = {kind: HOSTILE}
    with Mount(server, filesystem, "--metadata-ttl", 0) as mount:
        for _ in range(3):
            assert os.listdir(mount / "d") == ["f"]
        assert check(["ls", "-l", mount / "d"]).count("\n") == 2
        assert read(mount / "d/f") == FILE
        assert mount.log.count(f"count={len(HOSTILE)}") == 1


def test_a_directory_with_names_that_cannot_be_shown_is_not_removed(server, filesystem, content):
    for directory in ("e", "g/below"):
        content.mkdir(directory)
        server.extra_names[filesystem, directory] = {"files": ["a/b"]}
    with Mount(server, filesystem) as mount:
        assert os.listdir(mount / "e") == []
        with counting(server) as seen:
            fails(errno.ENOTEMPTY, os.rmdir, mount / "e")
            fails(errno.ENOTEMPTY, os.rename, mount / "d", mount / "e")
        assert "delete" not in seen.calls
        # A move would delete what it cannot copy.
        for source in ("e", "g"):
            fails(errno.EOPNOTSUPP, os.rename, mount / source, mount / "h")
    assert content.tree() == {"d": None, "d/f": FILE, "e": None, "g": None, "g/below": None}


def test_a_name_listed_twice_is_shown_once(server, filesystem, content):
    server.extra_names[filesystem, "d"] = {"files": ["f", "f"], "directories": ["f"]}
    with Mount(server, filesystem) as mount:
        assert os.listdir(mount / "d") == ["f"]


def test_an_empty_listing_of_what_is_gone_is_not_an_empty_directory(server, filesystem, content):
    with Mount(server, filesystem, "--metadata-ttl", 0.2) as mount:
        os.stat(mount / "d")
        content.remove("d")
        poll(lambda: not os.path.exists(mount / "d"), what="end of the directory")
        fails(errno.ENOENT, os.listdir, mount / "d")


def test_a_file_where_a_directory_was_is_not_an_empty_directory(server, filesystem, content):
    with Mount(server, filesystem, "--metadata-ttl", 0) as mount:
        assert os.listdir(mount / "d") == ["f"]
        content.remove("d")
        content.write("d", b"a file now")
        assert read(mount / "d") == b"a file now"
        fails(errno.ENOTDIR, os.listdir, mount / "d")


def test_the_key_is_in_no_log_and_no_command_line(server, filesystem, content):
    with Mount(server, filesystem, "--log-level", "trace", "--retries", 0) as mount:
        read(mount / "d/f")
        server.faults.add("any", faultplan.status(500, f"your key {server.api_key} is odd"))
        fails(errno.EIO, os.mkdir, mount / "new")
        assert "500" in mount.log
        with open(f"/proc/{mount.pid}/cmdline") as line:
            assert server.api_key not in mount.log + line.read()


def test_a_key_that_was_changed_is_read_again(request):
    with DeployedServer() as server:
        filesystem = server.create_filesystem(request.node.name)
        server.content(filesystem).write("f", FILE)
        with Mount(server, filesystem, "--metadata-ttl", 0) as mount:
            os.listdir(mount.path)
            server.api_key = "another-key-that-the-server-takes-from-now-on"
            fails(errno.EACCES, os.listdir, mount.path)
            mount.key_file.write_text(server.api_key)
            assert os.listdir(mount.path) == ["f"] and read(mount / "f") == FILE
