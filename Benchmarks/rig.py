"""What the benchmarks run on: a server with files, a network of a given length, a mount, and curl beside it."""

import contextlib
import http.client
import json
import os
import pathlib
import resource
import select
import shutil
import subprocess
import tempfile
import threading
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
BINARIES = pathlib.Path(os.environ.get("TETHERFS_BIN_DIR") or REPOSITORY / ".build" / "release")
TOOLS = REPOSITORY / "Benchmarks" / ".build" / "release"
MIB = 1 << 20
# No command of a benchmark takes so long unless something hangs.
LIMIT = 300


def check(arguments, **options):
    """Runs a command that must succeed, and returns its standard output."""
    options = {"stdin": subprocess.DEVNULL, "timeout": LIMIT, **options}
    result = subprocess.run([str(word) for word in arguments], capture_output=True, text=True, **options)
    if result.returncode != 0:
        raise RuntimeError(f"{arguments} failed with {result.returncode}: {result.stderr}")
    return result.stdout


def drop_kernel_caches():
    """Empties the page, name and inode caches of the kernel, as far as we are allowed to."""
    os.sync()
    with contextlib.suppress(PermissionError):
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")


def read_line(process, timeout=30):
    """The first line that a process writes; an empty one if it ends without."""
    if not select.select([process.stdout], [], [], timeout)[0]:
        raise TimeoutError(f"{process.args[0]} says nothing")
    return process.stdout.readline()


def memory_of(pid, field):
    """A size from a process's status, such as VmHWM, in MiB."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"the process has ended: it has no {field}")


def cpu_of(pid):
    """CPU seconds that a process has used."""
    words = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def end(process):
    """Asks a process to end, and makes it if it does not."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Server:
    """A running tetherfs-server with one filesystem, whose files are written past the API."""

    def __init__(self):
        # Memory, so that no disk takes part and dropping the kernel's caches costs the server nothing.
        memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="tetherfs-bench-", dir=memory))
        self.data = self.folder / "data"
        self.log_path = self.folder / "access.log"
        self.key_file = self.folder / "key"
        program = BINARIES / "tetherfs-server"
        added = check([program, "user", "add", "bench", "--data-dir", self.data, "--json"])
        self.key = json.loads(added)["api_key"]
        self.key_file.touch(0o600)
        self.key_file.write_text(self.key)
        self.process = subprocess.Popen(
            [program, "serve", "--data-dir", self.data, "--listen", "127.0.0.1:0", "--access-log-file", self.log_path,
             "--log-level", "warning"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        )
        line = read_line(self.process)
        if "listening on http://" not in line:
            raise RuntimeError(f"the server did not start: {line!r}")
        self.address = line.split("//")[1].strip().rstrip("/")
        made = check(
            [BINARIES / "tetherfs", "filesystems", "create", "bench", "--json", "--endpoint", f"http://{self.address}",
             "--api-key-file", self.key_file]
        )
        self.filesystem = json.loads(made)["filesystem_id"]
        self.tree = self.data / "filesystems" / self.filesystem / "tree"

    def write(self, path, size):
        """Makes a file on the server."""
        target = self.tree / path
        target.parent.mkdir(parents=True, exist_ok=True)
        piece = os.urandom(min(size, MIB))
        with open(target, "wb") as file:
            while size > 0:
                size -= file.write(piece[:size])

    def log(self, start=0):
        """(method, target, bytes) of every finished request after the first `start` ones."""
        lines = self.log_path.read_text().splitlines()[start:] if self.log_path.exists() else []
        return [(words[0], words[1], int(words[3])) for words in map(str.split, lines)]

    def stop(self):
        """Ends the server and removes all that it had."""
        end(self.process)
        self.process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Network:
    """The way to the server, or to another address: straight for a round trip of 0, else through a delay proxy.

    rate: what all requests together, and all answers together, are bounded to, in MiB/s.
    """

    def __init__(self, server, milliseconds, address=None, rate=None):
        self.server, self.process = server, None
        self.address = address or server.address
        if milliseconds:
            self.process = subprocess.Popen(
                [TOOLS / "delay-proxy", "--to", self.address, "--round-trip-ms", str(milliseconds),
                 *(["--mib-per-second", str(rate)] if rate else [])],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
            )
            self.address = f"127.0.0.1:{int(read_line(self.process).split()[-1])}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()

    def target(self, call, path):
        """The path of a URL of the API."""
        return f"/filesystems/{self.server.filesystem}/{call}/{path}"

    def curl(self, wanted, connections=8):
        """Asks for (target, range or None) with one parallel curl; returns (seconds, CPU seconds) of it."""
        blocks = []
        for target, span in wanted:
            lines = [f'url = "http://{self.address}{target}"', f'header = "Authorization: {self.server.key}"',
                     'output = "/dev/null"', "fail"]
            if span:
                lines.append(f'header = "Content-Range: {span[0]}-{span[1]}"')
            blocks.append("\n".join(lines))
        return self.parallel(blocks, connections)

    def parallel(self, blocks, connections):
        """Runs one parallel curl over blocks of its configuration; returns (seconds, CPU seconds) of it."""
        before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        # The key comes through the pipe: a command line can be seen by all.
        check(
            ["curl", "-sS", "--parallel", "--parallel-immediate", "--parallel-max", connections, "-K", "-"],
            stdin=None, input="\nnext\n".join(blocks),
        )
        seconds, after = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
        return seconds, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    def request(self, method, path, *lines):
        """A block of curl's configuration for one request to a file, which must succeed."""
        return "\n".join([
            f'url = "http://{self.address}{self.target("files", path)}"', f'request = "{method}"',
            f'header = "Authorization: {self.server.key}"', 'header = "Expect:"', "fail", *lines,
        ])

    def upload(self, files, parts, connections=8):
        """Sends files as parallel curls do, begin, parts and complete, each of all before the next.

        files: (path on the server, size); parts: (path, start, end, local file). Returns (seconds, CPU seconds).
        """
        with tempfile.TemporaryDirectory(prefix="tetherfs-bench-") as folder:
            answers = {path: pathlib.Path(folder, str(number)) for number, (path, _) in enumerate(files)}
            begun = self.parallel(
                [self.request("POST", path, f'data = "{{\\"size\\": {size}}}"', f'output = "{answers[path]}"')
                 for path, size in files], connections)
            ids = {path: json.loads(answer.read_text())["uploadId"] for path, answer in answers.items()}
            sent = self.parallel(
                [self.request("PUT", path, f'header = "Content-Range: [{ids[path]}]:{start}-{end}"',
                              f'upload-file = "{file}"') for path, start, end, file in parts], connections)
            done = self.parallel(
                [self.request("POST", path,
                              f'data = "{{\\"uploadId\\": \\"{ids[path]}\\", \\"complete\\": true}}"')
                 for path, _ in files], connections)
        return tuple(map(sum, zip(begun, sent, done)))

    def latencies(self, target, spans):
        """Seconds of each of some range requests, one after the other on one open connection."""
        connection = http.client.HTTPConnection(self.address, timeout=60)
        headers = {"Authorization": self.server.key}
        seconds = []
        # The first pays for the connection, and is not counted.
        for start, end in [spans[0], *spans]:
            begin = time.monotonic()
            connection.request("GET", target, headers={**headers, "Content-Range": f"{start}-{end}"})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{target}: {answer.status}")
            seconds.append(time.monotonic() - begin)
        connection.close()
        return seconds[1:]


class Mount:
    """A fresh mount with default options, made by the command, and what it costs.

    cache: the folder of its cache, kept afterwards; by default an empty one of its own.
    options: more options of the mount.
    """

    def __init__(self, network, cache=None, options=()):
        self.network, self.server, self.options = network, network.server, options
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="tetherfs-bench-mount-"))
        self.path = self.folder / "mnt"
        self.cache = cache or self.folder / "cache"
        self.path.mkdir()
        self.pid = None
        self.watchdog = threading.Timer(LIMIT, self.kill)
        self.watchdog.daemon = True

    def __enter__(self):
        drop_kernel_caches()
        self.watchdog.start()
        try:
            check(
                [BINARIES / "tetherfs", "mount", "bench", self.path, "--endpoint", f"http://{self.network.address}",
                 "--api-key-file", self.server.key_file, "--cache-dir", self.cache, *self.options]
            )
            self.pid = self.find_driver()
            self.idle_rss = self.memory("VmRSS")
        except BaseException:
            self.take_away()
            raise
        return self

    def __exit__(self, *_):
        self.take_away()

    def find_driver(self):
        """The process id of the driver."""
        wanted = {b"mount", os.fsencode(self.path)}
        for entry in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if wanted <= set(pathlib.Path("/proc", entry, "cmdline").read_bytes().split(b"\0")):
                    return int(entry)
        raise RuntimeError("the mount has no driver")

    def memory(self, field):
        """A size from the driver's status, in MiB."""
        return memory_of(self.pid, field)

    def cpu(self):
        """CPU seconds that the driver has used."""
        return cpu_of(self.pid)

    def kill(self):
        """Kills the driver, which frees whoever waits for it."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, 9)

    def take_away(self):
        """Leaves no mount, no driver, no files."""
        self.watchdog.cancel()
        try:
            check([BINARIES / "tetherfs", "unmount", self.path], timeout=60)
        except (RuntimeError, subprocess.TimeoutExpired):
            self.kill()
            subprocess.run(["umount", "-fl", self.path], capture_output=True, timeout=30)
            raise
        finally:
            shutil.rmtree(self.folder / "cache", ignore_errors=True)
            with contextlib.suppress(OSError):
                self.path.rmdir()
                self.folder.rmdir()


class DoNothing:
    """A mount of the driver that knows `count` files of `mib` MiB in one directory and asks nobody."""

    def __init__(self, count, mib=0):
        self.count, self.mib = count, mib
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="tetherfs-bench-nothing-"))
        self.path = self.folder / "mnt"
        self.path.mkdir()

    def __enter__(self):
        self.process = subprocess.Popen(
            [TOOLS / "do-nothing", str(self.count), self.path, str(self.mib)], stdin=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        while not os.path.ismount(self.path):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise RuntimeError("the driver that does nothing does not mount")
            time.sleep(0.01)
        # As the real driver has it, where root mounts.
        device = os.stat(self.path).st_dev
        read_ahead = pathlib.Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")
        with contextlib.suppress(OSError):
            read_ahead.write_text("1024")
        return self

    def __exit__(self, *_):
        end(self.process)
        if os.path.ismount(self.path):
            subprocess.run(["umount", "-fl", self.path], capture_output=True, timeout=30)
        self.path.rmdir()
        self.folder.rmdir()
