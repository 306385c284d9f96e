"""Uploads of a server that is killed, begun anew or left alone, and how little memory they take."""

import concurrent.futures
import os
import socket
import time
import uuid

import pytest
import requests

from mountkit import check
from servercalls import Calls, header, pattern, staging
from serverkit import Server, poll


@pytest.fixture(scope="module")
def server():
    with Server() as server:
        yield server


@pytest.fixture
def calls(server):
    return Calls(server, server.create_filesystem(str(uuid.uuid4())))


def test_an_upload_outlives_a_killed_server(server, calls):
    data = pattern(3_000_000)
    calls.write("done", b"done")
    calls.write("f", b"old")
    upload = calls.started("f", len(data))
    assert calls.put("f", upload, 0, 1_000_000, data[:1_000_000]).status_code == 200
    assert calls.put("f", upload, 2_000_000, 3_000_000, data[2_000_000:]).status_code == 200
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.sendall(header(server, calls, upload, 1_000_000, 2_000_000, "Content-Length: 1000000") + b"x" * 900_000)
    server.kill()
    connection.close()
    server.start()
    assert calls.content("f") == b"old"
    assert calls.content("done") == b"done"
    assert calls.list().json()["files"] == ["done", "f"]
    assert calls.finish("f", upload).text == "bytes 1000000-2000000 have not arrived\n"
    assert calls.put("f", upload, 1_000_000, 2_000_000, data[1_000_000:2_000_000]).status_code == 200
    assert calls.finish("f", upload).status_code == 200
    assert calls.content("f") == data


def test_after_the_machine_went_down_no_byte_counts(server, calls):
    """Then neither the bytes nor the journal are to be trusted: its boot id is another."""
    upload = calls.started("f", 10)
    assert calls.put("f", upload, 0, 10, b"0123456789").status_code == 200
    server.stop()
    journal = server.tree(calls.filesystem).parent / "staging" / (upload + ".journal")
    words = journal.read_text().split(" ")
    words[2] = str(uuid.uuid4())
    journal.write_text(" ".join(words))
    server.start()
    assert calls.finish("f", upload).text == "bytes 0-10 have not arrived\n"
    assert calls.put("f", upload, 0, 10, b"0123456789").status_code == 200
    server.restart()
    assert calls.finish("f", upload).status_code == 200


def test_bytes_that_the_disk_has_lost_since_do_not_count(server, calls):
    """As one that failed, and was mounted again, may have done in the same start of the machine."""
    data = pattern(1_000_000)
    uploads = [calls.started(name, len(data)) for name in "fg"]
    for name, upload in zip("fg", uploads):
        assert calls.put(name, upload, 0, len(data), data).status_code == 200
    server.stop()
    folder = server.tree(calls.filesystem).parent / "staging"
    os.truncate(folder / uploads[0], 0)
    check(["fallocate", "--punch-hole", "--offset", "65536", "--length", "131072", folder / uploads[1]])
    server.start()
    # Nor do they if somebody sends some of them and breaks off.
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.sendall(header(server, calls, uploads[0], 0, 1_000_000, "Content-Length: 1000000") + b"x" * 900_000)
    poll(lambda: os.path.getsize(folder / uploads[0]) > 500_000, what="the bytes")
    server.kill()
    connection.close()
    server.start()
    assert calls.finish("f", uploads[0]).text == "bytes 0-1000000 have not arrived\n"
    assert calls.finish("g", uploads[1]).text == "bytes 65536-196608 have not arrived\n"
    assert calls.put("f", uploads[0], 0, len(data), data).status_code == 200
    assert calls.put("g", uploads[1], 65536, 196608, data[65536:196608]).status_code == 200
    server.restart()
    for name, upload in zip("fg", uploads):
        assert calls.finish(name, upload).status_code == 200
        assert calls.content(name) == data


@pytest.mark.parametrize("journal", [b"", b"tetherfs-upload 1", b"garbage\n", b"\xff\xff\n", b"tetherfs-upload 2 x 1 /f\n"])
def test_a_damaged_journal_ends_its_upload_and_nothing_else(server, calls, journal):
    upload, good = calls.started("f", 1), calls.started("g", 1)
    calls.put("g", good, 0, 1, b"x")
    server.stop()
    folder = server.tree(calls.filesystem).parent / "staging"
    (folder / (upload + ".journal")).write_bytes(journal)
    (folder / "stray.journal").write_bytes(b"x")
    (folder / "stray").write_bytes(b"x")
    (folder / "alone").write_bytes(b"x")
    server.start()
    assert calls.finish("f", upload).status_code == 404
    assert staging(server, calls) == [good, good + ".journal"]
    assert calls.finish("g", good).status_code == 200


def test_killed_at_any_moment_every_file_is_whole_or_absent(server, calls):
    """A file's bytes all say its version; the server is killed over and over while versions go up."""
    def content(version):
        return bytes([version]) * 300_000

    sure, tried = 0, 0
    for round_ in range(6):
        deadline = time.monotonic() + 0.05 + 0.07 * round_
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            killer = pool.submit(lambda: (time.sleep(max(0, deadline - time.monotonic())), server.kill()))
            try:
                while True:
                    tried += 1
                    calls.write("f", content(tried % 250))
                    sure = tried
            except (requests.RequestException, AssertionError):
                pass
            killer.result()
        server.start()
        if sure or tried and "f" in calls.list().json()["files"]:
            assert calls.content("f") in (content(sure % 250), content(tried % 250))
    assert sure > 0


def test_abandoned_uploads_are_swept():
    with Server(args=["--abandoned-upload-age", "1"]) as server:
        calls = Calls(server, server.create_filesystem("a"))
        calls.write("kept", b"x")
        upload = calls.started("f", 10)
        assert len(staging(server, calls)) == 2
        poll(lambda: staging(server, calls) == [], what="sweep")
        assert calls.put("f", upload, 0, 10, b"0123456789").status_code == 404
        assert calls.content("kept") == b"x"


def resident(server):
    with open(f"/proc/{server.pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def test_memory_stays_bounded_whatever_the_part():
    size = 512 << 20
    block = pattern(251 * 4096)

    def body():
        sent = 0
        while sent < size:
            piece = block[:size - sent]
            sent += len(piece)
            yield piece

    with Server() as server:
        calls = Calls(server, server.create_filesystem("a"))
        upload = calls.started("f", size)
        before = resident(server)
        assert calls.put("f", upload, 0, size, body()).status_code == 200
        assert calls.finish("f", upload).status_code == 200
        received = 0
        with calls.call("GET", "/files/f", headers={"Content-Range": f"0-{size}"}, stream=True) as answer:
            for piece in answer.iter_content(1 << 20):
                assert received % (1 << 26) or piece[:1000] == pattern(1000, received)
                received += len(piece)
        assert received == size
        assert resident(server) - before < 64 << 20


def test_memory_stays_bounded_whoever_does_not_read():
    with Server() as server:
        calls = Calls(server, server.create_filesystem("a"))
        size = 64 << 20
        calls.write("f", bytes(size))
        before = resident(server)
        connections = []
        for _ in range(20):
            connection = socket.create_connection(("127.0.0.1", server.port))
            connection.sendall(
                f"GET /v1/filesystems/{calls.filesystem}/files/f HTTP/1.1\r\nHost: x\r\n"
                f"Authorization: {server.api_key}\r\nContent-Range: 0-{size}\r\n\r\n".encode()
            )
            connections.append(connection)
        for connection in connections:
            connection.recv(1)
        assert calls.info("f").status_code == 200
        assert resident(server) - before < 64 << 20
        for connection in connections:
            connection.close()
