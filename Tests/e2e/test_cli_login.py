"""`tetherfs login` and `tetherfs logout`: what they ask, check, store, and never show."""

import os
import pathlib
import re
import signal

import pytest

from clikit import ScriptedServer, answer, at_terminal, environment, fails, private, tetherfs
from mountkit import check, run, small_disk
from serverkit import Server, binary


@pytest.fixture(scope="module")
def server():
    with Server() as server:
        server.create_filesystem("data")
        yield server


@pytest.fixture
def home(tmp_path):
    """The environment of a user without any configuration."""
    return environment(HOME=str(tmp_path), XDG_CONFIG_HOME="")


def folder(home):
    return pathlib.Path(home["HOME"]) / ".config" / "tetherfs"


def login(home, key, *flags):
    """Logs in with the key on standard input."""
    read_end, write_end = os.pipe()
    os.write(write_end, key.encode())
    os.close(write_end)
    with open(read_end) as stdin:
        return run([binary("tetherfs"), "login", *flags], env=home, stdin=stdin)


def works(result):
    assert result.returncode == 0, result
    return result


def lists(home, *flags):
    return "data" in works(tetherfs("filesystems", "list", *flags, env=home)).stdout


def modes(directory):
    return {path.name: oct(path.stat().st_mode & 0o777) for path in [directory, *directory.iterdir()]}


def test_login_at_a_terminal_asks_for_endpoint_and_key_and_shows_no_key(server, home):
    status, screen = at_terminal("login", typed=[server.url + "\n", server.api_key + "\n"], env=home)
    assert status == 0, screen
    assert "Endpoint [https://api.exploretech.ai/v1]: " in screen and "API key (not shown): " in screen
    assert server.api_key not in screen
    assert f"the key is in {folder(home)}/default.key" in screen
    assert modes(folder(home)) == {"tetherfs": "0o700", "default.key": "0o600", "config.toml": "0o600"}
    assert (folder(home) / "config.toml").read_text() == (
        f'[profile.default]\nendpoint = "{server.url}"\napi-key-file = "default.key"\n'
    )
    # Nothing more is needed after that.
    assert lists(home)
    # Who only presses Enter keeps the endpoint.
    status, screen = at_terminal("login", typed=["\n", server.api_key + "\n"], env=home)
    assert status == 0 and f"Endpoint [{server.url}]: " in screen


def test_login_takes_the_key_from_standard_input_and_the_rest_from_flags(server, home):
    result = works(login(home, f" {server.api_key}\n", "--profile", "work", "--endpoint", server.url, "--retries", "2"))
    assert result.stdout == "" and "--profile work" in result.stderr and server.api_key not in result.stderr
    assert lists(home, "--profile", "work")
    assert "retries = 2\n" in (folder(home) / "config.toml").read_text()
    fails(tetherfs("filesystems", "list", env=home), "no API key")


def test_login_changes_its_profile_and_leaves_all_else_in_the_file(server, home):
    folder(home).mkdir(parents=True, mode=0o755)
    path = private(folder(home) / "config.toml")
    text = (
        '# mine\ndefault-profile = "work"  # this one\n\n[profile.other]\nretries = 1\n\n'
        '[profile.work]\nendpoint = "http://old/v1" # where\nAPI_KEY = 1\n\n# the end\n'
    )
    path.write_text(text)
    fails(login(home, server.api_key), "config.toml:9: unknown key API_KEY")
    text = text.replace("API_KEY = 1", 'api_key_file = "old"')
    path.write_text(text)
    works(login(home, server.api_key, "--endpoint", server.url))
    assert path.read_text() == text.replace("http://old/v1", server.url).replace('"old"', '"work.key"')
    assert modes(folder(home)) == {"tetherfs": "0o700", "work.key": "0o600", "config.toml": "0o600"}
    assert lists(home)


def test_a_configuration_that_is_a_link_stays_one(server, home, tmp_path):
    folder(home).mkdir(parents=True)
    private(tmp_path / "dotfile").write_text("[profile.default]\nretries = 1\n")
    (folder(home) / "config.toml").symlink_to(tmp_path / "dotfile")
    works(login(home, server.api_key, "--endpoint", server.url))
    assert (folder(home) / "config.toml").is_symlink()
    assert 'api-key-file = "default.key"' in (tmp_path / "dotfile").read_text()
    # A path is from the directory that the file is asked for in.
    assert lists(home)


def test_a_key_that_the_service_refuses_is_not_stored(server, home):
    result = fails(login(home, "wrong-key-0123", "--endpoint", server.url), "the server refused the API key")
    assert "wrong-key-0123" not in result.stderr
    fails(login(home, server.api_key, "--endpoint", "http://127.0.0.1:1/v1", "--retries", "0"), "cannot reach")
    with ScriptedServer(lambda *_: answer(200, "<html>")) as script:
        fails(login(home, server.api_key, "--endpoint", script.url), "does not answer like the Filesystems API")
    assert not folder(home).exists()
    # Nor does it take the place of one that is good.
    works(login(home, server.api_key, "--endpoint", server.url))
    fails(login(home, "wrong-key-0123"), "the server refused the API key")
    assert lists(home)


@pytest.mark.parametrize("key, words", [
    ("", "no API key: nothing was stored"), (" \n", "no API key"), ("two words", "more than one word"),
    ("ü-0123456789", "characters that no key has"),
])
def test_what_is_no_key_is_refused_before_anything_is_sent(server, home, key, words):
    before = len(server.requests_log())
    result = fails(login(home, key, "--endpoint", server.url), words)
    assert "two words" not in result.stderr
    assert len(server.requests_log()) == before and not folder(home).exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_at_the_question_for_the_key_stores_nothing_and_leaves_the_terminal_as_it_was(server, home, number):
    def interrupt(process):
        process.send_signal(number)

    status, _ = at_terminal("login", "--endpoint", server.url, typed=interrupt, env=home)
    assert status == -number
    assert not folder(home).exists()


def test_the_end_of_input_at_a_question_stores_nothing(server, home):
    status, screen = at_terminal("login", typed="\x04", env=home)
    assert status == 1 and "nothing was stored" in screen
    status, screen = at_terminal("login", "--endpoint", server.url, typed="\x04", env=home)
    assert status == 1 and "nothing was stored" in screen
    assert not folder(home).exists()


def test_login_says_which_flags_and_names_cannot_be(server, home):
    fails(login(home, "k", "--api-key-file", "/k"), "leave --api-key-file out")
    fails(login(home, "k", "--profile", "a b"), "--profile", "letters, digits")
    fails(login(home, "k", "--profile", "../x"), "--profile", "letters, digits")
    fails(login(home, "k", "--endpoint", "ftp://x"), "--endpoint must be a URL")
    fails(login({**home, "HOME": "relative", "XDG_CONFIG_HOME": "x"}, "k", "--endpoint", server.url), status=1)
    assert not folder(home).exists()


def test_login_warns_before_the_key_goes_over_an_open_line(server, home):
    result = login(home, server.api_key, "--endpoint", "http://localhost.invalid/v1", "--retries", "0")
    assert result.returncode == 1 and "is not encrypted" in result.stderr.splitlines()[0]


def test_the_key_is_in_no_command_line_and_no_file_but_its_own(server, home):
    works(login(home, server.api_key, "--endpoint", server.url, "--log-level", "trace"))
    holders = [path.name for path in pathlib.Path(home["HOME"]).rglob("*")
               if path.is_file() and server.api_key in path.read_text()]
    assert holders == ["default.key"]


def test_logout_removes_the_key_and_leaves_the_profile(server, home):
    works(login(home, server.api_key, "--endpoint", server.url))
    result = works(tetherfs("logout", env=home))
    assert result.stderr == f"tetherfs: removed {folder(home)}/default.key\n"
    assert sorted(os.listdir(folder(home))) == ["config.toml"]
    assert (folder(home) / "config.toml").read_text() == f'[profile.default]\nendpoint = "{server.url}"\n'
    fails(tetherfs("filesystems", "list", env=home), "no API key: store it with tetherfs login")
    fails(tetherfs("logout", env=home), "profile default has no key in")
    works(login(home, server.api_key))
    assert lists(home)


@pytest.fixture
def unwritable_configuration(server, home, tmp_path):
    """A profile with a key, whose file is a link to one on a disk that cannot be written to."""
    works(login(home, server.api_key, "--endpoint", server.url))
    disk, path = tmp_path / "disk", folder(home) / "config.toml"
    disk.mkdir()
    with small_disk(disk, "1M"):
        (disk / "config.toml").write_text(path.read_text())
        path.unlink()
        path.symlink_to(disk / "config.toml")
        check(["mount", "-o", "remount,ro", disk])
        yield


def test_a_logout_that_cannot_write_the_configuration_leaves_the_key_too(unwritable_configuration, home):
    fails(tetherfs("logout", env=home), "cannot write")
    assert lists(home)


def test_a_login_elsewhere_that_cannot_write_the_configuration_leaves_the_key_of_here(unwritable_configuration, home):
    """The profile would send the other service's key to the one that it has been for."""
    with ScriptedServer(lambda *_: answer(200, "[]")) as elsewhere:
        fails(login(home, "the-key-of-elsewhere", "--endpoint", elsewhere.url), "cannot write")
    assert lists(home)


def test_a_login_elsewhere_leaves_one_key_which_a_logout_removes(server, home):
    works(login(home, server.api_key, "--endpoint", server.url))
    with ScriptedServer(lambda *_: answer(200, "[]")) as elsewhere:
        works(login(home, "the-key-of-elsewhere", "--endpoint", elsewhere.url))
        assert tetherfs("filesystems", "list", env=home).returncode == 0
        assert {headers["Authorization"] for _, _, headers in elsewhere.requests} == {"the-key-of-elsewhere"}
    assert len(list(folder(home).glob("*.key"))) == 1
    works(login(home, server.api_key, "--endpoint", server.url))
    assert lists(home) and len(list(folder(home).glob("*.key"))) == 1
    works(tetherfs("logout", env=home))
    assert sorted(os.listdir(folder(home))) == ["config.toml"]


def test_login_leaves_what_else_is_in_the_directory(server, home):
    folder(home).mkdir(parents=True)
    for name in ("config.toml.new", "default.key.new"):
        (folder(home) / name).write_text("mine")
    works(login(home, server.api_key, "--endpoint", server.url))
    assert {path.read_text() for path in folder(home).glob("*.new")} == {"mine"}
    assert len(list(folder(home).iterdir())) == 4


def test_a_key_that_a_logout_could_not_remove_is_removed_by_the_next(server, home):
    works(login(home, server.api_key, "--endpoint", server.url))
    key, elsewhere = folder(home) / "default.key", folder(home) / "elsewhere"
    key.rename(elsewhere)
    key.mkdir()
    fails(tetherfs("logout", env=home), f"cannot remove {key}")
    key.rmdir()
    elsewhere.rename(key)
    assert works(tetherfs("logout", env=home)).stderr == f"tetherfs: removed {key}\n"
    assert not key.exists()
    fails(tetherfs("logout", env=home), "profile default has no key in")


def test_a_key_file_that_login_did_not_make_is_left_by_logout(server, home):
    folder(home).mkdir(parents=True)
    private(folder(home) / "config.toml").write_text('[profile.default]\napi-key-file = "mine"\n')
    private(folder(home) / "mine").write_text(server.api_key)
    assert "which is not login's" in works(tetherfs("logout", env=home)).stderr
    assert (folder(home) / "mine").read_text() == server.api_key


def test_who_lost_the_key_file_can_log_in_again(server, home):
    works(login(home, server.api_key, "--endpoint", server.url))
    (folder(home) / "default.key").unlink()
    line = fails(tetherfs("filesystems", "list", env=home), "config.toml:3: api-key-file", "there is no such file").stderr
    assert re.search(r"config\.toml:3", line)
    works(login(home, server.api_key))
    assert lists(home)
