"""Every call of the API and every status of wire-protocol.md, over HTTP."""

import json
import os
import socket
import uuid

import pytest
import requests

from servercalls import Calls, pattern, raw
from serverkit import Server


@pytest.fixture(scope="module")
def server():
    with Server() as server:
        yield server


@pytest.fixture(scope="module")
def other(server):
    return server.add_user("other")


@pytest.fixture
def calls(server, request):
    return Calls(server, server.create_filesystem(f"{request.node.name}-{uuid.uuid4()}"))


def one_line(answer):
    return answer.text.endswith("\n") and answer.text.count("\n") == 1 and len(answer.text) > 4


# Authentication.


@pytest.mark.parametrize("scheme", ["{}", "Bearer {}", "bearer {}", "BEARER {}", "Bearer  {}"])
def test_key_is_taken_bare_and_as_bearer(server, scheme):
    answer = requests.get(server.url + "/filesystems", headers={"Authorization": scheme.format(server.api_key)})
    assert answer.status_code == 200


@pytest.mark.parametrize("header", [None, "", "wrong", "Bearer", "Bearer wrong", "Basic {}", "{}x", "{} x"])
def test_missing_and_wrong_keys_are_401(server, header):
    headers = {} if header is None else {"Authorization": header.format(server.api_key)}
    answer = requests.get(server.url + "/filesystems", headers=headers)
    assert answer.status_code == 401
    assert one_line(answer)


# Filesystems.


def test_create_list_delete(server):
    identifier = server.create_filesystem("one")
    assert str(uuid.UUID(identifier)) == identifier
    entry = {"filesystem_id": identifier, "filesystem_name": "one"}
    assert entry in requests.get(server.url + "/filesystems", headers=server.headers).json()
    answer = requests.post(server.url + "/filesystems", json={"filesystem_name": "one"}, headers=server.headers)
    assert answer.status_code == 409 and one_line(answer)
    url = f"{server.url}/filesystems/{identifier}"
    answer = requests.delete(url, headers=server.headers)
    assert (answer.status_code, answer.content) == (200, b"")
    assert requests.delete(url, headers=server.headers).status_code == 404
    assert entry not in requests.get(server.url + "/filesystems", headers=server.headers).json()
    server.create_filesystem("one")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"{}", b'{"filesystem_name": 1}', b'{"filesystem_name": ""}',
     json.dumps({"filesystem_name": "x" * 256}).encode(), b'{"filesystem_name": "a\\nb"}', b"\xff\xfe"],
)
def test_bad_filesystem_bodies_are_400(server, body):
    answer = requests.post(server.url + "/filesystems", data=body, headers=server.headers)
    assert answer.status_code == 400 and one_line(answer)


def test_json_bodies_over_64_kib_are_413(server):
    body = json.dumps({"filesystem_name": "x" * 70000})
    assert requests.post(server.url + "/filesystems", data=body, headers=server.headers).status_code == 413
    chunks = (body[i:i + 1000].encode() for i in range(0, len(body), 1000))
    assert requests.post(server.url + "/filesystems", data=chunks, headers=server.headers).status_code == 413


def test_sharing(server, other, calls):
    theirs = Calls(server, calls.filesystem, other["api_key"])
    missing = Calls(server, str(uuid.uuid4()), other["api_key"])

    def share(caller, body):
        return caller.call("POST", "/share", data=body if isinstance(body, bytes) else json.dumps(body))

    # What is not shared looks like what does not exist.
    for stranger in (theirs, missing):
        assert stranger.list().status_code == 404
        assert stranger.call("DELETE", "").status_code == 404
        assert stranger.mkdir("d").status_code == 404
        assert stranger.begin("f", 1).status_code == 404
        assert stranger.info("f").status_code == 404
        assert share(stranger, {"grantee": server.user_id}).status_code == 404
    assert theirs.list().text == missing.list().text

    assert share(calls, {"grantee": server.user_id}).status_code == 403
    for bad in (b"", {}, {"grantee": 1}, {"grantee": "x"}, {"grantee": str(uuid.uuid4())}):
        assert share(calls, bad).status_code == 400
    assert share(calls, {"grantee": other["user_id"].upper()}).status_code == 200
    assert share(calls, {"grantee": other["user_id"]}).status_code == 409

    # A grantee reads and writes, but neither shares nor deletes.
    calls.write("mine", b"mine")
    assert theirs.content("mine") == b"mine"
    theirs.write("theirs", b"theirs")
    assert calls.content("theirs") == b"theirs"
    assert theirs.call("DELETE", "").status_code == 403
    assert share(theirs, {"grantee": server.user_id}).status_code == 403
    listed = requests.get(server.url + "/filesystems", headers={"Authorization": other["api_key"]}).json()
    assert [entry["filesystem_id"] for entry in listed] == [calls.filesystem]
    assert calls.call("DELETE", "").status_code == 200
    assert theirs.list().status_code == 404
    assert requests.get(server.url + "/filesystems", headers={"Authorization": other["api_key"]}).json() == []


def test_unknown_calls_are_404_and_wrong_methods_405(server, calls):
    for target in ("/", "/filesystem", f"/filesystems/{calls.filesystem}/nothing", "/filesystems/a%20b/list",
                   f"/filesystems/{calls.filesystem}/share/x"):
        assert requests.get(server.url + target, headers=server.headers).status_code == 404
    assert requests.get(server.url[:-3] + "/filesystems", headers=server.headers).status_code == 404
    assert requests.get(server.url + "x/filesystems", headers=server.headers).status_code == 404
    for method, path in (("PUT", "/list"), ("GET", "/share"), ("GET", "/mkdir/x"), ("PATCH", "/files/x"), ("POST", "")):
        assert calls.call(method, path).status_code == 405


def test_an_answer_to_head_ends_with_its_headers(server, calls):
    head = [f"HEAD /v1/filesystems/{calls.filesystem}/files/x HTTP/1.1", "Host: x", f"Authorization: {server.api_key}"]
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall("\r\n".join([*head, "Connection: close", "", ""]).encode())
        with connection.makefile("rb") as answer:
            text = answer.read()
    assert text.startswith(b"HTTP/1.1 405 ") and text.index(b"\r\n\r\n") == len(text) - 4


# Directories.


def test_listings(server, calls):
    assert calls.list().json() == {"directories": [], "files": []}
    for name in ("b", "a", "ü", "Z"):
        assert calls.mkdir(name).status_code == 200
    names = ["f2", "f10", "é", 'quo"te', "back\\slash", "new\nline", "tab\t", "%2e", "\u2028", "😀", " ", "..."]
    for name in names:
        calls.write(requests.utils.quote(name, safe=""), b"x")
    expected = {
        "directories": sorted(["b", "a", "ü", "Z"], key=str.encode),
        "files": sorted(names, key=str.encode),
    }
    assert calls.call("GET", "/list").json() == expected
    assert calls.call("GET", "/list/").json() == expected
    assert calls.list("a").json() == calls.list("a/").json() == {"directories": [], "files": []}


def test_listing_what_is_no_directory_is_404(calls):
    calls.write("file", b"")
    for path in ("missing", "file", "file/below", "missing/below"):
        assert calls.list(path).status_code == 404


def test_mkdir(calls):
    answer = calls.mkdir("d")
    assert (answer.status_code, answer.content) == (200, b"")
    assert calls.mkdir("d").status_code == 409
    assert calls.mkdir("").status_code == 409
    assert calls.mkdir("d/e").status_code == 200
    assert calls.mkdir("no/e").status_code == 400
    calls.write("f", b"")
    assert calls.mkdir("f").status_code == 409
    assert calls.mkdir("f/d").status_code == 400


def test_names_of_255_bytes(calls):
    name = "n" * 255
    assert calls.mkdir(name).status_code == 200
    calls.write(f"{name}/{'é' * 127}", b"long")
    assert calls.list(name).json()["files"] == ["é" * 127]
    assert calls.mkdir("n" * 256).status_code == 400
    assert calls.mkdir("/".join(["n" * 200] * 30)).status_code == 400


def test_100000_entries_are_listed(server, calls):
    tree = server.tree(calls.filesystem)
    (tree / "big").mkdir()
    directory = os.open(tree / "big", os.O_RDONLY)
    for index in range(100_000):
        os.close(os.open(f"{index:06}", os.O_CREAT | os.O_WRONLY, dir_fd=directory))
    os.close(directory)
    assert calls.list("big").json()["files"] == [f"{index:06}" for index in range(100_000)]
    assert calls.delete("big").status_code == 200


def test_names_that_json_cannot_carry_are_left_out_and_logged(server, calls):
    tree = os.fsencode(server.tree(calls.filesystem))
    os.close(os.open(tree + b"/bad\xff", os.O_CREAT))
    os.close(os.open(tree + b"/good", os.O_CREAT))
    assert calls.list().json()["files"] == ["good"]
    assert "not UTF-8" in server.stderr()


# Downloads.


def test_info(calls):
    calls.write("f", pattern(1000))
    for query in ("?init=true", "?init=True", "?init=1", "?init", "?init=", "?x=y&init=false"):
        answer = calls.call("GET", "/files/f" + query)
        assert answer.status_code == 200
        assert answer.json()["size"] == 1000 and answer.json()["download_id"]
    calls.mkdir("d")
    for path in ("missing", "d", "", "f/below", "missing/f"):
        assert calls.info(path).status_code == 404


@pytest.mark.parametrize(
    "header, start, end",
    [("0-1000", 0, 1000), ("0-1", 0, 1), ("999-1000", 999, 1000), ("990-5000", 990, 1000), ("0-8388608", 0, 1000),
     ("1000-1001", 0, 0), ("5000-6000", 0, 0), ("7-7", 0, 0), ("0-18446744073709551615", 0, 1000)],
)
def test_ranges_are_half_open_and_clamped(calls, header, start, end):
    calls.write("f", pattern(1000))
    answer = calls.read("f", header)
    assert answer.status_code == 200
    assert answer.content == pattern(1000)[start:end]
    assert answer.headers["Content-Length"] == str(end - start)


@pytest.mark.parametrize("header", [None, "", "-", "0-", "-5", "5-3", "a-b", "bytes=0-5", "0-5/10", "0--5", "+0-5",
                                    "0-18446744073709551616", "0 - 5", "bytes 0-4/5"])
def test_missing_and_malformed_ranges_are_400(calls, header):
    calls.write("f", pattern(10))
    answer = calls.call("GET", "/files/f", headers={} if header is None else {"Content-Range": header})
    assert answer.status_code == 400 and one_line(answer)


def test_reading_what_is_no_file_is_404(calls):
    calls.mkdir("d")
    for path in ("missing", "d", "d/missing", ""):
        assert calls.read(path, "0-1").status_code == 404


def test_a_large_file_is_streamed_whole(calls):
    data = pattern(9_000_001)
    calls.write("f", data)
    assert calls.read("f", "0-9000001").content == data
    assert calls.read("f", "1234567-8765432").content == data[1234567:8765432]


def test_a_replacement_does_not_disturb_a_download(calls):
    old = pattern(64 << 20)
    calls.write("f", old)
    with calls.call("GET", "/files/f", headers={"Content-Range": f"0-{len(old)}"}, stream=True) as answer:
        received = answer.raw.read(1 << 16)
        again = Calls(calls.server, calls.filesystem)
        again.write("f", b"new")
        assert again.delete("f").status_code == 200
        received += answer.raw.read()
    assert received == old


# Deleting.


def test_delete(calls):
    calls.mkdir("d")
    calls.mkdir("d/e")
    calls.write("d/e/f", b"x")
    calls.write("f", b"x")
    assert calls.delete("f").status_code == 200
    assert calls.delete("f").status_code == 400
    assert calls.delete("d/missing").status_code == 400
    assert calls.delete("d/e/f/below").status_code == 400
    assert calls.delete("").status_code == 403
    assert calls.delete("d").status_code == 200
    assert calls.list().json() == {"directories": [], "files": []}
    assert calls.delete("d").status_code == 400


# As the official client calls.


def test_json_bodies_without_content_type_on_every_method(server, calls):
    headers = {"Authorization": server.api_key}
    base = f"{server.url}/filesystems/{calls.filesystem}"
    empty = json.dumps({}).encode()
    assert requests.get(server.url + "/filesystems", data=empty, headers=headers).status_code == 200
    assert requests.post(base + "/mkdir/d", data=empty, headers=headers).status_code == 200
    assert requests.get(base + "/list/d", data=empty, headers=headers).status_code == 200
    answer = requests.post(base + "/files/d/f", data=json.dumps({"size": 5}), headers=headers)
    upload = answer.json()["uploadId"]
    put = requests.put(base + "/files/d/f", data=b"12345", headers={**headers, "Content-Range": f"[{upload}]:0-5"})
    assert (put.status_code, put.content) == (200, b"")
    done = {"uploadId": upload, "complete": "true"}
    assert requests.post(base + "/files/d/f", data=json.dumps(done), headers=headers).status_code == 200
    answer = requests.get(base + "/files/d/f", params={"init": True}, data=empty, headers=headers)
    assert answer.json()["size"] == 5
    answer = requests.get(base + "/files/d/f", data=empty, headers={**headers, "Content-Range": "0-8388608"})
    assert answer.content == b"12345"
    assert requests.delete(base + "/files/d/f", data=empty, headers=headers).status_code == 200


def test_the_access_log_has_a_request_when_its_answer_is_seen(server, calls):
    calls.write("f", pattern(3_000_000))
    for index in range(20):
        before = len(server.requests_log())
        assert len(calls.read("f", f"{index}-3000000").content) == 3_000_000 - index
        entry = server.requests_log(before)[-1]
        assert (entry.method, entry.status, entry.bytes) == ("GET", 200, 3_000_000 - index)
        assert entry.content_range == f"{index}-3000000"
    before = len(server.requests_log())
    raw(server, "GET", b"/v1/filesystems/%2e%2e?a=%20b")
    entry = server.requests_log(before)[-1]
    assert (entry.path, entry.query, entry.status) == ("/v1/filesystems/%2e%2e", "a=%20b", 401)


def test_keys_are_not_in_the_logs(server):
    with open(server.access_log) as log:
        assert server.api_key not in log.read()
    assert server.api_key not in server.stderr()


def test_no_answer_may_be_kept_by_a_cache_on_the_way(calls):
    """It would know them by their URL, and give one range of a file for another."""
    calls.write("f", pattern(1_000_000))
    answers = [
        calls.read("f", "0-10"), calls.read("f", "0-1000000"), calls.read("f", "2000000-2000010"), calls.read("f", "x"),
        calls.info("f"), calls.list(), calls.begin("g", 1), calls.mkdir("d"), calls.delete("absent"),
        requests.get(calls.server.url + "/filesystems"),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 400, 200, 200, 200, 200, 400, 401]
    assert {answer.headers.get("Cache-Control") for answer in answers} == {"no-store"}
