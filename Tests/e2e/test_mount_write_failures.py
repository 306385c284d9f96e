"""A service that fails while files are written and names are changed: nothing is lost, and all is told."""

import errno
import os
import signal

import pytest

import faultplan
from mountkit import UPLOAD, Mount, await_end, check, counting, fails, read, run, without_uploads, write
from servercalls import pattern
from serverkit import poll

OLD, NEW = pattern(100_000), pattern(120_000, start=9)


@pytest.fixture
def server(deployed):
    return deployed


@pytest.fixture
def content(server, filesystem):
    content = server.content(filesystem)
    content.write("f", OLD)
    return content


# Uploads that fail.

FAILED = {
    "500": (faultplan.status(500), errno.EIO), "503": (faultplan.status(503), errno.EIO),
    "400": (faultplan.status(400), errno.EIO), "402": (faultplan.status(402), errno.EIO),
    "404": (faultplan.status(404), errno.EIO), "401": (faultplan.status(401), errno.EACCES),
    "403": (faultplan.status(403), errno.EACCES), "413": (faultplan.status(413), errno.ENOSPC),
    "507": (faultplan.status(507), errno.ENOSPC), "reset": (faultplan.reset(), errno.EIO),
    "HTML": (faultplan.html(), errno.EIO), "silence": (faultplan.stall(), errno.ETIMEDOUT),
}


@pytest.mark.parametrize("call", ["begin", "put", "complete"])
@pytest.mark.parametrize("fault", FAILED)
def test_a_failed_upload_is_closes_error_and_the_next_one_succeeds(server, content, impatient, call, fault):
    answer, number = FAILED[fault]
    server.faults.add(call, answer, times=None)
    fails(number, write, impatient / "f", NEW)
    assert content.read("f") == OLD
    # The bytes are kept: they are what a reader on this machine sees, and what goes up as soon as it can.
    assert read(impatient / "f") == NEW and os.stat(impatient / "f").st_size == len(NEW)
    server.faults.clear()
    os.close(os.open(impatient / "f", os.O_WRONLY))
    assert content.read("f") == NEW


def test_a_directory_moves_although_a_failed_upload_of_ours_is_left_in_it(server, content, impatient):
    content.mkdir("d")
    server.faults.add("put", faultplan.status(500))
    fails(errno.EIO, write, impatient / "d/f", NEW)
    write(impatient / "d/f", NEW)
    assert len(content.names("d")) == 2
    os.rename(impatient / "d", impatient / "e")
    assert content.names() == ["e", "f"] and content.read("e/f") == NEW


@pytest.mark.parametrize("value", [b"{}", b"[]", b'{"uploadId": 7}', b'{"uploadId": ""}', b'{"uploadId": "a]b"}', b""])
def test_an_upload_id_that_is_none_is_closes_error(server, content, impatient, value):
    server.faults.add("begin", faultplan.body(value), times=None)
    fails(errno.EIO, write, impatient / "f", NEW)
    assert without_uploads(content) == {"f": OLD}
    server.faults.clear()
    os.close(os.open(impatient / "f", os.O_WRONLY))
    assert content.read("f") == NEW


def test_a_failed_upload_is_fsyncs_error(server, content, impatient):
    descriptor = os.open(impatient / "f", os.O_RDWR)
    os.pwrite(descriptor, b"changed", 0)
    server.faults.add("put", faultplan.status(503), times=None)
    for _ in range(2):
        fails(errno.EIO, os.fsync, descriptor)
    assert content.read("f") == OLD
    server.faults.clear()
    os.fsync(descriptor)
    assert content.read("f") == b"changed" + OLD[7:]
    os.close(descriptor)


def test_a_failed_upload_is_truncates_error(server, content, impatient):
    assert read(impatient / "f") == OLD
    server.faults.add("begin", faultplan.status(503), times=None)
    fails(errno.EIO, os.truncate, impatient / "f", 10)
    assert content.read("f") == OLD
    # Here it is cut, which the kernel hears some moments after the program was told: who appends does so at the end.
    descriptor = os.open(impatient / "f", os.O_WRONLY | os.O_APPEND)
    poll(lambda: os.lseek(descriptor, 0, os.SEEK_END) == 10, timeout=5, what="the new size")
    os.write(descriptor, b"more")
    server.faults.clear()
    os.close(descriptor)
    assert content.read("f") == OLD[:10] + b"more"
    os.truncate(impatient / "f", 10)
    assert content.read("f") == OLD[:10]


def test_cp_says_that_the_upload_failed(server, content, impatient, tmp_path):
    (tmp_path / "f").write_bytes(NEW)
    server.faults.add("complete", faultplan.status(503), times=None)
    result = run(["cp", tmp_path / "f", impatient / "f"])
    assert result.returncode == 1 and "Input/output error" in result.stderr
    assert content.read("f") == OLD
    server.faults.clear()
    check(["cp", tmp_path / "f", impatient / "f"])
    assert content.read("f") == NEW


def test_a_failed_upload_of_a_new_file_keeps_its_name_and_bytes(server, content, impatient):
    server.faults.add("put", faultplan.status(503), times=None)
    fails(errno.EIO, write, impatient / "new", NEW)
    assert sorted(os.listdir(impatient.path)) == ["f", "new"] and read(impatient / "new") == NEW
    assert without_uploads(content) == {"f": OLD}
    server.faults.clear()
    os.close(os.open(impatient / "new", os.O_WRONLY))
    assert without_uploads(content) == {"f": OLD, "new": NEW}


def test_bytes_whose_upload_failed_move_with_their_file(server, content, impatient):
    server.faults.add("put", faultplan.status(503), times=None)
    fails(errno.EIO, write, impatient / "new", NEW)
    server.faults.clear()
    os.rename(impatient / "new", impatient / "moved")
    assert without_uploads(content) == {"f": OLD, "moved": NEW} and read(impatient / "moved") == NEW


def test_a_file_whose_upload_failed_can_be_removed(server, content, impatient):
    server.faults.add("put", faultplan.status(503), times=None)
    fails(errno.EIO, write, impatient / "new", NEW)
    server.faults.clear()
    with counting(server) as seen:
        os.unlink(impatient / "new")
    assert "put" not in seen.calls
    assert without_uploads(content) == {"f": OLD} and os.listdir(impatient.path) == ["f"]


def test_a_move_that_fails_leaves_the_file_where_it_was(server, content, impatient):
    for call in ("begin", "put", "complete"):
        server.faults.add(call, faultplan.status(503), times=None)
        fails(errno.EIO, os.rename, impatient / "f", impatient / "g")
        server.faults.clear()
        assert without_uploads(content) == {"f": OLD}
        assert read(impatient / "f") == OLD
        fails(errno.ENOENT, os.stat, impatient / "g")


def test_a_move_whose_delete_fails_leaves_both_names(server, content, impatient):
    server.faults.add("delete", faultplan.status(503), times=None)
    fails(errno.EIO, os.rename, impatient / "f", impatient / "g")
    server.faults.clear()
    assert without_uploads(content) == {"f": OLD, "g": OLD}
    assert sorted(name for name in os.listdir(impatient.path) if not UPLOAD.fullmatch(name)) == ["f", "g"]


@pytest.mark.parametrize("call", ["mkdir", "begin", "put", "complete", "delete"])
def test_a_directory_whose_move_fails_loses_nothing(server, content, impatient, call):
    for name in ("d/a", "d/sub/b", "d/sub/c"):
        content.write(name, name.encode())
    server.faults.add(call, faultplan.status(503), times=None)
    fails(errno.EIO, os.rename, impatient / "d", impatient / "e")
    server.faults.clear()
    tree = without_uploads(content)
    for name in ("a", "sub/b", "sub/c"):
        assert b"d/" + name.encode() in (tree.get("d/" + name), tree.get("e/" + name))
    if call != "delete":
        # Staging names of ours may keep a directory there; files have to be gone.
        assert [path for path, data in tree.items() if path.startswith("e") and data is not None] == []
        assert read(impatient / "d/sub/b") == b"d/sub/b"


def test_a_stopped_driver_that_gets_sigterm_uploads_first(server, content, impatient):
    server.faults.add("put", faultplan.status(503), times=None)
    fails(errno.EIO, write, impatient / "f", NEW)
    server.faults.clear()
    pid = impatient.pid
    os.kill(pid, signal.SIGTERM)
    await_end(pid)
    assert content.read("f") == NEW and not impatient.is_mounted
