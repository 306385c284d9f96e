"""Uploads: parts in any order, what is refused, and what breaks off."""

import concurrent.futures
import random
import socket
import uuid

import pytest

from servercalls import Calls, header, pattern, staging
from serverkit import Server, poll


@pytest.fixture(scope="module")
def server():
    with Server() as server:
        yield server


@pytest.fixture
def calls(server):
    return Calls(server, server.create_filesystem(str(uuid.uuid4())))


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
