"""How a workload is measured: samples of the driver beside the raw limit of the same run make a row.

A ratio is the speed relative to raw, 1.0 being as fast; raw means the same bytes asked for by one parallel curl, over
the same network, with 8 connections unless a row says otherwise.
"""

import concurrent.futures
import dataclasses
import os
import statistics
import subprocess
import time


@dataclasses.dataclass
class Sizes:
    """How large the workloads are."""

    repetitions: int
    big_mib: int
    round_trips: tuple
    small_files: int
    folders: int
    names: int
    long_listing: int
    tree: int
    crowd: int


QUICK = Sizes(3, 256, (0, 20, 50), 400, 4, 20_000, 1000, 200, 50_000)
FULL = Sizes(3, 1024, (0, 20, 50, 100), 2000, 20, 100_000, 10_000, 2000, 1_000_000)


@dataclasses.dataclass
class Sample:
    """One repetition: times in seconds, memory in MiB.

    `read` is what the program got, `fetched` what the driver asked for; that and `requests` are None for a peer.
    """

    seconds: float
    requests: int
    fetched: int
    read: int
    cpu: float
    peak: float
    grown: float


@dataclasses.dataclass
class Row:
    """A line of the table; `rate` makes the number shown, in its unit, of seconds. A peer has no goal."""

    name: str
    samples: list
    raw: list
    goal: str
    unit: str
    rate: object
    is_met: object

    def median(self, field):
        """The median of a field of the samples."""
        return statistics.median(getattr(sample, field) for sample in self.samples)

    @property
    def is_of_peer(self):
        """Whether this is not our driver."""
        return self.is_met is None

    @property
    def ratio(self):
        """Our speed relative to raw, none without a raw limit."""
        return statistics.median(self.raw) / self.median("seconds") if self.raw else None


def milliseconds(seconds):
    return seconds * 1000


def per_second(count):
    """Makes a rate of the seconds that `count` things took."""
    return lambda seconds: count / seconds


def measure(mount, action):
    """Runs an action on a mount; it returns the bytes that it read, or those and its own idea of the seconds."""
    start, cpu = len(mount.server.log()), mount.cpu()
    begin = time.monotonic()
    result = action()
    seconds = time.monotonic() - begin
    if isinstance(result, tuple):
        result, seconds = result
    settle(mount.server)
    entries = mount.server.log(start)
    fetched = sum(count for method, target, count in entries if method == "GET" and is_content(target))
    peak = mount.memory("VmHWM")
    return Sample(seconds, len(entries), fetched, result, mount.cpu() - cpu, peak, peak - mount.idle_rss)


def is_content(target):
    """Whether a request asks for the bytes of a file."""
    return "/files/" in target and "?" not in target


def settle(server):
    """Waits until nothing more is asked for, such as what was read ahead."""
    count, since = len(server.log()), time.monotonic()
    while time.monotonic() - since < 0.3:
        time.sleep(0.05)
        if (now := len(server.log())) != count:
            count, since = now, time.monotonic()


# These have no time limit of their own: Python would wait in steps of up to 50 ms. The mount's watchdog frees them.


def shell(command, folder):
    """Runs a program that ends well, in a folder; returns the bytes that it printed, which nobody keeps."""
    process = subprocess.run(
        ["sh", "-c", command], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True
    )
    return len(process.stdout)


def cat(path):
    """Reads a file with cat, to nowhere; returns its size."""
    subprocess.run(["cat", path], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    return os.path.getsize(path)


def read_byte(path):
    """Opens a file and reads its first byte; returns how many it got."""
    with open(path, "rb", buffering=0) as file:
        return len(file.read(1))


def timed(action):
    """The seconds that an action takes."""
    begin = time.monotonic()
    action()
    return time.monotonic() - begin


def in_threads(action, plans):
    """All that an action gives for each of the plans, one thread a plan."""
    with concurrent.futures.ThreadPoolExecutor(len(plans)) as pool:
        return [value for values in pool.map(action, plans) for value in values]
