"""The command `tetherfs` as a person types it, and what its failures must look like.

    assert tetherfs("filesystems", "list", server=server).returncode == 0
    fails(tetherfs("mount", "nope", directory, server=server), "no filesystem 'nope'", status=32)
"""

import atexit
import contextlib
import fcntl
import functools
import http.server
import json
import os
import pathlib
import pty
import select
import shutil
import socket
import struct
import subprocess
import tempfile
import termios
import threading

import pytest

from mountkit import run
from serverkit import binary, poll

# What mount(8) and systemd take for "nothing was mounted".
MOUNT_FAILURE = 32


def environment(server=None, api_key=None, endpoint=None, **variables):
    """The little that a shell gives, and where the service and the key are."""
    result = {
        "PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8",
        # Not what whoever runs the tests has there.
        "XDG_CONFIG_HOME": "/dev/null",
    }
    if server:
        result["TETHERFS_ENDPOINT"] = server.url
        result["ET_ENGINE_API_KEY"] = server.api_key
    if endpoint:
        result["TETHERFS_ENDPOINT"] = endpoint
    if api_key is not None:
        result["ET_ENGINE_API_KEY"] = api_key
    return {**result, **variables}


def tetherfs(*arguments, server=None, api_key=None, endpoint=None, env=None, timeout=60, prefix=(), **options):
    """Runs `tetherfs ARGUMENTS…` to its end, without a terminal; never raises for a bad status.

    prefix: a command that runs it, such as `setpriv`. env: the whole environment, in place of the server's.
    """
    env = env or environment(server, api_key, endpoint)
    program = public_binary() if prefix else binary("tetherfs")
    return run([*prefix, program, *arguments], env=env, timeout=timeout, **options)


def fails(result, *words, status=None):
    """Asserts that a command failed with one line on stderr that has all the words in it."""
    assert result.returncode == status if status is not None else result.returncode > 0, result
    assert result.stdout == "", result
    assert result.stderr.endswith("\n") and result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.startswith("tetherfs: "), result.stderr
    for word in words:
        assert word in result.stderr, result.stderr
    return result


def filesystem_names(server, **options):
    """What `tetherfs filesystems list` has."""
    result = tetherfs("filesystems", "list", "--json", server=server, **options)
    assert (result.returncode, result.stderr) == (0, "")
    return [entry["filesystem_name"] for entry in json.loads(result.stdout)]


def private(path):
    """Makes an empty file that its owner alone can read, as keys must be."""
    path.touch(0o600)
    return path


def needs_root(why):
    """Fails a test that cannot be run by everybody."""
    if os.geteuid() != 0:
        pytest.fail(f"this test {why}: run it as root")


@contextlib.contextmanager
def open_directory():
    """A temporary directory that every user may reach; pytest's own ones are for one user alone."""
    path = tempfile.mkdtemp(prefix="tetherfs-cli-")
    os.chmod(path, 0o755)
    try:
        yield pathlib.Path(path)
    finally:
        shutil.rmtree(path)


@functools.cache
def public_binary():
    """A copy of `tetherfs` where every user may run it: a build may lie where only its owner can go."""
    folder = tempfile.mkdtemp(prefix="tetherfs-program-")
    atexit.register(shutil.rmtree, folder)
    os.chmod(folder, 0o755)
    return shutil.copy(binary("tetherfs"), folder)


def as_user(*owned, user=65534):
    """What runs a command as another user (by default `nobody`); owned: paths that become that user's own."""
    needs_root("becomes another user")
    for path in owned:
        os.chown(path, user, user)
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]


def at_terminal(*arguments, server=None, typed=(), asked=": ", columns=None, env=None, timeout=60):
    """Runs `tetherfs ARGUMENTS…` at a terminal and returns status and screen.

    typed: a text for each question, typed once that was asked; or a function that is called with the process.
    asked: what the screen ends with then. columns: how wide the terminal is, which does not say so without.
    """
    master, terminal = pty.openpty()
    if columns:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    try:
        process = subprocess.Popen(
            [binary("tetherfs"), *map(str, arguments)], env=env or environment(server),
            stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
        )
    finally:
        os.close(terminal)
    screen = b""

    def read_on():
        nonlocal screen
        while select.select([master], [], [], 0)[0]:
            try:
                data = os.read(master, 4096)
            except OSError:  # EIO: nobody has the terminal open any more.
                return True
            screen += data
        return process.poll() is not None

    try:
        for text in [typed] if isinstance(typed, str) or callable(typed) else typed:
            seen = len(screen)
            poll(lambda: read_on() or screen[seen:].endswith(asked.encode()), timeout, "question")
            if process.poll() is None:
                text(process) if callable(text) else os.write(master, text.encode())
        poll(read_on, timeout, "end of the command")
        status = process.wait(timeout)
        assert termios.tcgetattr(master)[3] & termios.ECHO, "the terminal shows no more what is typed"
        return status, screen.decode()
    finally:
        process.kill()
        process.wait()
        os.close(master)


class ScriptedServer:
    """A server that gives whatever answer it was made with: for what the service would never say.

    answer: called with each request as (method, path, headers); returns the bytes to send, HTTP head and all, or
    yields them in pieces.
    """

    def __init__(self, answer):
        script = self
        self.requests = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def handle_one_request(self):
                self.raw_requestline = self.rfile.readline(65537)
                self.close_connection = True
                if not self.raw_requestline or not self.parse_request():
                    return
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                request = (self.command, self.path, dict(self.headers))
                script.requests.append(request)
                # A client that has heard enough hangs up.
                with contextlib.suppress(ConnectionError):
                    data = answer(*request)
                    for piece in [data] if isinstance(data, bytes) else data:
                        self.wfile.write(piece)

            def log_message(self, *_):
                pass

        self.listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.listener.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.listener.server_port}/v1"
        self.thread = threading.Thread(target=self.listener.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown()
        self.listener.server_close()
        self.thread.join(10)


def answer(status, body=b"", *headers, length=None):
    """An HTTP answer as bytes; length: what Content-Length says, if not the truth."""
    body = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


def closed_port():
    """A port of this machine where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
