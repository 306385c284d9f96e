"""A service that fails while files are written and names are changed: nothing is lost, nothing done twice, all is told."""

import errno
import os
import random
import signal
import string
import subprocess
import sys
import threading

import pytest

import faultplan
from deployedserver import DeployedServer
from mountkit import UPLOAD, Mount, check, counting, fails, has_ended, read, run, without_uploads, write
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


@pytest.fixture
def impatient(server, filesystem, content):
    """A mount that repeats nothing and waits for no answer longer than a second."""
    with Mount(server, filesystem, "--retries", 0, "--request-timeout", 1) as mount:
        yield mount


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
    server.faults.add("begin", faultplan.status(503), times=None)
    fails(errno.EIO, os.truncate, impatient / "f", 10)
    assert content.read("f") == OLD
    server.faults.clear()
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


# Answers that are lost.

LOST = {"reset": faultplan.lost(), "502": faultplan.acted_status(502), "504": faultplan.acted_status(504)}


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("size", [len(OLD), len(NEW)], ids=["same size as before", "another size"])
def test_a_completion_whose_answer_is_lost_is_found_out(server, content, filesystem, lost, size):
    new = pattern(size, start=50)
    with Mount(server, filesystem, "--retries", 2) as mount:
        os.stat(mount / "f")
        rule = server.faults.add("complete", LOST[lost])
        with counting(server) as seen:
            write(mount / "f", new)
        assert rule.hits == 1 and seen.calls["put"] == 1
        assert content.tree() == {"f": new} and read(mount / "f") == new


@pytest.mark.parametrize("lost", LOST)
def test_a_part_whose_answer_is_lost_is_sent_again(server, content, filesystem, lost):
    with Mount(server, filesystem, "--retries", 2) as mount:
        server.faults.add("put", LOST[lost])
        write(mount / "f", NEW)
        assert content.tree() == {"f": NEW}


@pytest.mark.parametrize("lost", LOST)
def test_changes_of_names_whose_answer_is_lost_succeed_once(server, content, filesystem, lost):
    content.mkdir("empty")
    with Mount(server, filesystem, "--retries", 2) as mount:
        for call, change in {
            "mkdir": lambda: os.mkdir(mount / "d"), "delete": lambda: os.unlink(mount / "f"),
        }.items():
            rule = server.faults.add(call, LOST[lost])
            change()
            assert rule.hits == 1
        server.faults.add("delete", LOST[lost])
        os.rmdir(mount / "empty")
        assert content.tree() == {"d": None} and os.listdir(mount.path) == ["d"]


def test_a_delete_whose_answer_was_lost_does_not_delete_what_came_after_it(server, content, filesystem):
    def replaced(exchange):
        """Deletes, and before the delete can be repeated another client makes a directory of that name."""
        exchange.act()
        content.write("f/precious", b"x")
        exchange.reset()

    with Mount(server, filesystem, "--retries", 2) as mount:
        os.stat(mount / "f")
        server.faults.add("delete", replaced)
        with counting(server) as seen:
            try:
                os.unlink(mount / "f")
            except OSError as error:
                assert error.errno in (errno.EISDIR, errno.EIO)
    assert seen.calls["delete"] == 1
    assert content.tree() == {"f": None, "f/precious": b"x"}


@pytest.mark.parametrize("call", ["list", "size", "mkdir", "begin", "put", "complete", "delete"])
@pytest.mark.parametrize("fault", ["500", "502", "503", "429", "reset"])
def test_a_call_that_fails_once_is_repeated_and_nobody_notices(server, content, filesystem, call, fault):
    with Mount(server, filesystem, "--retries", 2) as mount:
        rule = server.faults.add(call, faultplan.reset() if fault == "reset" else faultplan.status(int(fault)))
        assert os.stat(mount / "f").st_size == len(OLD)
        os.mkdir(mount / "d")
        write(mount / "d/new", NEW)
        os.unlink(mount / "f")
        assert rule.hits == 1
    assert without_uploads(content) == {"d": None, "d/new": NEW}


# Quirks.

@pytest.mark.parametrize("quirks", [{"staging_is_id": False}, {"early": True}, {"early": True, "staging_is_id": False}])
def test_the_other_ways_of_the_deployed_service_work(quirks):
    with DeployedServer(**quirks) as server:
        filesystem = server.create_filesystem("data")
        content = server.content(filesystem)
        with Mount(server, filesystem) as mount:
            os.mkdir(mount / "d")
            write(mount / "d/f", NEW)
            write(mount / "d/f", OLD)
            os.rename(mount / "d/f", mount / "g")
            os.rename(mount / "d", mount / "e")
            assert content.tree() == {"e": None, "g": OLD} and sorted(os.listdir(mount.path)) == ["e", "g"]
            check(["rm", "-r", mount / "e", mount / "g"])
        assert content.tree() == {}


def test_our_own_uploads_under_way_do_not_show(server, content, filesystem):
    with Mount(server, filesystem, "--metadata-ttl", 0) as mount:
        rule = server.faults.add("put", faultplan.stall())
        writer = threading.Thread(target=write, args=(mount / "new", NEW))
        writer.start()
        rule.wait()
        assert len(content.names()) == 2 and sorted(os.listdir(mount.path)) == ["f", "new"]
        server.faults.clear()
        writer.join(60)
        assert sorted(os.listdir(mount.path)) == content.names() == ["f", "new"]


def test_names_that_look_like_uploads_of_others_are_shown(content, impatient):
    name = "f." + "".join(random.choices(string.ascii_letters + string.digits, k=20))
    content.write(name, b"hello")
    assert sorted(os.listdir(impatient.path)) == ["f", name] and read(impatient / name) == b"hello"


def test_an_upload_that_another_client_completed_is_no_longer_there(server, filesystem, content):
    content.write("d/new.ABCDEFGHIJKLMNOPQRST", b"half")
    with Mount(server, filesystem, "--metadata-ttl", 600) as mount:
        os.listdir(mount / "d")
        content.remove("d/new.ABCDEFGHIJKLMNOPQRST")
        content.write("d/new", b"whole")
        fails(errno.ENOENT, os.stat, mount / "d/new.ABCDEFGHIJKLMNOPQRST")
        assert read(mount / "d/new") == b"whole"


def test_an_empty_file_that_the_server_refuses_is_an_error_and_not_lost(server, content, impatient):
    try:
        write(impatient / "empty", b"")
    except OSError as error:
        assert error.errno == errno.EIO
        assert "empty" in os.listdir(impatient.path)
        # So that the mount can be unmounted: with a byte in it it is taken.
        write(impatient / "empty", b"x")
        assert content.read("empty") == b"x"
    else:
        assert content.read("empty") == b""


# Waiting.

def test_a_close_that_ctrl_c_ends_does_not_end_the_upload(server, content, filesystem):
    with Mount(server, filesystem, "--request-timeout", 100) as mount:
        rule = server.faults.add("put", faultplan.stall())
        writer = subprocess.Popen(["dd", "if=/etc/passwd", f"of={mount / 'new'}", "status=none"])
        rule.wait()
        writer.send_signal(signal.SIGINT)
        writer.wait(30)
        assert not content.exists("new")
        server.faults.clear()
        with open("/etc/passwd", "rb") as passwords:
            wanted = passwords.read()
        poll(lambda: without_uploads(content).get("new") == wanted, what="upload")


def test_a_timers_signal_does_not_end_a_close_early(server, content, filesystem):
    code = """
import signal
signal.signal(signal.SIGALRM, lambda *_: None)
descriptor = os.open(sys.argv[1], os.O_WRONLY)
os.pwrite(descriptor, b"changed", 0)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
os.close(descriptor)
signal.setitimer(signal.ITIMER_REAL, 0)
"""

    def has_pending_alarm():
        with open(f"/proc/{closer.pid}/status") as status:
            masks = dict(line.split(":\t") for line in status.read().splitlines())
        return int(masks["ShdPnd"], 16) & 1 << signal.SIGALRM - 1

    with Mount(server, filesystem, "--request-timeout", 100) as mount:
        rule = server.faults.add("put", faultplan.stall())
        closer = subprocess.Popen([sys.executable, "-c", "import os, sys\n" + code, mount / "f"], stderr=subprocess.PIPE)
        rule.wait()
        poll(has_pending_alarm, what="signal that waits for the close")
        server.faults.clear()
        assert (closer.communicate(timeout=30)[1], closer.returncode) == (b"", 0)
        assert content.read("f") == b"changed" + OLD[7:]


def test_a_stopped_driver_that_gets_sigterm_uploads_first(server, content, impatient):
    server.faults.add("put", faultplan.status(503), times=None)
    fails(errno.EIO, write, impatient / "f", NEW)
    server.faults.clear()
    pid = impatient.pid
    os.kill(pid, signal.SIGTERM)
    poll(lambda: has_ended(pid), timeout=30, what="end of the driver")
    assert content.read("f") == NEW and not impatient.is_mounted
