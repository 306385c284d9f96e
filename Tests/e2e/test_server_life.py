"""Starting, serving over TLS and under other paths, restarting and ending."""

import concurrent.futures
import os
import signal
import socket
import sqlite3
import subprocess
import time

import pytest
import requests

from servercalls import Calls, pattern, raw
from serverkit import Server, binary, poll, run


def fails(result, *words):
    assert result.returncode != 0
    assert result.stdout == ""
    ours = [line for line in result.stderr.splitlines() if line.startswith("tetherfs-server: ")]
    assert len(ours) == 1 and len(result.stderr.splitlines()) == 1, result.stderr
    return all(word in ours[0] for word in words)


@pytest.mark.parametrize("base_path, prefix", [("", ""), ("/", ""), ("/v1", "/v1"), ("v1", "/v1"), ("/a/b.c/", "/a/b.c")])
def test_base_path(base_path, prefix):
    with Server(base_path=base_path) as server:
        assert server.url == f"http://127.0.0.1:{server.port}{prefix}"
        calls = Calls(server, server.create_filesystem("a"))
        calls.write("f", b"x")
        assert calls.content("f") == b"x"
        for target in (b"/other/filesystems", prefix.encode() + b"/x/filesystems", b"/"):
            assert raw(server, "GET", target, server.headers)[0] == 404


def test_tls(certificate):
    with Server(tls=certificate) as server:
        assert server.url.startswith("https://127.0.0.1:")
        calls = Calls(server, server.create_filesystem("a"))
        data = pattern(5_000_000)
        calls.write("f", data)
        assert calls.content("f") == data
        with pytest.raises(requests.RequestException):
            requests.get(server.url.replace("https", "http") + "/filesystems", timeout=10)
        assert calls.content("f") == data


def test_bad_tls_files(certificate, tmp_path):
    certificate, key = map(str, certificate)
    (tmp_path / "garbage").write_text("garbage")
    serve = ["serve", "--data-dir", tmp_path / "data", "--listen", "127.0.0.1:0"]
    assert fails(run(*serve, "--tls-certificate", certificate), "--tls-key")
    assert fails(run(*serve, "--tls-key", key), "--tls-certificate")
    assert fails(run(*serve, "--tls-certificate", tmp_path / "garbage", "--tls-key", key), "TLS")
    assert fails(run(*serve, "--tls-certificate", certificate, "--tls-key", tmp_path / "missing"), "TLS")


def test_bad_flags(tmp_path):
    data = tmp_path / "data"
    serve = ["serve", "--data-dir", data]
    for flags in (
        ["--bogus"], ["--listen", "nonsense"], ["--listen", "127.0.0.1"], ["--listen", "127.0.0.1:99999"],
        ["--listen", ":80"], ["--listen", "::1:80"], ["--base-path", "/a b"], ["--base-path", "/../x"],
        ["--base-path", "/%2e"], ["--abandoned-upload-age", "0"], ["--abandoned-upload-age", "x"],
        ["--log-level", "loud"], ["--idle-timeout", "0"], ["--access-log", "--access-log-file", "x"],
    ):
        assert fails(run(*serve, *flags)), flags
    assert fails(run("serve"), "--data-dir")
    assert not data.exists()
    assert fails(run(*serve, "--listen", "127.0.0.1:0", "--access-log-file", tmp_path / "no" / "log"), "access log")
    assert fails(run(*serve, "--listen", "no.such.host.invalid:0"), "no.such.host.invalid")


def test_a_port_in_use_and_a_data_directory_in_use(tmp_path):
    with Server() as server:
        result = run("serve", "--data-dir", tmp_path / "data", "--listen", f"127.0.0.1:{server.port}")
        assert fails(result, f"127.0.0.1:{server.port}", "in use")
        result = run("serve", "--data-dir", server.data_dir, "--listen", "127.0.0.1:0")
        assert fails(result, "another server")


def test_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 on this machine")
    with Server(start=False) as server:
        process = subprocess.Popen(
            [binary(), "serve", "--data-dir", server.data_dir, "--listen", "[::1]:0"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        try:
            line = process.stdout.readline()
            assert line.startswith("tetherfs-server: listening on http://[::1]:")
            url = line.split()[-1]
            assert requests.get(url + "/filesystems", headers=server.headers, timeout=10).status_code == 200
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def test_access_log_on_standard_error():
    with Server(start=False) as server:
        process = subprocess.Popen(
            [binary(), "serve", "--data-dir", server.data_dir, "--listen", "127.0.0.1:0", "--access-log"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        try:
            url = process.stdout.readline().split()[-1]
            requests.get(url + "/filesystems?a=b", headers=server.headers, timeout=10)
        finally:
            process.terminate()
            output, errors = process.communicate(timeout=20)
        assert output == ""
        assert "GET /filesystems?a=b 200 2 -\n" in errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_with_status_0(number):
    with Server() as server:
        session = requests.Session()
        session.get(server.url + "/filesystems", headers=server.headers)
        server.process.send_signal(number)
        assert server.process.wait(10) == 0


def test_a_request_under_way_is_finished_before_the_end():
    with Server() as server:
        calls = Calls(server, server.create_filesystem("a"))
        upload = calls.started("f", 2_000_000)
        connection = socket.create_connection(("127.0.0.1", server.port))
        connection.sendall(
            f"PUT /v1/filesystems/{calls.filesystem}/files/f HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n"
            f"Authorization: {server.api_key}\r\nContent-Range: [{upload}]:0-2000000\r\n\r\n".encode()
            + pattern(1_000_000)
        )
        staged = server.tree(calls.filesystem).parent / "staging" / upload
        poll(lambda: staged.read_bytes()[:100] == pattern(100), what="first bytes on the disk")
        server.process.send_signal(signal.SIGTERM)
        # New connections are refused as soon as it has noticed.
        def refused():
            try:
                socket.create_connection(("127.0.0.1", server.port)).close()
            except OSError:
                return True
        poll(refused, what="refusal")
        connection.sendall(pattern(1_000_000, 1_000_000))
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        connection.close()
        assert server.process.wait(10) == 0
        server.restart()
        assert calls.finish("f", upload).status_code == 200
        assert calls.content("f") == pattern(2_000_000)


def test_a_client_that_hangs_does_not_hold_up_the_end_for_ever():
    with Server() as server:
        calls = Calls(server, server.create_filesystem("a"))
        upload = calls.started("f", 2_000_000)
        connection = socket.create_connection(("127.0.0.1", server.port))
        connection.sendall(
            f"PUT /v1/filesystems/{calls.filesystem}/files/f HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n"
            f"Authorization: {server.api_key}\r\nContent-Range: [{upload}]:0-2000000\r\n\r\n".encode() + b"x" * 10
        )
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(25)
        assert time.monotonic() - started < 20
        connection.close()


def test_everything_is_there_after_a_restart():
    with Server() as server:
        other = server.add_user("other")
        calls = Calls(server, server.create_filesystem("a"))
        calls.mkdir("d")
        calls.write("d/f", pattern(100_000))
        calls.call("POST", "/share", json={"grantee": other["user_id"]})
        for end in (server.stop, server.kill):
            end()
            server.start()
            assert calls.content("d/f") == pattern(100_000)
            assert Calls(server, calls.filesystem, other["api_key"]).content("d/f") == pattern(100_000)
            names = requests.get(server.url + "/filesystems", headers=server.headers).json()
            assert [entry["filesystem_name"] for entry in names] == ["a"]


def test_what_was_being_deleted_is_gone_after_a_restart():
    with Server() as server:
        calls = Calls(server, server.create_filesystem("a"))
        kept = server.create_filesystem("kept")
        deep = server.tree(calls.filesystem)
        for index in range(60):
            deep = deep / f"d{index}"
        deep.mkdir(parents=True)
        (deep / "f").write_bytes(b"x")
        server.kill()
        # As a crash between the two steps of a deletion leaves it; and of a creation, and of a database
        # restored from an old copy.
        removed = os.path.join(server.data_dir, "removed")
        os.rename(server.tree(calls.filesystem).parent, os.path.join(removed, calls.filesystem))
        half_made, unknown = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
        for identifier in (half_made, unknown):
            server.tree(identifier).mkdir(parents=True)
        (server.tree(unknown) / "precious").write_bytes(b"x")
        server.start()
        poll(lambda: os.listdir(removed) == [], what="empty folder of removed things")
        names = requests.get(server.url + "/filesystems", headers=server.headers).json()
        assert [entry["filesystem_id"] for entry in names] == [kept]
        assert sorted(os.listdir(os.path.join(server.data_dir, "filesystems"))) == sorted([kept, unknown])
        assert (server.tree(unknown) / "precious").read_bytes() == b"x"


def test_deleting_a_large_filesystem_answers_at_once_and_leaves_nothing():
    with Server() as server:
        calls = Calls(server, server.create_filesystem("a"))
        for outer in range(30):
            folder = server.tree(calls.filesystem) / f"{outer}" / "x" / "y"
            folder.mkdir(parents=True)
            for index in range(100):
                (folder / f"{index}").write_bytes(b"x")
        assert calls.call("DELETE", "").status_code == 200
        assert calls.list().status_code == 404
        server.create_filesystem("a")
        poll(lambda: os.listdir(os.path.join(server.data_dir, "removed")) == [], what="empty folder")


def test_a_filesystem_deleted_during_an_upload():
    with Server() as server:
        calls = Calls(server, server.create_filesystem("a"))
        upload = calls.started("f", 1)
        assert calls.call("DELETE", "").status_code == 200
        assert calls.put("f", upload, 0, 1, b"x").status_code == 404
        assert calls.finish("f", upload).status_code == 404


def test_many_clients_at_once():
    with Server() as server:
        calls = Calls(server, server.create_filesystem("a"))

        def work(worker):
            own = Calls(server, calls.filesystem)
            assert own.mkdir(f"d{worker}").status_code == 200
            for index in range(10):
                own.write(f"d{worker}/{index}", pattern(10_000, worker))
                assert own.content(f"d{worker}/{index}") == pattern(10_000, worker)
            assert own.list(f"d{worker}").json()["files"] == [str(index) for index in range(10)]
            assert own.delete(f"d{worker}").status_code == 200
            return True

        with concurrent.futures.ThreadPoolExecutor(32) as pool:
            assert all(pool.map(work, range(32)))
        assert calls.list().json() == {"directories": [], "files": []}


def test_an_internal_error_has_a_number_that_is_in_the_log():
    with Server() as server:
        calls = Calls(server, server.create_filesystem("a"))
        with sqlite3.connect(os.path.join(server.data_dir, "catalogue.sqlite")) as database:
            # Somebody holds the database: after 10 s the server gives up.
            database.execute("BEGIN IMMEDIATE")
            answer = requests.post(server.url + "/filesystems", json={"filesystem_name": "b"}, headers=server.headers)
            database.execute("ROLLBACK")
        assert answer.status_code == 500
        number = answer.text.split()[-1]
        assert answer.text == f"internal error {number}\n"
        assert number in server.stderr()
        assert calls.list().status_code == 200


def test_nobody_waits_for_who_changes_the_catalogue():
    with Server() as server, concurrent.futures.ThreadPoolExecutor(1) as pool:
        with sqlite3.connect(os.path.join(server.data_dir, "catalogue.sqlite")) as database:
            database.execute("BEGIN IMMEDIATE")
            change = pool.submit(requests.post, server.url + "/filesystems", json={"filesystem_name": "a"},
                                 headers=server.headers)
            filesystems = os.path.join(server.data_dir, "filesystems")
            poll(lambda: os.listdir(filesystems), what="the folder, which is made before")
            # Of whom it does not know the server asks the catalogue itself. Some of them after the change waits.
            count, deadline = 0, time.monotonic() + 4
            while count < 200 and time.monotonic() < deadline:
                answer = requests.get(server.url + "/filesystems", headers={"Authorization": "tetherfs_" + "x" * 43})
                assert answer.status_code == 401 and not change.done()
                count += 1
            assert count >= 5
            database.execute("ROLLBACK")
        assert change.result().status_code == 200


@pytest.mark.parametrize("asks_again", [True, False])
def test_a_filesystem_whose_removal_fails_half_way_frees_its_room_and_goes_later(asks_again):
    with Server() as server:
        calls = Calls(server, server.create_filesystem("a"))
        calls.write("f", pattern(1000))
        with sqlite3.connect(os.path.join(server.data_dir, "catalogue.sqlite")) as database:
            database.execute("BEGIN IMMEDIATE")
            assert calls.call("DELETE", "").status_code == 500
            database.execute("ROLLBACK")
        removed = os.path.join(server.data_dir, "removed")
        poll(lambda: not any(files for _, _, files in os.walk(removed)), what="the end of its files")
        if asks_again:
            assert calls.call("DELETE", "").status_code == 200
        else:
            server.restart()
        assert requests.get(server.url + "/filesystems", headers=server.headers).json() == []
        poll(lambda: os.listdir(removed) == [], what="the end of its folder")


def test_the_catalogue_is_one_file_once_nobody_uses_it():
    with Server() as server:
        server.add_user("joe")
        server.create_filesystem("a")
        server.stop()
        assert [name for name in os.listdir(server.data_dir) if name.startswith("catalogue")] == ["catalogue.sqlite"]
        server.add_user("jim")
        assert [name for name in os.listdir(server.data_dir) if name.startswith("catalogue")] == ["catalogue.sqlite"]
