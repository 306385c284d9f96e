"""Nothing gets out of a filesystem's folder, whatever the encoding; targets are sent raw, as no client would."""

import os
import uuid

import pytest

from servercalls import Calls, raw
from serverkit import Server


@pytest.fixture(scope="module")
def server():
    with Server() as server:
        yield server


@pytest.fixture(scope="module")
def calls(server):
    calls = Calls(server, server.create_filesystem("paths"))
    calls.mkdir("d")
    calls.write("f", b"inside")
    calls.write("d/f", b"inside")
    (server.tree(calls.filesystem).parent / "secret").write_bytes(b"outside")
    return calls


def everywhere(server, calls, path, extra=None):
    """Sends a path to every call that takes one; returns the statuses, and asserts that nothing leaked."""
    base = f"/v1/filesystems/{calls.filesystem}/".encode()
    headers = {"Authorization": server.api_key}
    ranged = {**headers, "Content-Range": "0-100"}
    answers = {
        "list": raw(server, "GET", base + b"list/" + path, headers),
        "mkdir": raw(server, "POST", base + b"mkdir/" + path, headers),
        "info": raw(server, "GET", base + b"files/" + path + b"?init=true", headers),
        "read": raw(server, "GET", base + b"files/" + path, ranged),
        "begin": raw(server, "POST", base + b"files/" + path, headers, b'{"size": 1}'),
        "put": raw(server, "PUT", base + b"files/" + path, {**headers, "Content-Range": "[x]:0-1"}, b"x"),
        "delete": raw(server, "DELETE", base + b"files/" + path, headers),
    }
    for status, body in answers.values():
        assert b"outside" not in body and b"root:" not in body
        assert status >= 400 and body.endswith(b"\n") and body.count(b"\n") == 1
    return {status for status, _ in answers.values()}


UP = [b"..", b"%2e%2e", b"%2E%2e", b".%2e", b"%2e.", b"d/../..", b"d/%2e%2e/%2e%2e", b"../secret", b"%2e%2e/secret",
      b"d/../f", b".", b"%2e", b"d/./f", b"./f", b"../../../../../../etc/passwd",
      b"%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd", b"d/..", b"../tree/f", b"..//secret", b"//..//secret"]


@pytest.mark.parametrize("path", UP)
def test_dot_components_are_403(server, calls, path):
    assert everywhere(server, calls, path) == {403}


BAD = [b"%2f", b"a%2fb", b"a%2Fb", b"%2fetc%2fpasswd", b"..%2fsecret", b"%2e%2e%2fsecret", b"d%2f..%2f..%2fsecret",
       b"%00", b"f%00", b"f%00.txt", b"..%00", b"%", b"%2", b"%zz", b"f%", b"%ff", b"%c3", b"%c0%ae%c0%ae", b"%ed%a0%80",
       b"%c0%af", b"x" * 256, b"%61" * 256]


@pytest.mark.parametrize("path", BAD, ids=repr)
def test_what_no_name_can_be_is_400(server, calls, path):
    assert everywhere(server, calls, path) == {400}


@pytest.mark.parametrize("path, name", [
    (b"%252e%252e", "%2e%2e"), (b"%252f", "%2f"), (b"...", "..."), (b"..%20", ".. "), (b"..%5csecret", "..\\secret"),
    (b"~", "~"), (b"%7e", "~"), (b"a+b", "a+b"), (b"%3f", "?"), (b"%23", "#"), (b"-rf", "-rf"), (b"c%3a", "c:"),
    (b"%E2%80%AE", "\u202e"), (b"caf%C3%A9", "café"), (b"cafe%CC%81", "cafe\u0301"),
    (b"%EF%BF%BD", "\ufffd"), (b"%0a", "\n"), (b"%7f", "\x7f"),
])
def test_odd_names_are_names_and_decoded_once(server, path, name):
    calls = Calls(server, server.create_filesystem(str(uuid.uuid4())))
    base = f"/v1/filesystems/{calls.filesystem}/".encode()
    status, body = raw(server, "POST", base + b"mkdir/" + path, server.headers)
    assert (status, body) == (200, b"")
    assert calls.list().json()["directories"] == [name]
    assert os.listdir(server.tree(calls.filesystem)) == [name]
    assert raw(server, "DELETE", base + b"files/" + path, server.headers)[0] == 200


@pytest.mark.parametrize("path", [b"\xff", b"d/\xfe\xff", b"\xc0\xae\xc0\xae/secret", "café".encode(), b"a\tb", b"a\x01"])
def test_bytes_that_a_url_cannot_have_are_400(server, calls, path):
    """RFC 3986: they travel percent-encoded. The HTTP parser itself refuses them and closes the connection."""
    base = f"/v1/filesystems/{calls.filesystem}/".encode()
    for method, call in (("GET", b"list/"), ("POST", b"mkdir/"), ("GET", b"files/"), ("DELETE", b"files/")):
        assert raw(server, method, base + call + path, server.headers)[0] == 400


def test_two_spellings_of_a_letter_are_two_names(calls, server):
    calls.mkdir("n")
    calls.write("n/caf%C3%A9", b"one")
    calls.write("n/cafe%CC%81", b"two")
    assert calls.list("n").json()["files"] == ["cafe\u0301", "caf\u00e9"]
    assert calls.content("n/caf%C3%A9") == b"one"


def test_slashes_too_many_count_for_nothing(server, calls):
    for path in (b"files//f", b"files/f/", b"files///d//f", b"files/d/f//"):
        base = f"/v1//filesystems/{calls.filesystem}/".encode()
        status, body = raw(server, "GET", base + path, {**server.headers, "Content-Range": "0-9"})
        assert (status, body) == (200, b"inside")


def test_what_can_be_made_can_be_read_however_long_its_path(calls):
    directory = "/".join(["d" * 250] * 16)
    for depth in range(1, 17):
        assert calls.mkdir(directory[:251 * depth - 1]).status_code == 200
    longest = "n" * (4095 - len(directory) - 1)
    calls.write(f"{directory}/{longest}", b"hello")
    assert calls.content(f"{directory}/{longest}") == b"hello"
    for answer in calls.begin(f"{directory}/{longest}n", 5), calls.mkdir(f"{directory}/{longest}n"):
        assert answer.status_code == 400 and "too long" in answer.text
    assert calls.list(directory).json() == {"directories": [], "files": [longest]}
    assert calls.delete(f"{directory}/{longest}").status_code == 200
    assert calls.mkdir(f"{directory}/{longest}").status_code == 200
    assert calls.list(f"{directory}/{longest}").json() == {"directories": [], "files": []}


def test_target_with_scheme_and_host(server, calls):
    target = f"{server.url}/filesystems/{calls.filesystem}/files/f".encode()
    assert raw(server, "GET", target, {**server.headers, "Content-Range": "0-9"}) == (200, b"inside")
    assert raw(server, "GET", server.url.encode() + b"/../x", server.headers)[0] == 404


@pytest.mark.parametrize("identifier", [b"..", b"%2e%2e", b".", b"%2f", b"x", b"..%2f..", b"tree"])
def test_filesystem_ids_cannot_be_paths(server, identifier):
    for rest in (b"/list/", b"/files/catalogue.sqlite?init=1", b"/files/secret"):
        status, body = raw(server, "GET", b"/v1/filesystems/" + identifier + rest, server.headers)
        assert status == 404


def test_links_placed_by_hand_are_not_followed(server, calls, tmp_path):
    (tmp_path / "passwd").write_bytes(b"outside")
    links = server.tree(calls.filesystem) / "links"
    links.mkdir()
    (links / "file").symlink_to(tmp_path / "passwd")
    (links / "folder").symlink_to(tmp_path)
    (links / "near").symlink_to("../f")
    (links / "loop").symlink_to("loop")
    os.mkfifo(links / "fifo")
    assert calls.list("links").json() == {"directories": [], "files": []}
    for path in ("file", "near", "loop", "folder/passwd", "fifo", "folder"):
        assert calls.info("links/" + path).status_code == 404
        assert calls.read("links/" + path, "0-9").status_code == 404
        assert calls.list("links/" + path).status_code == 404
        assert calls.delete("links/" + path).status_code == 400
    assert calls.mkdir("links/folder/new").status_code == 400
    assert calls.begin("links/folder/new", 1).status_code == 400
    # A file uploaded over a link replaces the link, not what it points to.
    calls.write("links/file", b"new")
    assert (tmp_path / "passwd").read_bytes() == b"outside"
    assert calls.content("links/file") == b"new"
    # Deleting a tree with a link in it leaves what the link points to.
    assert calls.delete("links").status_code == 200
    assert os.listdir(tmp_path) == ["passwd"]


def test_a_link_in_place_of_an_upload_directory_is_not_followed(server, calls, tmp_path):
    calls.mkdir("swap")
    upload = calls.started("swap/f", 1)
    assert calls.put("swap/f", upload, 0, 1, b"x").status_code == 200
    assert calls.delete("swap").status_code == 200
    (server.tree(calls.filesystem) / "swap").symlink_to(tmp_path)
    assert calls.finish("swap/f", upload).status_code == 400
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("request_text", [
    b"GARBAGE\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /v1/a b HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", b"\x16\x03\x01\x02\x00\x01",
    b"GET / HTTP/1.1\r\nA: " + b"x" * 200_000 + b"\r\n\r\n", b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\n\r\n",
    b"", b"\r\n\r\n\r\n", b"\x00" * 100,
], ids=lambda text: repr(text[:40]))
def test_garbage_does_not_stop_the_server(server, calls, request_text):
    import socket
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request_text)
        connection.shutdown(socket.SHUT_WR)
        while True:
            try:
                if not connection.recv(65536):
                    break
            except ConnectionResetError:
                break
    assert calls.content("f") == b"inside"
