"""Uploads: parts in any order, what is refused, crashes, and bounded memory."""

import concurrent.futures
import os
import random
import socket
import time
import uuid

import pytest
import requests

from servercalls import Calls, pattern
from serverkit import Server, poll


@pytest.fixture(scope="module")
def server():
    with Server() as server:
        yield server


@pytest.fixture
def calls(server):
    return Calls(server, server.create_filesystem(str(uuid.uuid4())))


def staging(server, calls):
    return sorted(os.listdir(server.tree(calls.filesystem).parent / "staging"))


def header(server, calls, upload, start, end, *lines):
    """The head of a PUT to the file `f`, for requests that break off."""
    head = [
        f"PUT /v1/filesystems/{calls.filesystem}/files/f HTTP/1.1", "Host: x", f"Authorization: {server.api_key}",
        f"Content-Range: [{upload}]:{start}-{end}", *lines, "", "",
    ]
    return "\r\n".join(head).encode()


def test_a_file_appears_only_when_complete_and_nothing_is_left(server, calls):
    data = pattern(1000)
    upload = calls.started("f", 1000)
    assert calls.put("f", upload, 0, 1000, data).status_code == 200
    assert calls.list().json() == {"directories": [], "files": []}
    assert calls.info("f").status_code == 404
    answer = calls.finish("f", upload)
    assert (answer.status_code, answer.content) == (200, b"")
    assert calls.content("f") == data
    assert staging(server, calls) == []


def test_a_new_version_replaces_the_old_at_completion(calls):
    calls.write("f", b"old")
    upload = calls.started("f", 5)
    calls.put("f", upload, 0, 5, b"newer")
    assert calls.content("f") == b"old"
    assert calls.finish("f", upload).status_code == 200
    assert calls.content("f") == b"newer"


def test_empty_files(calls):
    calls.write("with-a-part", b"")
    upload = calls.started("without", 0)
    assert calls.finish("without", upload).status_code == 200
    for name in ("with-a-part", "without"):
        assert calls.info(name).json()["size"] == 0
        assert calls.read(name, "0-10").content == b""


def test_parts_in_any_order_repeated_and_at_once(calls):
    size, part = 20_000_003, 777_777
    data = pattern(size)
    ranges = [(start, min(start + part, size)) for start in range(0, size, part)]
    ranges += random.Random(7).sample(ranges, 5)
    random.Random(8).shuffle(ranges)
    upload = calls.started("f", size)

    def put(ends):
        return Calls(calls.server, calls.filesystem).put("f", upload, *ends, data[slice(*ends)]).status_code

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(put, ranges)) == {200}
    assert calls.finish("f", upload).status_code == 200
    assert calls.content("f") == data


@pytest.mark.parametrize("done", [True, "true", "True", "TRUE"])
def test_complete_may_be_text(calls, done):
    upload = calls.started("f", 1)
    calls.put("f", upload, 0, 1, b"x")
    assert calls.finish("f", upload, done).status_code == 200
    assert calls.content("f") == b"x"


@pytest.mark.parametrize("done", [False, "false"])
def test_complete_false_abandons(server, calls, done):
    calls.write("f", b"old")
    upload = calls.started("f", 1)
    calls.put("f", upload, 0, 1, b"x")
    answer = calls.finish("f", upload, done)
    assert (answer.status_code, answer.content) == (200, b"")
    assert staging(server, calls) == []
    assert calls.content("f") == b"old"
    assert calls.put("f", upload, 0, 1, b"x").status_code == 404
    assert calls.finish("f", upload).status_code == 404


def test_early_spelling_of_the_upload_id(calls):
    upload = calls.started("f", 0)
    answer = calls.call("POST", "/files/f", json={"upload_id": upload, "complete": True})
    assert answer.status_code == 200


def test_a_repeated_completion_answers_200_again(calls):
    upload = calls.started("f", 1)
    calls.put("f", upload, 0, 1, b"x")
    assert [calls.finish("f", upload).status_code for _ in range(3)] == [200] * 3
    assert calls.finish("g", upload).status_code == 404
    assert calls.put("f", upload, 0, 1, b"x").status_code == 404


def test_completions_at_once_all_succeed(calls):
    upload = calls.started("f", 1_000_000)
    calls.put("f", upload, 0, 1_000_000, pattern(1_000_000))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda _: Calls(calls.server, calls.filesystem).finish("f", upload).status_code, range(8))
        assert set(answers) == {200}
    assert calls.content("f") == pattern(1_000_000)


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[1]", b"{", b'{"size": -1}', b'{"size": "1"}', b'{"size": 1.5}', b'{"size": null}',
     b'{"size": 18446744073709551615}', b'{"size": 99999999999999999999}', b'{"uploadId": "x"}',
     b'{"uploadId": 5, "complete": true}', b'{"uploadId": "x", "complete": "maybe"}', b"\xff"],
)
def test_bad_bodies_are_400(calls, body):
    answer = calls.call("POST", "/files/f", data=body)
    assert answer.status_code == 400
    assert answer.text.count("\n") == 1


def test_where_an_upload_cannot_go(calls):
    calls.mkdir("d")
    calls.write("f", b"")
    assert calls.begin("missing/f", 1).status_code == 400
    assert calls.begin("f/below", 1).status_code == 400
    assert calls.begin("d", 1).status_code == 409
    assert calls.begin("", 1).status_code == 409


def test_the_place_changes_while_an_upload_runs(calls):
    calls.mkdir("d")
    upload = calls.started("d/f", 1)
    calls.put("d/f", upload, 0, 1, b"x")
    calls.delete("d")
    assert calls.finish("d/f", upload).status_code == 400
    calls.mkdir("d")
    calls.mkdir("d/f")
    assert calls.finish("d/f", upload).status_code == 409
    calls.delete("d/f")
    assert calls.finish("d/f", upload).status_code == 200
    assert calls.content("d/f") == b"x"


def test_bad_parts(calls):
    calls.write("f", b"old file")
    upload = calls.started("f", 10)

    def put(content_range, data=b""):
        headers = {} if content_range is None else {"Content-Range": content_range}
        return calls.call("PUT", "/files/f", headers=headers, data=data).status_code

    for malformed in (None, "", "0-5", f"{upload}:0-5", f"[{upload}]0-5", f"[{upload}]:0", f"[{upload}]:5-0", "[]:0-5",
                      f"[{upload}]:-1-5", f"[{upload}]:0-5/10", "[../x]:0-5", f"[{upload}:0-5"):
        assert put(malformed, b"12345") == 400
    assert put(f"[{upload}]:5-11", b"123456") == 400
    assert put(f"[{upload}]:11-12", b"1") == 400
    assert put(f"[{upload}]:0-18446744073709551615", b"1") == 400
    assert put("[UNKNOWN]:0-5", b"12345") == 404
    assert put(f"[{upload}]:0-5", b"1234") == 402
    assert put(f"[{upload}]:0-5", b"123456") == 402
    assert put(f"[{upload}]:0-5", b"") == 402
    assert put(f"[{upload}]:0-5", iter([b"12", b"34"])) == 402
    assert put(f"[{upload}]:0-5", iter([b"123", b"456"])) == 402
    assert put(f"[{upload}]:5-5") == 200
    # None of it counts.
    answer = calls.finish("f", upload)
    assert (answer.status_code, answer.text) == (400, "bytes 0-10 have not arrived\n")
    assert calls.content("f") == b"old file"
    assert put(f"[{upload}]:0-5", iter([b"12", b"345"])) == 200
    assert calls.finish("f", upload).text == "bytes 5-10 have not arrived\n"
    assert put(f"[{upload}]:6-10", b"789X") == 200
    assert calls.finish("f", upload).text == "bytes 5-6 have not arrived\n"
    assert put(f"[{upload}]:5-6", b"6") == 200
    assert calls.finish("f", upload).status_code == 200
    assert calls.content("f") == b"123456789X"


def test_upload_ids_belong_to_their_file(server, calls):
    upload = calls.started("f", 1)
    elsewhere = Calls(server, server.create_filesystem(str(uuid.uuid4())))
    for caller, path in ((calls, "g"), (elsewhere, "f")):
        assert caller.put(path, upload, 0, 1, b"x").status_code == 404
        assert caller.finish(path, upload).status_code == 404
        assert caller.finish(path, upload, False).status_code == 404


@pytest.mark.parametrize("framing", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
def test_a_part_that_breaks_off_does_not_count(server, calls, framing):
    upload = calls.started("f", 1_000_000)
    body = pattern(700_000)
    before = len(server.requests_log())
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(header(server, calls, upload, 0, 1_000_000, framing))
        connection.sendall(body if "Length" in framing else b"%x\r\n" % len(body) + body + b"\r\n")
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(10)
        while connection.recv(4096):
            pass
    poll(lambda: len(server.requests_log()) > before, what="line for the broken request")
    assert calls.finish("f", upload).text == "bytes 0-1000000 have not arrived\n"
    assert calls.put("f", upload, 0, 1_000_000, pattern(1_000_000)).status_code == 200
    assert calls.finish("f", upload).status_code == 200


def test_a_repetition_that_breaks_off_takes_the_part_back(server, calls):
    size = 3_000_000
    upload = calls.started("f", size)
    assert calls.put("f", upload, 0, size, pattern(size)).status_code == 200
    before = len(server.requests_log())
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(header(server, calls, upload, 1_000_000, 3_000_000, "Content-Length: 2000000"))
        connection.sendall(b"\xff" * 1_500_000)
    poll(lambda: len(server.requests_log()) > before, what="line for the broken request")
    assert calls.finish("f", upload).text == "bytes 1000000-3000000 have not arrived\n"
    server.kill()
    server.start()
    assert calls.finish("f", upload).text == "bytes 1000000-3000000 have not arrived\n"
    assert calls.put("f", upload, 1_000_000, size, pattern(2_000_000, 1_000_000)).status_code == 200
    assert calls.finish("f", upload).status_code == 200
    assert calls.content("f") == pattern(size)


def test_no_write_reaches_a_completed_file(server, calls):
    """A part that is still arriving when the upload completes (a second try overtook it) changes nothing."""
    size = 4_000_000
    upload = calls.started("f", size)
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.sendall(header(server, calls, upload, 0, size, f"Content-Length: {size}") + b"\xff" * 3_000_000)
    staged = server.tree(calls.filesystem).parent / "staging" / upload
    poll(lambda: staged.read_bytes()[:100] == b"\xff" * 100, what="first bytes on the disk")
    assert calls.put("f", upload, 0, size, pattern(size)).status_code == 200
    assert calls.finish("f", upload).status_code == 200
    connection.sendall(b"\xff" * 1_000_000)
    connection.settimeout(10)
    assert connection.recv(100).split()[1] in (b"404", b"409")
    connection.close()
    # The first try may have mixed its bytes in before, never after.
    content = calls.content("f")
    assert len(content) == size and content[3_100_000:] == pattern(900_000, 3_100_000)


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
            killer = pool.submit(lambda: (time.sleep(deadline - time.monotonic()), server.kill()))
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
