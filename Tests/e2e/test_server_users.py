"""The `user` commands, most of them beside a running server."""

import json
import os
import re
import sqlite3
import stat
import uuid

import pytest
import requests

from servercalls import Calls
from serverkit import REPOSITORY, Server, poll, run


@pytest.fixture(scope="module")
def server():
    with Server() as server:
        yield server


def status(server, key):
    return requests.get(server.url + "/filesystems", headers={"Authorization": key}).status_code


def fails(result, *words):
    """Failed with one line on standard error that has those words in it, and without a trace."""
    assert result.returncode != 0
    assert result.stdout == ""
    assert result.stderr.startswith("tetherfs-server: ") and result.stderr.count("\n") == 1, result.stderr
    for word in words:
        assert word in result.stderr
    return True


def test_a_user_works_the_moment_it_is_added(server):
    for index in range(10):
        user = server.add_user(f"quick-{index}")
        assert status(server, user["api_key"]) == 200
        assert str(uuid.UUID(user["user_id"])) == user["user_id"]
        assert user["user_name"] == f"quick-{index}"


def test_plain_output_has_the_id_and_the_key(server):
    result = run("user", "add", "plain", "--data-dir", server.data_dir)
    lines = dict(line.split(": ") for line in result.stdout.splitlines())
    assert status(server, lines["api key"]) == 200
    assert uuid.UUID(lines["user id"])


def test_keys_are_random_and_not_stored(server):
    keys = [server.add_user(f"key-{index}")["api_key"] for index in range(3)]
    assert len(set(keys)) == 3
    for key in keys:
        assert key.startswith("tetherfs_") and len(key) == len("tetherfs_") + 43
    for name in os.listdir(server.data_dir):
        if name.startswith("catalogue"):
            with open(os.path.join(server.data_dir, name), "rb") as file:
                content = file.read()
            assert not any(key[9:].encode() in content for key in keys)


def test_an_existing_key_is_taken_from_a_file(server, tmp_path):
    file = tmp_path / "key"
    file.write_text("an-existing-key-0123456789\n")
    assert server.add_user("existing", timeout=30)
    result = run("user", "add", "brought", "--data-dir", server.data_dir, "--json", "--api-key-file", file)
    assert json.loads(result.stdout)["api_key"] == "an-existing-key-0123456789"
    assert status(server, "an-existing-key-0123456789") == 200
    assert fails(run("user", "add", "again", "--data-dir", server.data_dir, "--api-key-file", file), "key")
    for bad in ("", "short", "with space in the middle", "ü" * 20, "x" * 600):
        file.write_text(bad)
        assert fails(run("user", "add", "bad", "--data-dir", server.data_dir, "--api-key-file", file), str(file))
    assert fails(run("user", "add", "bad", "--data-dir", server.data_dir, "--api-key-file", tmp_path / "no"), "no")


def test_names_are_unique_and_plain(server):
    server.add_user("unique")
    assert fails(run("user", "add", "unique", "--data-dir", server.data_dir), "unique")
    for bad in ("", "x" * 256, "a\nb"):
        assert run("user", "add", "--data-dir", server.data_dir, "--", bad).returncode != 0


def test_list(server):
    user = server.add_user("listed")
    result = run("user", "list", "--data-dir", server.data_dir, "--json")
    entries = json.loads(result.stdout)
    assert {"user_id": user["user_id"], "user_name": "listed"} in entries
    assert [entry["user_name"] for entry in entries] == sorted(entry["user_name"] for entry in entries)
    plain = run("user", "list", "--data-dir", server.data_dir).stdout
    assert f"{user['user_id']}  listed\n" in plain
    assert user["api_key"] not in result.stdout + plain


def test_a_removed_user_is_out_within_a_second(server):
    user = server.add_user("leaver")
    assert status(server, user["api_key"]) == 200
    assert run("user", "remove", "leaver", "--data-dir", server.data_dir).returncode == 0
    poll(lambda: status(server, user["api_key"]) == 401, timeout=1, what="401")
    assert fails(run("user", "remove", "leaver", "--data-dir", server.data_dir), "leaver")
    assert status(server, server.add_user("leaver")["api_key"]) == 200


def test_a_rotated_key_ends_within_a_second(server):
    user = server.add_user("rotator")
    assert status(server, user["api_key"]) == 200
    result = run("user", "rotate-key", "rotator", "--data-dir", server.data_dir, "--json")
    fresh = json.loads(result.stdout)
    assert fresh["user_id"] == user["user_id"] and fresh["api_key"] != user["api_key"]
    assert status(server, fresh["api_key"]) == 200
    poll(lambda: status(server, user["api_key"]) == 401, timeout=1, what="401")
    assert fails(run("user", "rotate-key", "nobody", "--data-dir", server.data_dir), "no such user")


def test_who_owns_filesystems_is_not_removed_by_mistake(server):
    user = server.add_user("owner")
    calls = Calls(server, server.create_filesystem("precious", user["api_key"]), user["api_key"])
    calls.mkdir("d")
    calls.write("d/f", b"x")
    assert fails(run("user", "remove", "owner", "--data-dir", server.data_dir), "precious", "--delete-filesystems")
    assert calls.content("d/f") == b"x"
    assert run("user", "remove", "owner", "--delete-filesystems", "--data-dir", server.data_dir).returncode == 0
    poll(lambda: status(server, user["api_key"]) == 401, timeout=1, what="401")
    assert not server.tree(calls.filesystem).exists()
    assert os.listdir(os.path.join(server.data_dir, "removed")) == []


def test_a_removed_user_is_shared_with_no_more(server):
    user = server.add_user("guest")
    calls = Calls(server, server.create_filesystem("for-guests"))
    assert calls.call("POST", "/share", json={"grantee": user["user_id"]}).status_code == 200
    assert run("user", "remove", "guest", "--data-dir", server.data_dir).returncode == 0
    poll(
        lambda: calls.call("POST", "/share", json={"grantee": user["user_id"]}).status_code == 400,
        timeout=1,
        what="400",
    )


def test_bad_command_lines(tmp_path):
    data = tmp_path / "data"
    for arguments in (
        ["user", "add", "--data-dir", data], ["user", "add", "a"], ["user", "bogus"], ["bogus"], ["--bogus"],
        ["user", "list", "--data-dir", data], ["user", "remove", "a", "--data-dir", data],
        ["user", "rotate-key", "a", "--data-dir", data],
    ):
        assert fails(run(*arguments))
    assert not data.exists()


COMMANDS = [
    [], ["serve"], ["user"], ["user", "add"], ["user", "list"], ["user", "remove"], ["user", "rotate-key"],
]


def test_help_is_not_an_error():
    for arguments in ["user"], [], *([*command, "--help"] for command in COMMANDS):
        result = run(*arguments)
        assert (result.returncode, result.stderr) == (0, ""), arguments
        assert "USAGE" in result.stdout


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_of_a_command_fits_a_screen_and_has_an_example(command):
    lines = run(*command, "--help").stdout.rstrip("\n").split("\n")
    assert [line for line in lines if len(line) > 80] == []
    assert len(lines) <= 40
    assert any(line.startswith(" ".join(["  tetherfs-server", *command])) for line in lines)


def test_the_manual_page_has_every_option():
    text = "".join(run(*command, "--help").stdout for command in COMMANDS)
    flags = set(re.findall(r"^  (?:-\S, )?(--[a-z-]+)", text, re.MULTILINE))
    page = (REPOSITORY / "man/tetherfs-server.1").read_text().replace("\\-", "-")
    assert len(flags) > 9 and {flag for flag in flags if not re.search(rf"\\fB{flag}\\fR", page)} == set()


def test_the_data_directory_is_private(tmp_path):
    assert run("user", "add", "a", "--data-dir", tmp_path / "data").returncode == 0
    assert stat.S_IMODE(os.stat(tmp_path / "data").st_mode) == 0o700


def test_unusable_data_directories(tmp_path):
    def both(path, *words):
        assert fails(run("user", "add", "a", "--data-dir", path), *words)
        assert fails(run("serve", "--listen", "127.0.0.1:0", "--data-dir", path), *words)

    (tmp_path / "file").write_text("x")
    both(tmp_path / "file", str(tmp_path / "file"))
    both(tmp_path / "missing" / "data", "missing")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("x")
    both(tmp_path / "other", "neither empty")
    assert os.listdir(tmp_path / "other") == ["thesis.txt"]

    run("user", "add", "a", "--data-dir", tmp_path / "newer")
    (tmp_path / "newer" / "format").write_text("tetherfs-server data 2\n")
    both(tmp_path / "newer", "another version")

    run("user", "add", "a", "--data-dir", tmp_path / "broken")
    for name in os.listdir(tmp_path / "broken"):
        if name.startswith("catalogue"):
            (tmp_path / "broken" / name).write_bytes(b"garbage" * 1000)
    both(tmp_path / "broken", "catalogue")

    run("user", "add", "a", "--data-dir", tmp_path / "foreign")
    for name in os.listdir(tmp_path / "foreign"):
        if name.startswith("catalogue"):
            os.unlink(tmp_path / "foreign" / name)
    with sqlite3.connect(tmp_path / "foreign" / "catalogue.sqlite") as database:
        database.execute("CREATE TABLE users (other TEXT)")
    both(tmp_path / "foreign", "catalogue")
