"""Kills drivers and servers while a program writes, and looks for what that lost.

    crash = Crash(server, filesystem, "sync", "driver", seed)
    with crash:
        for _ in range(10):
            crash.round()

A round: a writer (crashwriter) works on the mount until something is killed, at a moment that the seed draws: after so
many promises, or at so many requests as the server sees them, and a short while later. Then all is started again, on
the same data and with the same cache directory, perhaps killed once more while it recovers; what is to be uploaded is
uploaded; and everything is read through the mount and from the server by the API, and held against the model
(crashmodel). The next round goes on from there.
"""

import contextlib
import errno
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

from crashmodel import Model, is_some_of
from crashwriter import GONE, digest
from mountkit import UPLOAD, Mount, await_end, environment, tetherfs
from servercalls import Calls
from serverkit import binary, poll

SMALL = [1, 10, 700, 5000, 60_000]
# The deployed service refuses empty files at times.
MORE = [0, *SMALL]
# More than one part of an upload has: parts are of 8 MiB or more.
LARGE = MORE * 4 + [300_000, (17 << 20) + 5]


def new_seed():
    """The seed of a test, printed; TETHERFS_CRASH_SEED gives that of a run that is to be repeated."""
    seed = int(os.environ.get("TETHERFS_CRASH_SEED") or random.randrange(1 << 32))
    print(f"TETHERFS_CRASH_SEED={seed}")
    return seed


class Writer:
    """A running crashwriter. told: called on the reader's thread with each line; it may kill."""

    def __init__(self, told, **settings):
        script = pathlib.Path(__file__).with_name("crashwriter.py")
        self.process = subprocess.Popen(
            [sys.executable, script, json.dumps(settings)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.told = told
        self.thread = threading.Thread(target=self.listen)
        self.thread.start()

    def listen(self):
        for line in self.process.stdout:
            self.told(json.loads(line))

    def stop(self):
        """Has it close all and end."""
        self.process.stdin.close()

    def wait(self, mount, timeout=40):
        """Waits for its end; a writer that nothing frees is a failure, and is freed by taking the mount away."""
        self.thread.join(timeout)
        is_stuck = self.thread.is_alive()
        if is_stuck:
            mount.abort()
            self.process.kill()
            self.thread.join(30)
        self.process.wait(30)
        errors = self.process.stderr.read().decode()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()
        assert not is_stuck, f"the writer was not freed within {timeout} s"
        assert errors == "", errors


class AtRequest:
    """A fault that strikes when a request comes in, before or after it is done; all requests are answered."""

    def __init__(self, count, is_before, strike):
        self.lock = threading.Lock()
        self.left, self.is_before, self.strike = count, is_before, strike

    def __call__(self, exchange):
        with self.lock:
            self.left -= 1
            is_it = self.left == 0
        if is_it and self.is_before:
            self.strike()
        status, data = exchange.act()
        if is_it and not self.is_before:
            self.strike()
        exchange.send(status, data)


class Crash:
    """A filesystem, its mount and what is known of its files, over some rounds.

    mode: sync or write-back. victim: driver, server or both; the server can be killed if it is a tetherfs-server.
    options: further flags of `tetherfs mount`.
    """

    def __init__(self, server, filesystem, mode, victim, seed, sizes=SMALL, options=()):
        self.server, self.filesystem, self.mode, self.victim = server, filesystem, mode, victim
        self.chance = random.Random(seed)
        self.sizes = sizes
        # Of a server that fails on demand.
        self.faults = getattr(server, "faults", None)
        self.model = Model(mode)
        self.calls = Calls(server, filesystem)
        self.cache = tempfile.TemporaryDirectory(prefix="tetherfs-cache-")
        # What was written, by its digest; see `learn_torn`.
        self.contents = tempfile.TemporaryDirectory(prefix="tetherfs-contents-")
        # The server is back soon, and that is to be waited for.
        options = ["--request-timeout", 10, "--retries", 8, *options]
        if mode != "sync":
            options += ["--writes", mode]
        # Many rounds on a busy machine take a while; what hangs is found out about before.
        self.mount = Mount(server, filesystem, *options, cache_dir=self.cache.name, limit=300)
        self.kills = 0
        self.struck = threading.Event()

    def __enter__(self):
        self.mount.__enter__()
        return self

    def __exit__(self, *failure):
        try:
            self.mount.__exit__(*failure)
        finally:
            self.cache.cleanup()
            self.contents.cleanup()

    # Killing.

    def strike(self):
        """Kills the victim, once."""
        if self.struck.is_set():
            return
        self.struck.set()
        time.sleep(self.chance.choice([0, self.chance.uniform(0, 0.005), self.chance.uniform(0, 0.05)]))
        blows = {"driver": [self.kill_driver], "server": [self.server.kill] if self.victim != "driver" else []}
        order = blows["driver"] + blows["server"] if self.victim == "both" else blows[self.victim]
        self.chance.shuffle(order)
        for blow in order:
            blow()
            self.kills += 1

    def kill_driver(self):
        """Kills the driver, also one that is only starting."""
        while pid := self.mount.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            await_end(pid)

    def kill_while_it_starts(self):
        """Mounts, and kills the driver while it starts and recovers: a short while later or at a request of its."""
        struck = threading.Event()

        def strike():
            if not struck.is_set():
                struck.set()
                self.kill_driver()

        if self.faults and self.chance.random() < 0.5:
            fault = AtRequest(self.chance.randint(1, 15), self.chance.random() < 0.5, strike)
            self.faults.add("any", fault, times=None)
        command = subprocess.Popen(
            [binary("tetherfs"), *self.mount.arguments], env=environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        struck.wait(self.chance.uniform(0, 0.4))
        self.kill_driver()
        command.wait(30)
        # One that had not said yet which process it is.
        self.kill_driver()
        self.kills += 1
        self.calm_down()

    def calm_down(self):
        """Ends all faults and waits until what a dead driver had asked for is over: no server acts much later."""
        if self.faults:
            self.faults.clear()
            poll(lambda: self.server.gauge.now.get("any", 0) == 0, what="end of all requests")
        elif self.server.pid:
            poll(lambda: all(self.server_rests() for _ in range(5)), what="end of what the server does")

    def server_rests(self):
        """Whether, a while later, no thread of the server runs or waits for its disk."""
        time.sleep(0.01)
        for task in pathlib.Path(f"/proc/{self.server.pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if (task / "stat").read_text().rpartition(")")[2].split()[0] in "RD":
                    return False
        return True

    # A round.

    def round(self):
        """Lets a writer work until something is killed, starts it again and looks for losses."""
        seed = self.chance.randrange(1 << 32)
        promises = self.chance.choice([0, self.chance.randint(1, 10), self.chance.randint(1, 60)])
        # Afterwards it goes on for a while, where it can.
        more = self.chance.randint(0, 15)
        self.struck.clear()
        start = self.model.promises
        # By which the writer knows the mount from the directory below it, should the driver die before it looks.
        device = os.stat(self.mount.path).st_dev

        if self.faults and self.chance.random() < 0.6:
            is_before = self.chance.random() < 0.5
            self.faults.add("any", AtRequest(self.chance.randint(1, 80), is_before, self.strike), times=None)
            promises = None

        def told(line):
            # A page that cannot be read as the driver is dead is EIO to who writes into it.
            if line.get("errno") == errno.EIO and self.struck.is_set() and self.victim != "server":
                line["errno"] = errno.ENOTCONN
            if self.model.feed(line) and promises is not None and self.model.promises - start >= promises:
                self.strike()

        writer = Writer(told, root=self.mount.path, device=device, seed=seed, workers=3, sizes=self.sizes,
                        contents=self.contents.name)
        try:
            assert self.struck.wait(30), f"no promise at which to kill; {self.model.under_way}"
            if self.victim == "server":
                self.start_server()
                target = self.model.promises + more
                poll(lambda: self.model.promises >= target, timeout=30, what="promises after the server came back")
        finally:
            writer.stop()
            writer.wait(self.mount)
        self.come_back()
        self.inspect()

    def start_server(self):
        time.sleep(self.chance.choice([0, self.chance.uniform(0, 0.3)]))
        poll(lambda: self.server.pid is None, what="end of the server")
        self.server.start()

    def come_back(self):
        """Starts again what was killed."""
        self.calm_down()
        if self.victim == "both":
            self.start_server()
        if self.victim != "server":
            while self.chance.random() < 0.3:
                self.kill_while_it_starts()
            result = self.mount.mount()
            assert result.returncode == 0, result.stderr
            if self.model.may_be_moving:
                poll(self.moves_nothing, timeout=30, what="end of a directory's rename")

    def moves_nothing(self):
        """Whether the driver has finished the renames of directories that a dead one had begun."""
        result = tetherfs("status", self.mount.path, "--json")
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)["uploads"]["renames"] == []

    # What is left.

    def inspect(self):
        """Everything promised is there, in the mount at once and on the server once it is uploaded, and no more."""
        seen = self.seen_through_mount()
        self.learn_torn()
        problems = [f"mount: {problem}" for problem in self.model.problems(seen)]
        if self.victim != "server":
            problems += self.problems_of_kept()
        failed = [(number, begun) for number, begun in self.model.errors if number not in GONE]
        if self.victim == "driver":
            problems += [f"{begun} failed with {errno.errorcode[number]}" for number, begun in failed]
        # Every now and then the next crash comes before all of this one is uploaded.
        is_uploaded = self.model.renames or failed or self.chance.random() < 0.75
        if is_uploaded:
            self.upload(by_unmount=failed or self.chance.random() < 0.3)
            stored = self.stored_on_server()
            problems += [f"server: {problem}" for problem in self.model.problems(stored)]
            different = sorted(path for path in seen.keys() | stored.keys() if seen.get(path) != stored.get(path))
            problems += [f"{path}: mount {seen.get(path)}, server {stored.get(path)}" for path in different]
        assert not problems, "\n".join(problems)
        self.model.settle(seen, is_uploaded)

    def learn_torn(self):
        """Takes what is there of a write that was cut off for something that it may leave, if it is some of it."""
        for line in self.model.under_way.values():
            if "before" in line and os.path.isfile(self.mount / line["name"]):
                old, new = (pathlib.Path(self.contents.name, line[key]).read_bytes() for key in ("before", "hash"))
                got = pathlib.Path(self.mount / line["name"]).read_bytes()
                if is_some_of(got, old, new):
                    line["torn"].append(digest(got))

    def upload(self, by_unmount):
        """Waits until all is on the server. An unmount leaves nothing behind, and makes good what had failed."""
        if by_unmount:
            result = self.mount.unmount()
            assert result.returncode == 0, result.stderr
            self.check_nothing_staged()
            result = self.mount.mount()
            assert result.returncode == 0, result.stderr
        else:
            # In sync mode too: what a crash left is uploaded in the background.
            result = tetherfs("flush", self.mount.path)
            assert result.returncode == 0, result.stderr

    def check_nothing_staged(self):
        """No bytes that are only here are left by an unmount that succeeded."""
        names = os.listdir(pathlib.Path(self.cache.name, self.filesystem, "staging"))
        assert [name for name in names if not name.startswith("clean-")] == []

    def seen_through_mount(self):
        """Every path of the mount with its content's digest, None for a directory."""
        found = {}
        for folder, directories, files in os.walk(self.mount.path, onerror=self.fail):
            for name in directories:
                found[os.path.relpath(os.path.join(folder, name), self.mount.path)] = None
            # An upload that is listed may be over when it is looked at.
            for name in filter(lambda name: not UPLOAD.fullmatch(name), files):
                path = os.path.join(folder, name)
                try:
                    with open(path, "rb", buffering=0) as file:
                        found[os.path.relpath(path, self.mount.path)] = digest(file.readall())
                except OSError as error:
                    # A rename that is gone on with may have taken the name meanwhile.
                    if error.errno not in (errno.ENOENT, errno.ESTALE) or os.path.lexists(path):
                        raise
        return self.without_uploads(found)

    @staticmethod
    def fail(error):
        raise error

    def stored_on_server(self):
        """The same from the server, by the API."""
        found = {}

        def walk(above):
            listing = self.calls.list(above).json()
            for name in listing["directories"]:
                found[above + name] = None
                walk(above + name + "/")
            for name in listing["files"]:
                found[above + name] = digest(self.calls.content(above + name))

        walk("")
        return self.without_uploads(found)

    @staticmethod
    def without_uploads(found):
        """Less the uploads that a dead driver had begun, which some servers list for ever."""
        return {path: content for path, content in found.items() if not UPLOAD.fullmatch(path)}

    def recover(self, *arguments):
        """Runs `tetherfs recover`."""
        result = tetherfs("recover", *arguments, "--cache-dir", self.cache.name)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def problems_of_kept(self):
        """What was left open is kept aside with its bytes, and nothing else is. Then takes it away."""
        kept = [line for line in json.loads(self.recover("list", "--json")) if line["state"] == "kept"]
        problems = []
        for line in kept:
            name = line["path"].lstrip("/")
            allowed = self.model.may_be_aside(name)
            if "bytesHere" not in line:
                # Of what a rename replaced, or an unlink deleted, nothing tells the name.
                allowed = allowed | self.model.replaced
            is_restored = line["isWhole"] or self.model.is_all_here(name)
            # What is here in parts has the server's bytes between them.
            if not is_restored and allowed:
                continue
            content = self.restored(line) if is_restored else None
            if content not in allowed:
                told = self.model.told_of(name)
                problems.append(f"{name} is kept as {content}, not as one of {sorted(allowed)}: {line}, {told}")
        missing = self.model.left_open() - {line["path"].lstrip("/") for line in kept}
        problems += [
            f"{name} was left open, and is not kept: {self.model.told_of(name)}"
            for name in sorted(missing) if not self.model.may_be_uploaded(name)
        ]
        for file in pathlib.Path(self.cache.name, self.filesystem, "recovered").iterdir():
            file.unlink()
        return problems

    def restored(self, line):
        """The content of a file that is kept, as a person gets it back."""
        target = self.mount.folder / "restored"
        # That all of a file is here the journal may not have been told when the driver was killed.
        self.recover("restore", line["number"], target, *([] if line["isWhole"] else ["--partial"]))
        content = digest(target.read_bytes())
        target.unlink()
        return content
