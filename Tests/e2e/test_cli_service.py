"""What the command says, and does not do, when something answers that is not the service."""

import json
import threading

import pytest

from clikit import MOUNT_FAILURE, ScriptedServer, answer, fails, tetherfs

KEY = "tetherfs_the-key-of-this-test"
FILESYSTEM = {"filesystem_id": "6a0d6f1e-0c44-4a1c-9df5-6c1d7b1f2a10", "filesystem_name": "data"}
PAGE = "<!DOCTYPE html>\n<html><body>Welcome to the <b>router</b></body></html>"


@pytest.fixture
def attempt(tmp_path):
    """Runs a command that asks a ScriptedServer for the filesystems: it lists them or tries to mount one."""
    def attempt(script, command, *flags, timeout=60):
        options = dict(endpoint=script.url, api_key=KEY, timeout=timeout)
        if command == "list":
            return tetherfs("filesystems", "list", *flags, **options)
        (tmp_path / "mnt").mkdir(exist_ok=True)
        flags = ["--cache-dir", tmp_path / "cache", *flags]
        return tetherfs("mount", "data", tmp_path / "mnt", *flags, **options)
    return attempt


def each_command(function):
    """Runs a test with both commands, and their status of failure."""
    return pytest.mark.parametrize("command, status", [("list", 1), ("mount", MOUNT_FAILURE)])(function)


@each_command
@pytest.mark.parametrize("body", [
    "", "garbage", "null", "true", "7", "{}", json.dumps(FILESYSTEM), '{"filesystems": []}', "[7]", "[null]", "[[]]",
    '["data"]', '[{"filesystem_id": 7, "filesystem_name": "data"}]', '[{"filesystem_name": "data"}]',
    '[{"filesystem_id": "6a0d6f1e-0c44-4a1c-9df5-6c1d7b1f2a10", "filesystem_name": null}]',
    json.dumps([FILESYSTEM])[:-1], "[" * 100_000, b"\xff\xfe\xfd", b"[]\x00\x00garbage",
], ids=lambda body: repr(body[:30]))
def test_an_answer_that_is_not_the_json_of_the_api(attempt, command, status, body):
    with ScriptedServer(lambda *_: answer(200, body)) as script:
        fails(attempt(script, command), script.url, "does not answer like the Filesystems API", status=status)
        assert len(script.requests) == 1


@each_command
@pytest.mark.parametrize("content_type", ["text/html", "application/json", ""])
def test_a_page_in_place_of_the_service(attempt, command, status, content_type):
    with ScriptedServer(lambda *_: answer(200, PAGE, f"Content-Type: {content_type}")) as script:
        fails(attempt(script, command), script.url, "HTML", "is the endpoint right?", status=status)


@each_command
def test_a_page_that_says_404(attempt, command, status):
    with ScriptedServer(lambda *_: answer(404, PAGE)) as script:
        result = fails(attempt(script, command), script.url, "is the endpoint right?", status=status)
        assert "<" not in result.stderr


@each_command
@pytest.mark.parametrize("number", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_the_key_goes_nowhere_else(attempt, command, status, number):
    with ScriptedServer(lambda *_: answer(200, json.dumps([FILESYSTEM]))) as elsewhere:
        with ScriptedServer(lambda *_: answer(number, "", f"Location: {elsewhere.url}/filesystems")) as script:
            fails(attempt(script, command), script.url, "redirect", "is the endpoint right?", status=status)
            assert len(script.requests) == 1
        assert elsewhere.requests == []


@each_command
@pytest.mark.parametrize("number", [500, 502, 503, 504, 408, 429])
def test_an_answer_that_may_be_better_later_is_asked_for_again_and_then_told(attempt, command, status, number):
    with ScriptedServer(lambda *_: answer(number, "the database is away\nline two\n")) as script:
        result = attempt(script, command, "--retries", "2")
        fails(result, "cannot reach", script.url, f"{number}: the database is away\n", status=status)
        assert len(script.requests) == 3
        assert {request[:2] for request in script.requests} == {("GET", "/v1/filesystems")}


def test_a_server_that_recovers_in_time_is_waited_for(attempt):
    answers = [answer(503), answer(500), answer(200, json.dumps([FILESYSTEM]))]
    with ScriptedServer(lambda *_: answers.pop(0)) as script:
        result = attempt(script, "list")
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout == "{filesystem_id}  {filesystem_name}\n".format(**FILESYSTEM)


@each_command
@pytest.mark.parametrize("number, words", [
    (400, ["refused the call (status 400): no"]), (405, ["refused the call (status 405): no"]),
    (418, ["refused the call (status 418): no"]), (501, ["501: no"]), (299, []), (999, ["999"]),
])
def test_a_status_that_no_repetition_changes_is_told_at_once(attempt, command, status, number, words):
    with ScriptedServer(lambda *_: answer(number, "no\n")) as script:
        fails(attempt(script, command), *words, status=status)
        assert len(script.requests) == 1


@each_command
@pytest.mark.parametrize("data", [
    b"", b"garbage\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 2",
    answer(200, json.dumps([FILESYSTEM])[:10], length=1000),
], ids=["nothing", "garbage", "ssh", "half a status", "half a body"])
def test_an_answer_that_breaks_off_or_is_no_http(attempt, command, status, data):
    with ScriptedServer(lambda *_: data) as script:
        fails(attempt(script, command, "--retries", "1"), "cannot reach", script.url, status=status)
        assert len(script.requests) == 2


@each_command
def test_a_server_that_is_silent_is_given_up_after_the_time_limit(attempt, command, status):
    end = threading.Event()
    with ScriptedServer(lambda *_: end.wait(60) and b"") as script:
        try:
            result = attempt(script, command, "--request-timeout", "0.5", "--retries", "1")
            fails(result, "cannot reach", script.url, "no answer in time", status=status)
            assert len(script.requests) == 2
        finally:
            end.set()


def test_an_endless_answer_is_refused(attempt):
    def endless(*_):
        yield answer(200, b"[", length=1 << 40)
        while True:
            yield b" " * (1 << 20)

    with ScriptedServer(endless) as script:
        fails(attempt(script, "list", "--retries", "0"), script.url, "larger than any should be")


@each_command
@pytest.mark.parametrize("number", [200, 302, 400, 418, 500])
def test_a_server_that_sends_the_key_back_does_not_get_it_shown(attempt, command, status, number):
    with ScriptedServer(lambda _, path, headers: answer(number, f"your key {headers['Authorization']}")) as script:
        for level in ("error", "trace"):
            result = attempt(script, command, "--retries", "0", "--log-level", level)
            assert result.returncode == status
            assert KEY not in result.stdout + result.stderr
        assert all(headers["Authorization"] == KEY for _, _, headers in script.requests)


@each_command
def test_control_characters_of_a_server_do_not_reach_the_terminal(attempt, command, status):
    evil = "\x1b[2J\x07a\u202eb\nc\u2028"
    with ScriptedServer(lambda *_: answer(400, evil)) as script:
        text = fails(attempt(script, command), status=status).stderr.rstrip("\n")
        assert text.isprintable()
    listed = [dict(FILESYSTEM, filesystem_name=evil)]
    with ScriptedServer(lambda *_: answer(200, json.dumps(listed))) as script:
        result = attempt(script, command)
        text = (result.stdout + result.stderr).rstrip("\n")
        assert "\n" not in text and text.isprintable()


def test_an_id_that_would_lead_to_another_place_is_not_used():
    for identifier in ("../filesystems", "a/b", "", ".", "..", "a?b", "a#b", "a%2fb", "a b", "ü"):
        body = json.dumps([{"filesystem_id": identifier, "filesystem_name": "data"}])
        with ScriptedServer(lambda *_: answer(200, body)) as script:
            for command in (["delete", "data", "--yes"], ["share", "data", "--with", "somebody"]):
                result = tetherfs("filesystems", *command, endpoint=script.url, api_key=KEY)
                fails(result, "cannot be used")
            assert {method for method, _, _ in script.requests} == {"GET"}


def test_many_filesystems_are_named_in_a_line_that_can_be_read(attempt):
    many = [dict(FILESYSTEM, filesystem_name=f"name-{index:04}") for index in range(1000)]
    with ScriptedServer(lambda *_: answer(200, json.dumps(many))) as script:
        result = fails(attempt(script, "mount"), "no filesystem 'data'", "name-0000, name-0001", "980 more")
        assert len(result.stderr) < 1000
        result = attempt(script, "list", "--json")
        assert len(json.loads(result.stdout)) == 1000


def test_a_create_whose_answer_was_lost_is_found_out():
    answers = {"POST": [answer(502), answer(409)], "GET": [answer(200, json.dumps([FILESYSTEM]))]}
    with ScriptedServer(lambda method, *_: answers[method].pop(0)) as script:
        result = tetherfs("filesystems", "create", "data", "--json", endpoint=script.url, api_key=KEY)
        assert (result.returncode, result.stderr) == (0, "")
        assert json.loads(result.stdout) == FILESYSTEM
        assert [method for method, _, _ in script.requests] == ["POST", "POST", "GET"]


def test_a_delete_whose_answer_was_lost_is_found_out():
    answers = {"GET": [answer(200, json.dumps([FILESYSTEM]))], "DELETE": [answer(504), answer(404)]}
    with ScriptedServer(lambda method, *_: answers[method].pop(0)) as script:
        result = tetherfs("filesystems", "delete", "data", "--yes", endpoint=script.url, api_key=KEY)
        assert result.returncode == 0
        assert [method for method, _, _ in script.requests] == ["GET", "DELETE", "DELETE"]


def test_a_delete_that_the_server_does_not_know_fails():
    answers = {"GET": [answer(200, json.dumps([FILESYSTEM]))], "DELETE": [answer(404)]}
    with ScriptedServer(lambda method, *_: answers[method].pop(0)) as script:
        fails(tetherfs("filesystems", "delete", "data", "--yes", endpoint=script.url, api_key=KEY))
