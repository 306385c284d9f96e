"""The server where something runs out: a disk that takes no more, descriptors, memory, and clients' patience."""

import contextlib
import os
import socket
import uuid

import pytest

from servercalls import Calls
from serverkit import Server, poll


@pytest.fixture(scope="module")
def server():
    with Server() as server:
        yield server


@pytest.fixture
def calls(server):
    return Calls(server, server.create_filesystem(str(uuid.uuid4())))


def test_after_the_disk_failed_to_take_the_bytes_no_completion_succeeds(server, calls):
    upload = calls.started("f", 5)
    assert calls.put("f", upload, 0, 5, b"hello").status_code == 200
    staged = server.tree(calls.filesystem).parent / "staging" / upload
    aside = staged.with_name("aside")
    staged.rename(aside)
    # What cannot be synchronised: fsync(2) fails on a FIFO. Opened at both ends, so that nobody waits for the other one.
    os.mkfifo(staged)
    ends = os.open(staged, os.O_RDWR)
    try:
        assert calls.finish("f", upload).status_code == 500
        staged.unlink(missing_ok=True)
        aside.rename(staged)
        assert calls.finish("f", upload).status_code == 404
    finally:
        os.close(ends)
    assert calls.list().json() == {"directories": [], "files": []}


def test_connections_without_a_key_leave_descriptors_for_those_with_one():
    with Server(prefix=["prlimit", "--nofile=256"]) as server, contextlib.ExitStack() as stack:
        calls = Calls(server, server.create_filesystem("a"))
        calls.list()
        for _ in range(300):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
        # Those that are not taken wait in the kernel. The connection that was there goes on.
        calls.mkdir("d")
        calls.write("d/f", b"hello")
        assert calls.content("d/f") == b"hello"
        stack.close()
        late = Calls(server, calls.filesystem)
        assert poll(lambda: late.list().status_code == 200)
