"""A real kernel mount for a test: made by the command `tetherfs`, always taken away again, never waited for in vain.

    with Mount(server, filesystem, "--metadata-ttl", 0) as mount:
        os.listdir(mount.path)

A program that waits for the driver cannot always be killed. So there are two limits: `run` ends a command, and each
mount has a watchdog; both kill the driver, which frees whoever waits for it: one hang fails one test, not the run.
"""

import collections
import contextlib
import ctypes
import errno
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

import pytest

from serverkit import binary, poll

MNT_FORCE, MNT_DETACH = 1, 2
AT_FDCWD, NOREPLACE, EXCHANGE = -100, 1, 2

# The mounts of the test that is running, so that its report has their logs.
MOUNTS = []

# What the deployed service lists uploads under that are not, or never were, completed.
UPLOAD = re.compile(r".*\.[A-Za-z0-9]{20}")

# For tests that take long, where the driver asks either server for the same.
ONE_SERVER = pytest.mark.parametrize("server", ["tetherfs-server"], indirect=True)

# The options of each mode of writing, for tests with a fixture or an argument `mode`.
MODES = pytest.mark.parametrize("mode", [[], ["--writes", "write-back"]], ids=["sync", "write-back"])

libc = ctypes.CDLL(None, use_errno=True)


def run(arguments, timeout=60, **options):
    """Runs a command to its end, also one that the driver keeps waiting; never raises for a bad status.

    Standard output and error are text, unless `text=False` is given.
    """
    options = {"stdin": subprocess.DEVNULL, "text": True, **options}
    process = subprocess.Popen(
        [str(argument) for argument in arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    )
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        for mount in MOUNTS:
            mount.abort()
        process.kill()
        output, errors = process.communicate(timeout=30)
        raise AssertionError(f"{arguments} did not end within {timeout} s: {output!r} {errors!r}") from None
    return subprocess.CompletedProcess(arguments, process.returncode, output, errors)


def check(arguments, **options):
    """Runs a command that must succeed, and returns its standard output."""
    result = run(arguments, **options)
    assert result.returncode == 0, (arguments, result.returncode, result.stderr)
    return result.stdout


def python(code, *arguments, **options):
    """Runs Python code in a process of its own, with `os`, `sys` and `mmap` imported; it must succeed."""
    return check([sys.executable, "-c", "import mmap, os, sys\n" + code, *arguments], **options)


def environment(**more):
    """The environment without what would configure `tetherfs`."""
    kept = {
        name: value for name, value in os.environ.items()
        if not name.startswith("TETHERFS_") and name != "ET_ENGINE_API_KEY"
    }
    return {**kept, "XDG_CONFIG_HOME": "/dev/null", **more}


def tetherfs(*arguments, timeout=60, env=None):
    """Runs `tetherfs ARGUMENTS…`."""
    return run([binary("tetherfs"), *arguments], timeout=timeout, env=env or environment())


def has_ended(pid):
    """Whether a process is gone, with all that it had open, whether or not its parent has taken note."""
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        # The first thread can be over while others still hold what is open.
        return state in "ZX" and len(os.listdir(f"/proc/{pid}/task")) == 1
    except (FileNotFoundError, ProcessLookupError):
        return True


def await_end(pid, timeout=30):
    """Waits until a process that was killed is gone; if it is not, tells what its threads wait for in the kernel."""
    try:
        poll(lambda: has_ended(pid), timeout=timeout, what=f"end of process {pid}")
    except TimeoutError as error:
        lines = [str(error)]
        for task in pathlib.Path(f"/proc/{pid}/task").glob("*"):
            with contextlib.suppress(OSError):
                state = (task / "stat").read_text().rpartition(")")[2].split()[0]
                lines.append(f"thread {task.name}, {state}: {(task / 'stack').read_text()}")
        raise TimeoutError("\n".join(lines)) from None


def watcher_of(driver):
    """The id of the process that watches a driver, none if there is none yet."""
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if b"watch-mount" in pathlib.Path("/proc", entry, "cmdline").read_bytes().split(b"\0"):
                state = pathlib.Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
                if int(state[1]) == driver:
                    return int(entry)
    return None


def unescaped(field):
    """A field of the kernel's table of mounts as it is: blanks and line ends stand as numbers there."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


class Mount:
    """A filesystem of a server, mounted in a temporary folder.

    options: further flags of `tetherfs mount`. cache_dir: kept afterwards if given. limit: how long the mount may
    live, in seconds; then its driver is killed and the test fails.
    """

    def __init__(self, server, filesystem, *options, cache_dir=None, limit=120):
        self.server, self.filesystem = server, filesystem
        self.options = [str(option) for option in options]
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="tetherfs-mount-"))
        self.path = str(self.folder / "mnt")
        self.cache_dir = pathlib.Path(cache_dir or self.folder / "cache")
        self.key_file = self.folder / "key"
        self.limit = limit
        self.was_aborted = False
        self.last_log = ""
        self.watchdog = threading.Timer(limit, self.abort)
        self.watchdog.daemon = True
        os.mkdir(self.path)
        self.key_file.touch(0o600)
        self.key_file.write_text(server.api_key + "\n")
        MOUNTS.append(self)

    def __enter__(self):
        self.watchdog.start()
        result = self.mount()
        if result.returncode != 0:
            self.take_away()
            raise AssertionError(f"the mount failed with {result.returncode}: {result.stderr}")
        return self

    def __exit__(self, kind, *_):
        # What a test planned to go wrong must not keep the clean-up waiting.
        if faults := getattr(self.server, "faults", None):
            faults.clear()
        self.close_leftovers()
        trouble = None
        if self.is_mounted and not self.was_aborted:
            result = self.unmount()
            if result.returncode != 0 or self.is_mounted:
                trouble = f"the unmount failed with {result.returncode}: {result.stderr}"
        self.take_away()
        if kind is None:
            assert not self.was_aborted, f"the mount was still in use after {self.limit} s"
            assert trouble is None, trouble

    # The commands.

    @property
    def arguments(self):
        """What `tetherfs` is given to make this mount."""
        return [
            "mount", self.filesystem, self.path, "--endpoint", self.server.url, "--api-key-file", str(self.key_file),
            "--cache-dir", str(self.cache_dir), "--log-level", "debug", *self.options,
        ]

    def mount(self):
        """Runs the command that mounts."""
        return tetherfs(*self.arguments)

    def unmount(self):
        """Runs the command that unmounts."""
        return tetherfs("unmount", self.path)

    # The driver.

    @property
    def pid(self):
        """The driver's process id, none if there is no driver."""
        wanted = {b"mount", os.fsencode(self.path)}
        for entry in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if wanted <= set(pathlib.Path("/proc", entry, "cmdline").read_bytes().split(b"\0")):
                    return int(entry)
        return None

    @property
    def is_mounted(self):
        """Whether the kernel has the mount, without asking the driver."""
        with open("/proc/self/mountinfo") as table:
            return any(unescaped(line.split(" ")[4]) == self.path for line in table)

    @property
    def log(self):
        """All that the driver has logged."""
        logs = sorted((self.cache_dir / "log").glob("*.log"))
        return "".join(log.read_text(errors="replace") for log in logs) or self.last_log

    @property
    def watcher(self):
        """The id of the process that takes the mount away should the driver die; none without a driver."""
        driver = self.pid
        # Its arguments show once it has run for a moment: on a busy machine that may be after the mount is ready.
        return driver and poll(lambda: watcher_of(driver), what="watcher of the driver")

    def kill(self):
        """Kills the driver as a crash would (SIGKILL), and its watcher before, so that the mount stays there, dead."""
        for pid in (self.watcher, self.pid):
            if pid:
                os.kill(pid, signal.SIGKILL)
                await_end(pid)

    def crash(self):
        """Kills the driver as a crash would (SIGKILL); its watcher takes the mount away."""
        if pid := self.pid:
            os.kill(pid, signal.SIGKILL)
            poll(lambda: has_ended(pid) and not self.is_mounted, what="end of the mount")

    @property
    def known_names(self):
        """How many files and directories the driver knows because the kernel does."""
        result = tetherfs("status", self.path, "--json")
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)["names"]["kernel"]

    # The end.

    def close_leftovers(self):
        """Closes what a failed test left open, which would keep the mount busy."""
        for number in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/self/fd/{number}").startswith(self.path + "/"):
                    os.close(int(number))

    def abort(self):
        """Frees whoever waits for the driver: its end, or the forced unmount, fails all that is under way."""
        self.was_aborted = True
        if pid := self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        libc.umount2(os.fsencode(self.path), MNT_FORCE)

    def take_away(self):
        """Leaves nothing: no mount, no process, no files."""
        self.watchdog.cancel()
        with contextlib.suppress(OSError, TimeoutError):
            self.kill()
        while self.is_mounted:
            if libc.umount2(os.fsencode(self.path), MNT_FORCE | MNT_DETACH) != 0:
                break
        self.last_log = self.log
        shutil.rmtree(self.folder, ignore_errors=True)

    def __truediv__(self, name):
        """The path of something on the mount."""
        return f"{self.path}/{name}"


@contextlib.contextmanager
def small_disk(folder, size):
    """A disk of its own on a folder, with room for `size` bytes."""
    check(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder])
    try:
        yield folder
    finally:
        check(["umount", folder])


# Counting.

def memory(pid, field):
    """A figure of a process's memory, such as VmRSS or VmHWM, in bytes."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) << 10
    raise AssertionError(f"no {field}")


def call_name(entry):
    """What a logged request asked for: list, mkdir, size, read, post (begin or complete), put or delete."""
    branch = re.fullmatch(r".*?/filesystems/[^/]+/([^/]+).*", entry.path)
    branch = branch[1] if branch else "filesystems"
    if branch != "files":
        return branch
    return "size" if "init" in entry.query else {"GET": "read"}.get(entry.method, entry.method.lower())


class Seen:
    """The requests that came in while a `counting` block ran."""

    entries = ()

    @property
    def calls(self):
        """How many requests of each kind came."""
        return collections.Counter(call_name(entry) for entry in self.entries)

    def bytes(self, call):
        """How many bytes the answers to one kind of request had together."""
        return sum(entry.bytes for entry in self.entries if call_name(entry) == call)


def second_calls(server):
    """How many requests of each kind this test's drivers sent beside the same ones, which were slower than others."""
    logs = "".join(mount.log for mount in MOUNTS if mount.server is server)
    told = re.findall(r'is asked again.* call=(?:"([^"]+)"|(\w+))', logs)
    return collections.Counter("".join(names).removesuffix(" part") for names in told)


def without_second(entries, calls):
    """Requests less those that were sent twice, so many of each kind: of two the one that brought less."""
    left = list(entries)
    for entry in sorted(entries, key=lambda entry: entry.bytes):
        if calls[call_name(entry)] <= 0:
            continue
        # Where the first one was never answered no log has it.
        twins = [other for other in left if what_is_asked(other) == what_is_asked(entry)]
        if len(twins) > 1:
            calls[call_name(entry)] -= 1
            left.remove(entry)
    return left


def what_is_asked(entry):
    return entry.method, entry.path, entry.query, entry.content_range


@contextlib.contextmanager
def counting(server):
    """Counts what the server is asked for inside of the block; both servers log a request before its answer ends.

    Where the machine stands still for over a second a driver asks again: that is not what is to be counted.
    """
    seen = Seen()
    start, second = len(server.requests_log()), second_calls(server)
    yield seen
    seen.entries = without_second(server.requests_log(start), second_calls(server) - second)


def without_uploads(content):
    """What a server holds, but for uploads that are not completed, which the deployed service keeps for ever."""
    return {path: data for path, data in content.tree().items() if not UPLOAD.fullmatch(path)}


# What a program does.

def fails(number, call, *arguments):
    """Asserts that a call fails with an errno."""
    with pytest.raises(OSError) as caught:
        call(*arguments)
    assert errno.errorcode[caught.value.errno] == errno.errorcode[number]


def refused(result, *words):
    """Asserts that a command said in one line, with these words, why it did nothing."""
    assert result.returncode != 0 and result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("tetherfs: "), result.stderr
    for word in words:
        assert word in lines[0], result.stderr


def renameat2(source, target, flags):
    """rename(2) with flags, which `os.rename` does not take."""
    if libc.renameat2(AT_FDCWD, os.fsencode(source), AT_FDCWD, os.fsencode(target), flags) != 0:
        raise OSError(ctypes.get_errno(), "renameat2", source)


def write(path, data, flags=os.O_WRONLY | os.O_CREAT | os.O_TRUNC):
    """Writes a file and closes it, so that what close(2) says is heard."""
    descriptor = os.open(path, flags, 0o666)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest):]
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)


def read(path):
    """A whole file's bytes."""
    with open(path, "rb", buffering=0) as file:
        return file.readall()
