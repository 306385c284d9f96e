"""Answers that never came, and the deployed service's other ways: all is done once, and nothing is left over."""

import errno
import os
import random
import string
import threading

import pytest

import faultplan
from deployedserver import DeployedServer
from mountkit import Mount, check, counting, fails, read, without_uploads, write
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
        # Sizes that are equal tell nothing, and the id's being unknown may mean either: it is uploaded once more.
        assert rule.hits == 1 and seen.calls["put"] == (2 if size == len(OLD) else 1)
        assert content.tree() == {"f": new} and read(mount / "f") == new


@pytest.mark.parametrize("writes", ["sync", "write-back"])
@pytest.mark.parametrize("call", ["put", "complete"])
def test_an_upload_that_the_server_forgets_as_it_goes_down_is_sent_anew(server, content, filesystem, call, writes):
    def goes_down(exchange):
        """Nothing is done, and all uploads are forgotten."""
        server.uploads.clear()
        exchange.reset()

    new = pattern(len(OLD), start=50)
    with Mount(server, filesystem, "--retries", 2, "--writes", writes) as mount:
        os.stat(mount / "f")
        rule = server.faults.add(call, goes_down)
        write(mount / "f", new)
        if writes == "write-back":
            # Without another close, fsync or unmount.
            poll(lambda: content.read("f") == new, 20, "the new version on the server")
        assert rule.hits == 1 and content.read("f") == new


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
