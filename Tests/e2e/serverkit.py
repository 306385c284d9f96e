"""A tetherfs-server of its own for each test: starts it, reads its access log, kills it.

    with Server() as server:
        requests.get(server.url + "/filesystems", headers=server.headers)

The binary is found in TETHERFS_BIN_DIR, by default `.build/debug` under the repository's root.
"""

import collections
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import tempfile
import time

import requests

from contents import FolderContent

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
READY = "tetherfs-server: listening on "

# One finished request of the access log; `path` is raw (still percent-encoded) and without the query.
LoggedRequest = collections.namedtuple("LoggedRequest", "method path query status bytes content_range")


def binary(name="tetherfs-server"):
    """The path of one of our executables."""
    folder = os.environ.get("TETHERFS_BIN_DIR") or REPOSITORY / ".build" / "debug"
    return str(pathlib.Path(folder) / name)


def poll(condition, timeout=30.0, what="condition"):
    """Calls `condition` until it gives something true, and returns that; fails after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {what} within {timeout} s")
        time.sleep(0.02)


def run(*arguments, timeout=30, **options):
    """Runs `tetherfs-server ARGUMENTS…` to its end; never raises for a bad status."""
    return subprocess.run(
        [binary(), *map(str, arguments)], capture_output=True, text=True, timeout=timeout, **options
    )


class Server:
    """A running server with a data directory, a user and that user's key.

    args: further flags for `serve`. data_dir: kept afterwards if given, else temporary and removed.
    base_path: the prefix of all calls. user: the name of the first user, none if None.
    tls: a (certificate file, key file) pair. start: False leaves the starting to `start()`.
    prefix: a command that runs the server's, such as prlimit(1).
    """

    def __init__(self, args=(), data_dir=None, base_path="/v1", user="tester", tls=None, start=True, prefix=()):
        self.temporary = None if data_dir else tempfile.mkdtemp(prefix="tetherfs-server-")
        self.data_dir = str(data_dir or os.path.join(self.temporary, "data"))
        side = self.temporary or os.path.dirname(self.data_dir)
        name = os.path.basename(self.data_dir)
        self.access_log = os.path.join(side, name + ".access.log")
        self.stderr_path = os.path.join(side, name + ".stderr.log")
        self.args = [str(argument) for argument in args]
        self.base_path = base_path
        self.tls = tls
        self.prefix = [str(word) for word in prefix]
        self.port = 0
        self.process = None
        self.url = self.api_key = self.user_id = None
        self._start_at_enter = start
        if user:
            added = self.add_user(user)
            self.api_key, self.user_id = added["api_key"], added["user_id"]

    # Life.

    def __enter__(self):
        if self._start_at_enter:
            self.start()
        return self

    def __exit__(self, *_):
        try:
            self.stop()
        finally:
            if self.temporary:
                shutil.rmtree(self.temporary, ignore_errors=True)

    def start(self, timeout=30.0):
        """Starts the server and waits until it listens; after the first time always on the same port."""
        command = self.prefix + [
            binary(), "serve", "--data-dir", self.data_dir, "--listen", f"127.0.0.1:{self.port}",
            "--base-path", self.base_path, "--access-log-file", self.access_log,
        ]
        if self.tls:
            command += ["--tls-certificate", str(self.tls[0]), "--tls-key", str(self.tls[1])]
        with open(self.stderr_path, "ab") as stderr:
            self.process = subprocess.Popen(
                command + self.args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr
            )
        line = self._read_line(timeout)
        if not line.startswith(READY):
            self.kill()
            raise RuntimeError(f"the server did not start: {line!r} {self.stderr()}")
        self.url = line[len(READY):].strip().rstrip("/")
        self.port = int(self.url.split("/")[2].rsplit(":", 1)[1])

    def stop(self, timeout=15.0):
        """Asks the server to end (SIGTERM) and returns its status; kills it if it does not."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.process.stdout.close()
            self.process = None

    def kill(self):
        """Kills the server as a crash would (SIGKILL)."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None

    def restart(self):
        """Stops the server, unless it was killed, and starts it on the same port and data."""
        self.stop()
        self.start()

    @property
    def pid(self):
        """The process id, none while the server does not run."""
        return self.process.pid if self.process else None

    def _read_line(self, timeout):
        deadline = time.monotonic() + timeout
        line = b""
        while not line.endswith(b"\n"):
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not select.select([self.process.stdout], [], [], remaining)[0]:
                self.kill()
                raise TimeoutError(f"the server did not listen within {timeout} s: {self.stderr()}")
            byte = os.read(self.process.stdout.fileno(), 1)
            if not byte:
                break
            line += byte
        return line.decode()

    # Users and filesystems.

    def add_user(self, name, **options):
        """Adds a user, also beside the running server; returns {"user_id", "user_name", "api_key"}."""
        result = run("user", "add", name, "--data-dir", self.data_dir, "--json", **options)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    @property
    def headers(self):
        """The request headers of the first user."""
        return {"Authorization": self.api_key}

    def create_filesystem(self, name, api_key=None):
        """Creates a filesystem and returns its id."""
        answer = requests.post(
            self.url + "/filesystems",
            json={"filesystem_name": name},
            headers={"Authorization": api_key or self.api_key},
            verify=str(self.tls[0]) if self.tls else True,
            timeout=30,
        )
        assert answer.status_code == 200, answer.text
        return answer.json()["filesystem_id"]

    def tree(self, filesystem_id):
        """The folder on the server's disk that holds a filesystem's files."""
        return pathlib.Path(self.data_dir) / "filesystems" / filesystem_id / "tree"

    def content(self, filesystem_id):
        """What a filesystem holds, past the API."""
        return FolderContent(self.tree(filesystem_id))

    # What it said.

    def stderr(self):
        """All that the server wrote to its standard error."""
        with open(self.stderr_path, errors="replace") as log:
            return log.read()

    def requests_log(self, start=0):
        """Every finished request so far, or those after the first `start` ones, as LoggedRequest."""
        if not os.path.exists(self.access_log):
            return []
        with open(self.access_log) as log:
            lines = log.read().splitlines()[start:]
        entries = []
        for line in lines:
            method, target, status, count, content_range = line.split(" ", 4)
            path, _, query = target.partition("?")
            entries.append(LoggedRequest(method, path, query, int(status), int(count), content_range))
        return entries
