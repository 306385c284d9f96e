"""The test server behaves as wire-protocol.md says that the deployed service does: else tests over it mean nothing."""

import json
import threading

import pytest
import requests

import faultplan
from deployedserver import DeployedServer
from servercalls import Calls, pattern, raw


@pytest.fixture
def server():
    with DeployedServer() as server:
        yield server


@pytest.fixture
def calls(server):
    return Calls(server, server.create_filesystem("data"))


EMPTY = {"directories": [], "files": []}


def test_what_is_no_directory_lists_as_empty(server, calls):
    server.content(calls.filesystem).write("f", b"x")
    for path in ("missing", "missing/deeper", "f"):
        answer = calls.list(path)
        assert (answer.status_code, answer.json()) == (200, EMPTY)


def test_a_directory_answers_init(server, calls):
    server.content(calls.filesystem).mkdir("d")
    assert calls.info("d").status_code == 200
    assert calls.info("missing").status_code == 404


def test_a_read_is_clamped_and_its_end_exclusive(server, calls):
    data = pattern(1000)
    server.content(calls.filesystem).write("f", data)
    for ends, wanted in {"0-10": data[:10], "990-5000": data[990:], "1000-1001": b"", "5-5": b""}.items():
        answer = calls.read("f", ends)
        assert (answer.status_code, answer.content) == (200, wanted)
    assert calls.read("f", "bytes=0-1").status_code == 400


def test_an_upload_appears_at_once_when_complete(server, calls):
    server.content(calls.filesystem).write("f", b"old")
    upload = calls.started("f", 5)
    assert calls.put("f", upload, 3, 5, b"lo").status_code == 200
    assert calls.put("f", upload, 0, 3, b"hel").status_code == 200
    assert calls.put("f", upload, 0, 3, b"long").status_code == 402
    assert calls.content("f") == b"old"
    assert calls.finish("f", upload).status_code == 200
    assert server.content(calls.filesystem).tree() == {"f": b"hello"}


@pytest.mark.parametrize("staging_is_id", [True, False])
def test_an_upload_under_way_shows_in_the_listing(staging_is_id):
    with DeployedServer(staging_is_id=staging_is_id) as server:
        calls = Calls(server, server.create_filesystem("data"))
        upload = calls.started("f", 5)
        [name] = calls.list().json()["files"]
        assert name[:2] == "f." and len(name) == 22 and name[2:].isalnum()
        assert (name[2:] == upload) == staging_is_id


def test_an_empty_upload_is_refused_and_leaves_its_staging_name(calls):
    assert calls.begin("f", 0).status_code == 500
    [name] = calls.list().json()["files"]
    assert calls.info(name).json()["size"] == 0
    assert calls.finish("f", name[2:]).status_code == 200
    assert calls.list().json()["files"] == ["f"]


def test_the_early_version_spells_upload_id():
    with DeployedServer(early=True) as server:
        calls = Calls(server, server.create_filesystem("data"))
        upload = calls.begin("f", 1).json()["upload_id"]
        assert calls.put("f", upload, 0, 1, b"x").status_code == 200
        assert calls.call("POST", "/files/f", json={"upload_id": upload, "complete": True}).status_code == 200
        assert calls.content("f") == b"x"


def test_delete_takes_a_whole_tree(server, calls):
    server.content(calls.filesystem).write("d/e/f", b"x")
    assert calls.delete("d").status_code == 200
    assert server.content(calls.filesystem).tree() == {}
    assert calls.delete("d").status_code == 400


def test_mkdir_statuses(calls):
    assert [calls.mkdir(path).status_code for path in ("d", "d", "missing/d")] == [200, 409, 400]
    target = f"/v1/filesystems/{calls.filesystem}/mkdir/d/%2e%2e/%2e%2e/e".encode()
    assert raw(calls.server, "POST", target, calls.server.headers)[0] == 403


def test_a_wrong_key_is_refused(server, calls):
    assert Calls(server, calls.filesystem, "wrong").list().status_code == 401
    assert requests.get(server.url + "/filesystems", headers=server.headers, timeout=10).json()


def test_every_request_is_logged_before_its_answer_arrives(server, calls):
    calls.write("f", b"hello")
    calls.info("f")
    logged = [(entry.method, entry.query, entry.status) for entry in server.requests_log()]
    assert logged == [("POST", "", 200), ("PUT", "", 200), ("POST", "", 200), ("GET", "init=true", 200)]


def test_faults_come_as_planned_and_end(server, calls):
    server.content(calls.filesystem).write("f", b"hello")
    rule = server.faults.add("size", faultplan.status(503, Retry_After="7"), path="f", times=2)
    answers = [calls.info("f") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert answers[0].headers["Retry-After"] == "7" and rule.hits == 2
    for fault in (faultplan.reset(), faultplan.cut(2), faultplan.cut(2, is_reset=True)):
        server.faults.add("read", fault)
        with pytest.raises(requests.RequestException):
            calls.read("f", "0-5")
    server.faults.add("read", faultplan.lengthened(b"!"))
    assert calls.read("f", "0-5").content == b"hello!"
    server.faults.add("delete", faultplan.lost())
    with pytest.raises(requests.RequestException):
        calls.delete("f")
    assert server.content(calls.filesystem).tree() == {}


def test_a_stalled_answer_comes_when_the_plan_is_cleared(server, calls):
    rule = server.faults.add("list", faultplan.stall())
    answers = []
    thread = threading.Thread(target=lambda: answers.append(calls.list()))
    thread.start()
    rule.wait()
    assert answers == [] and server.gauge.now["list"] == 1
    server.faults.clear()
    thread.join(10)
    assert json.loads(answers[0].content) == EMPTY
