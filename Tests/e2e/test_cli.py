"""What every command says to wrong flags, wrong keys and wrong places, and its help."""

import os
import pathlib
import re
import signal
import subprocess

import pytest

from clikit import (
    MOUNT_FAILURE, as_user, closed_port, environment, fails, filesystem_names, open_directory, private, tetherfs,
)
from serverkit import Server, binary, poll

COMMANDS = [
    [], ["mount"], ["unmount"], ["flush"], ["status"], ["list"], ["stats"], ["log-level"], ["doctor"], ["filesystems"],
    ["filesystems", "list"], ["filesystems", "create"], ["filesystems", "delete"], ["filesystems", "share"],
    ["cp"], ["ls"], ["mkdir"], ["rm"], ["du"],
    ["recover"], ["recover", "list"], ["recover", "restore"], ["recover", "discard"],
    ["config"], ["config", "show"], ["login"], ["logout"],
]


@pytest.fixture(scope="module")
def server():
    with Server() as server:
        yield server


def mount(directory, *arguments, **options):
    """Tries a mount that must not come to be."""
    return tetherfs("mount", "data", directory, "--cache-dir", f"{directory}.cache", *arguments, **options)


# Keys.


def test_a_wrong_key_and_one_that_may_not_are_told_apart(lone, tmp_path):
    lone.create_filesystem("a")
    other = lone.add_user("other")
    assert tetherfs("filesystems", "share", "a", "--with", other["user_id"], server=lone).returncode == 0
    delete = ["filesystems", "delete", "a", "--yes"]
    fails(tetherfs(*delete, server=lone, api_key="wrong-key-0123"), "refused the API key", "ET_ENGINE_API_KEY")
    fails(tetherfs(*delete, server=lone, api_key=other["api_key"]), "does not allow", "ET_ENGINE_API_KEY")
    key = private(tmp_path / "key")
    key.write_text("wrong-key-0123\n")
    fails(tetherfs(*delete, "--api-key-file", key, server=lone), "refused the API key", str(key))
    (tmp_path / "mnt").mkdir()
    refused = mount(tmp_path / "mnt", "--api-key-file", key, server=lone)
    fails(refused, "refused the API key", str(key), status=MOUNT_FAILURE)
    assert filesystem_names(lone) == ["a"]


def test_the_key_is_taken_from_a_file_with_white_space_around_it(server, tmp_path):
    key = private(tmp_path / "a key")
    key.write_text(f"\n {server.api_key} \r\n")
    env = environment(endpoint=server.url)
    assert tetherfs("filesystems", "list", "--api-key-file", key, env=env).returncode == 0
    assert tetherfs("filesystems", "list", env={**env, "TETHERFS_API_KEY_FILE": str(key)}).returncode == 0
    # A file goes before the key itself; a relative path is one from here.
    env["ET_ENGINE_API_KEY"] = "wrong-key-0123"
    assert tetherfs("filesystems", "list", "--api-key-file", "a key", env=env, cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("command", ["filesystems", "mount"])
def test_a_key_that_is_none_says_where_it_was_taken_from(server, tmp_path, command):
    def attempt(*flags, **variables):
        env = environment(endpoint=server.url, **variables)
        if command == "mount":
            return mount(directory, *flags, env=env)
        return tetherfs("filesystems", "list", *flags, env=env)

    directory = tmp_path / "mnt"
    directory.mkdir()
    before = len(server.requests_log())
    fails(attempt(), "--api-key-file", "TETHERFS_API_KEY_FILE", "ET_ENGINE_API_KEY")
    fails(attempt(ET_ENGINE_API_KEY=""), "no API key")
    fails(attempt(ET_ENGINE_API_KEY="two words"), "more than one word")
    key = tmp_path / "key"
    fails(attempt("--api-key-file", key), str(key), "No such file")
    fails(attempt(TETHERFS_API_KEY_FILE=str(key)), str(key), "No such file")
    fails(attempt("--api-key-file", tmp_path), str(tmp_path), "Is a directory")
    fails(attempt("--api-key-file", ""), "--api-key-file")
    private(key)
    for content, word in ((b"", "empty"), (b" \n", "empty"), (b"a b\n", "more than one word"), (b"a\nb\n", "word"),
                          (b"a\x00b", "characters"), ("ü".encode(), "characters"), (b"k" * 20_000, "too large")):
        key.write_bytes(content)
        fails(attempt("--api-key-file", key), str(key), word)
    assert len(server.requests_log()) == before


@pytest.mark.parametrize("command", ["filesystems", "mount"])
@pytest.mark.parametrize("way", ["flag", "-o", "variable", "profile", "credential"])
def test_a_key_file_that_others_can_read_is_refused_with_what_to_run(server, tmp_path, command, way):
    key = private(tmp_path / "api-key")
    key.write_text(server.api_key)
    (tmp_path / "tetherfs").mkdir()
    config = private(tmp_path / "tetherfs" / "config.toml")
    config.write_text(f'[profile.test]\nendpoint = "{server.url}"\napi-key-file = "{key}"\n')
    flags, variables = {
        "flag": (["--api-key-file", key], {}), "-o": (["-o", f"api_key_file={key}"], {}),
        "variable": ([], {"TETHERFS_API_KEY_FILE": str(key)}), "profile": (["--profile", "test"], {}),
        "credential": ([], {"CREDENTIALS_DIRECTORY": str(tmp_path)}),
    }[way]
    env = environment(endpoint=server.url, **{"XDG_CONFIG_HOME": str(tmp_path), **variables})
    (tmp_path / "mnt").mkdir()

    def attempt():
        if command == "mount":
            return mount(tmp_path / "mnt", *flags, env=env)
        return tetherfs("filesystems", "list", *(flags if way != "-o" else ["--api-key-file", key]), env=env)

    for mode in (0o640, 0o604, 0o644):
        key.chmod(mode)
        line = fails(attempt(), f"{key} can be read by others; run: chmod 600 ").stderr
        subprocess.run(line.split("run: ")[1].split(), check=True)
        # It is used after that, and the mount fails for want of the filesystem alone.
        result = attempt()
        assert result.returncode == 0 if command == "filesystems" else "no filesystem 'data'" in result.stderr


def test_a_command_to_run_is_whole_and_fit_to_be_pasted_whatever_the_path(server, tmp_path):
    folder = tmp_path / ("it's a $HOME " + "x" * 200)
    folder.mkdir()
    key = private(folder / "key")
    key.write_text(server.api_key)
    key.chmod(0o644)
    command = ["filesystems", "list", "--api-key-file", key]
    env = environment(endpoint=server.url)
    line = fails(tetherfs(*command, env=env), "can be read by others; run: chmod 600 ").stderr
    subprocess.run(["sh", "-c", line.split("run: ")[1]], check=True)
    assert tetherfs(*command, env=env).returncode == 0
    line = fails(mount(folder / "mnt", server=server), "does not exist; make it with: mkdir -p ", status=32).stderr
    subprocess.run(["sh", "-c", line.split("with: ")[1]], check=True)
    assert (folder / "mnt").is_dir()


def test_an_unreadable_key_file_is_named(server):
    with open_directory() as directory:
        key = directory / "key"
        key.write_text(server.api_key)
        key.chmod(0)
        env = environment(endpoint=server.url, TETHERFS_API_KEY_FILE=str(key))
        fails(tetherfs("filesystems", "list", env=env, prefix=as_user()), str(key), "Permission denied")


def test_the_key_is_in_no_command_line_no_output_and_no_log(lone):
    lone.create_filesystem("a")
    outputs = []
    for arguments in (["list"], ["list", "--json"], ["create", "b"], ["create", "b"], ["delete", "c", "--yes"]):
        for level in ("trace", "debug", "error"):
            result = tetherfs("filesystems", *arguments, "--log-level", level, server=lone)
            outputs += [result.stdout, result.stderr]
    # No flag takes the key itself, and who tries does not see it repeated.
    for flag in ("--api-key", "--key", "--token"):
        for arguments in ([flag, lone.api_key], [f"{flag}={lone.api_key}"]):
            result = tetherfs("filesystems", "list", *arguments, server=lone)
            assert result.returncode != 0
            outputs += [result.stdout, result.stderr]
    assert not any(lone.api_key in output for output in outputs)
    assert lone.api_key not in lone.stderr() + open(lone.access_log).read()


def test_the_key_is_not_in_the_process_list(lone):
    """While a command waits for a server that is silent."""
    lone.process.send_signal(signal.SIGSTOP)
    try:
        command = [binary("tetherfs"), "filesystems", "list", "--retries", "0"]
        process = subprocess.Popen(command, env=environment(lone), stderr=subprocess.DEVNULL)
        try:
            ids = poll(lambda: _tasks_of(process.pid, "socket:"), what="connection")
            for identifier in ids:
                assert lone.api_key.encode() not in open(f"/proc/{identifier}/cmdline", "rb").read()
                assert lone.api_key.encode() not in open(f"/proc/{identifier}/comm", "rb").read()
        finally:
            process.kill()
            process.wait()
    finally:
        lone.process.send_signal(signal.SIGCONT)


def _tasks_of(process, kind):
    """The process and its children once one of them has a descriptor of that kind."""
    children = open(f"/proc/{process}/task/{process}/children").read().split()
    ids = [str(process), *children]
    for identifier in ids:
        for descriptor in os.scandir(f"/proc/{identifier}/fd"):
            if os.readlink(descriptor.path).startswith(kind):
                return ids
    return None


# Endpoints.


@pytest.mark.parametrize("endpoint", [
    "", "garbage", "ftp://host", "http://", "http://:80", "https://host/a b", "http://joe:secret@host/v1",
    "http://host/?a=b", "http://host/#a", "http://hö", "file:///etc/passwd", "//host",
])
def test_an_endpoint_that_is_no_url_of_a_host_is_refused(server, endpoint):
    result = fails(tetherfs("filesystems", "list", "--endpoint", endpoint, server=server), "--endpoint", "URL")
    assert "secret" not in result.stderr
    if endpoint:
        fails(tetherfs("filesystems", "list", server=server, endpoint=endpoint), "TETHERFS_ENDPOINT", "URL")


def test_a_server_that_cannot_be_reached_is_named(server, tmp_path):
    (tmp_path / "mnt").mkdir()
    for endpoint, words in (
        (f"http://127.0.0.1:{closed_port()}/v1", ["connect"]),
        ("https://no.such.host.invalid/v1", ["resolve", "no.such.host.invalid"]),
        (server.url.replace("http:", "https:"), ["SSL"]),
    ):
        for retries in ("0", "2"):
            flags = ["--endpoint", endpoint, "--retries", retries]
            fails(tetherfs("filesystems", "list", *flags, server=server), "cannot reach", endpoint, *words)
        fails(mount(tmp_path / "mnt", *flags, server=server), "cannot reach", endpoint, *words, status=MOUNT_FAILURE)


def test_a_path_at_the_server_where_no_api_is_says_that_the_endpoint_may_be_wrong(server, tmp_path):
    (tmp_path / "mnt").mkdir()
    endpoint = server.url + "/elsewhere"
    fails(tetherfs("filesystems", "list", server=server, endpoint=endpoint), endpoint, "is the endpoint right?")
    result = mount(tmp_path / "mnt", server=server, endpoint=endpoint)
    fails(result, endpoint, "is the endpoint right?", status=MOUNT_FAILURE)


def test_slashes_at_the_end_of_the_endpoint_do_not_matter(server):
    assert tetherfs("filesystems", "list", server=server, endpoint=server.url + "//").returncode == 0


# Flags and help.


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_of_a_command_is_on_standard_output(command):
    result = tetherfs(*command, "--help", env=environment())
    assert (result.returncode, result.stderr) == (0, "")
    assert "USAGE: tetherfs" in result.stdout
    result = tetherfs("help", *command, env=environment())
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("typed, line", [
    (["umount", "/x"], "no command 'umount'; did you mean unmount?; see: tetherfs --help"),
    (["mont", "data", "x"], "no command 'mont'; did you mean mount?; see: tetherfs --help"),
    (["frobnicate"], "no command 'frobnicate'; see: tetherfs --help"),
    (["filesystems", "lst"], "no command 'lst'; did you mean list?; see: tetherfs filesystems --help"),
    (["config", "shw"], "no command 'shw'; did you mean show?; see: tetherfs config --help"),
    (["watch"], "no command 'watch'; see: tetherfs --help"),
    (["filesystems", "share"], "Missing expected argument '<name>'; see: tetherfs filesystems share --help"),
    (["--bogus"], "Unknown option '--bogus'; see: tetherfs --help"),
    (["status", "--bogus"], "Unknown option '--bogus'; see: tetherfs status --help"),
])
def test_a_mistyped_command_names_the_one_that_was_meant_or_its_own_help(typed, line):
    assert fails(tetherfs(*typed, env=environment())).stderr == f"tetherfs: {line}\n"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_of_a_command_fits_a_screen_and_has_an_example(command):
    lines = tetherfs(*command, "--help", env=environment()).stdout.rstrip("\n").split("\n")
    assert [line for line in lines if len(line) > 80] == []
    assert len(lines) <= 40
    assert any(re.fullmatch("Examples?(,.*)?:", line) for line in lines)
    assert any(line.startswith(" ".join(["  tetherfs", *command])) for line in lines)


def test_every_command_is_among_those_whose_help_is_looked_at():
    def subcommands(*command):
        text = tetherfs(*command, "--help", env=environment()).stdout.partition("SUBCOMMANDS:\n")[2]
        return [[*command, name] for name in re.findall(r"^  (\S+)(?=  )", text, re.MULTILINE)]
    top = subcommands()
    assert top and sorted(COMMANDS[1:]) == sorted(top + [below for name in top for below in subcommands(*name)])


def test_the_manual_page_has_every_option():
    text = "".join(tetherfs(*command, "--help-hidden", env=environment()).stdout for command in COMMANDS)
    flags = set(re.findall(r"^  (?:-\S, )?(--[a-z-]+)", text, re.MULTILINE))
    page = (pathlib.Path(__file__).parents[2] / "man" / "tetherfs.1").read_text().replace("\\-", "-")
    assert len(flags) > 40
    assert {flag for flag in flags if not re.search(rf"\\fB{flag}\\fR", page)} == set()


@pytest.mark.parametrize("arguments, word", [
    (["--bogus"], "--bogus"), (["bogus"], "bogus"), (["filesystems", "bogus"], "bogus"),
    (["filesystems", "list", "--bogus"], "--bogus"), (["filesystems", "list", "more"], "more"),
    (["filesystems", "create"], "name"), (["filesystems", "share", "a"], "--with"),
    (["filesystems", "list", "--retries"], "--retries"), (["mount"], "filesystem"), (["mount", "data"], "mountpoint"),
    (["mount", "data", "/", "more"], "more"), (["mount", "data", "/", "--bogus"], "--bogus"),
    (["mount", "data", "/", "-x"], "-x"), (["mount", "data", "/", "--umask"], "--umask"), (["unmount"], "mountpoint"),
    (["unmount", "/", "--bogus"], "--bogus"),
], ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_a_mistake_in_the_command_line_is_named_in_one_line(server, arguments, word):
    fails(tetherfs(*arguments, server=server), word)


@pytest.mark.parametrize("flags, words", [
    (["--retries", "x"], ["--retries", "'x'"]), (["--retries", "-1"], ["--retries"]),
    (["--retries", "1.5"], ["--retries"]), (["--request-timeout", "0"], ["--request-timeout", "above 0"]),
    (["--request-timeout", "nan"], ["--request-timeout"]), (["--request-timeout", "1e99"], ["--request-timeout"]),
    (["--log-level", "loud"], ["--log-level", "'loud'", "debug"]),
], ids=lambda value: "".join(value))
def test_a_value_that_cannot_be_is_named_by_every_command_that_takes_it(server, tmp_path, flags, words):
    (tmp_path / "mnt").mkdir()
    flags = [f"{flags[0]}={flags[1]}"]
    fails(tetherfs("filesystems", "list", *flags, server=server), *words)
    fails(mount(tmp_path / "mnt", *flags, server=server), *words)
