"""The server where something runs out: a disk that takes no more, descriptors, memory, and clients' patience."""

import concurrent.futures
import contextlib
import http.client
import os
import pathlib
import socket
import sqlite3
import time
import uuid

import pytest
import requests

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


def test_completions_that_wait_for_the_disk_hold_up_no_reader():
    def waiting():
        """The server's threads that are opening something: openat2(2) has the number 437 everywhere."""
        tasks = pathlib.Path(f"/proc/{server.pid}/task").glob("*/syscall")
        return sum(task.read_text().startswith("437 ") for task in tasks)

    def finish(number, upload):
        return Calls(server, calls.filesystem).finish(f"f{number}", upload).status_code

    with Server() as server, contextlib.ExitStack() as stack:
        calls = Calls(server, server.create_filesystem("a"))
        calls.write("f", b"hello")
        uploads = [calls.started(f"f{number}", 0) for number in range(20)]
        staged = [server.tree(calls.filesystem).parent / "staging" / upload for upload in uploads]
        for path in staged:
            # A disk as slow as can be: whoever opens a FIFO waits for the other end.
            path.unlink()
            os.mkfifo(path)
        pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(20))
        answers = [pool.submit(finish, *pair) for pair in enumerate(uploads)]
        try:
            poll(lambda: waiting() >= 16, what="completions that wait")
            assert calls.content("f") == b"hello" and calls.list().json()["files"] == ["f"]
        finally:
            for path in staged:
                stack.callback(os.close, os.open(path, os.O_RDWR))
            assert {answer.result(60) for answer in answers} == {500}


def test_an_upload_that_cannot_be_read_does_not_keep_the_server_from_starting():
    with Server() as server:
        calls = Calls(server, server.create_filesystem("a"))
        bad, good = calls.started("f", 1), calls.started("g", 1)
        calls.put("g", good, 0, 1, b"x")
        server.stop()
        staging = server.tree(calls.filesystem).parent / "staging"
        journal = staging / f"{bad}.journal"
        text = journal.read_bytes()
        journal.unlink()
        # What no file is opened from.
        journal.mkdir()
        server.start()
        assert bad in server.stderr()
        assert calls.finish("f", bad).status_code == 404 and calls.finish("g", good).status_code == 200
        server.stop()
        journal.rmdir()
        journal.write_bytes(text)
        server.start()
        assert calls.put("f", bad, 0, 1, b"x").status_code == 200 and calls.finish("f", bad).status_code == 200


def test_what_was_given_up_of_a_file_does_not_stay_when_it_is_written_anew():
    with Server() as server:
        calls = Calls(server, server.create_filesystem("a"))
        old, other, recent = calls.started("f", 10), calls.started("g", 10), calls.started("f", 10)
        staging = server.tree(calls.filesystem).parent / "staging"
        server.stop()
        for upload in old, other:
            ago = time.time() - 1200
            os.utime(staging / f"{upload}.journal", (ago, ago))
        server.start()
        assert calls.put("f", recent, 0, 5, b"01234").status_code == 200
        calls.write("f", b"new")
        assert {path.stem for path in staging.iterdir()} == {other, recent}
        assert calls.put("f", old, 0, 5, b"01234").status_code == 404
        assert calls.put("f", recent, 5, 10, b"56789").status_code == 200
        assert calls.finish("f", recent).status_code == 200 and calls.content("f") == b"0123456789"


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


def asked(server, calls, target, *headers):
    """A connection with a small buffer that has asked for something and read none of it."""
    connection = socket.socket()
    connection.settimeout(30)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", server.port))
    head = [f"GET /v1/filesystems/{calls.filesystem}/{target} HTTP/1.1", "Host: x", f"Authorization: {server.api_key}"]
    connection.sendall("\r\n".join([*head, *headers, "", ""]).encode())
    return connection


def names(server, calls, count):
    """Makes so many files with long names, past the API."""
    for number in range(count):
        os.close(os.open(server.tree(calls.filesystem) / f"{number:0250}", os.O_CREAT | os.O_WRONLY))


def test_a_client_that_takes_nothing_of_a_file_is_let_go_of():
    def open_files():
        links = [f"/proc/{server.pid}/fd/{number}" for number in os.listdir(f"/proc/{server.pid}/fd")]
        return [link for link in links if os.path.exists(link) and os.readlink(link).endswith("/tree/f")]

    with Server(["--idle-timeout", 1]) as server:
        calls = Calls(server, server.create_filesystem("a"))
        calls.write("f", bytes(32 << 20))
        with asked(server, calls, "files/f", f"Content-Range: 0-{32 << 20}"):
            poll(open_files, what="file being sent")
            poll(lambda: not open_files(), 30, "end of the sending")


def read_slowly(connection):
    """Reads an answer at a pace that takes it some times as long as a silent client is borne.

    Returns it, its body, and how many seconds passed between two reads at most.
    """
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    body, pauses = bytearray(), []
    start = last = time.monotonic()
    with contextlib.suppress(http.client.IncompleteRead, ConnectionError):
        while piece := answer.read(512 << 10):
            body += piece
            time.sleep(max(0, start + len(body) / (2 << 20) - time.monotonic()))
            pauses.append(time.monotonic() - last)
            last = time.monotonic()
    connection.close()
    return answer, body, max(pauses, default=0)


def test_a_client_that_reads_slowly_gets_a_long_listing_whole():
    with Server(["--idle-timeout", 1]) as server:
        calls = Calls(server, server.create_filesystem("a"))
        names(server, calls, 40_000)
        # Once more where this program stood still for nearly as long as a silent client is borne.
        for _ in range(5):
            answer, body, pause = read_slowly(asked(server, calls, "list/"))
            if pause < 0.9:
                break
        assert len(body) == int(answer.headers["Content-Length"]) and body.endswith(b"]}")


def test_listings_that_one_user_does_not_read_keep_nobody_else_from_listing():
    with Server() as server, contextlib.ExitStack() as stack:
        calls = Calls(server, server.create_filesystem("a"))
        key = server.add_user("other")["api_key"]
        other = Calls(server, server.create_filesystem("b", key), key)
        names(server, calls, 40_000)
        names(server, other, 20_000)
        # 10 MB each.
        for _ in range(30):
            stack.enter_context(asked(server, calls, "list/")).recv(1)
        assert calls.list().status_code == 503
        assert other.list().status_code == 200


def test_uploads_of_one_owner_keep_nobody_else_from_writing():
    with Server() as server:
        calls = Calls(server, server.create_filesystem("a"))
        again = Calls(server, server.create_filesystem("b"))
        key = server.add_user("other")["api_key"]
        other = Calls(server, server.create_filesystem("c", key), key)
        staging = server.tree(calls.filesystem).parent / "staging"
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        server.stop()
        for number in range(10_000):
            (staging / f"U{number}").touch()
            (staging / f"U{number}.journal").write_text(f"tetherfs-upload 1 {boot} 0 /f\n")
        server.start()
        for answer in calls.begin("g", 1), again.begin("g", 1):
            assert answer.status_code == 503 and "uploads" in answer.text
        other.write("g", b"x")
        assert calls.finish("f", "U0").status_code == 200
        again.write("g", b"x")


def test_a_user_may_own_a_thousand_filesystems():
    with Server() as server:
        key = server.add_user("other")["api_key"]
        with sqlite3.connect(os.path.join(server.data_dir, "catalogue.sqlite")) as database:
            rows = [(str(uuid.uuid4()), server.user_id, f"filesystem {number}") for number in range(999)]
            database.executemany("INSERT INTO filesystems (id, owner, name) VALUES (?, ?, ?)", rows)
        last = Calls(server, server.create_filesystem("last"))

        def create(api_key):
            return requests.post(
                server.url + "/filesystems", json={"filesystem_name": "more"}, headers={"Authorization": api_key}
            ).status_code

        assert (create(server.api_key), create(key)) == (403, 200)
        assert last.call("DELETE", "").status_code == 200 and create(server.api_key) == 200
