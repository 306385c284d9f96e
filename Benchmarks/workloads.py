"""What is measured: each workload gives rows, in which the driver stands beside the raw limit of the same run.

A ratio is the speed relative to raw, 1.0 being as fast; raw means the same bytes asked for by one parallel curl, over
the same network, with 8 connections unless a row says otherwise.
"""

import concurrent.futures
import dataclasses
import os
import random
import statistics
import subprocess
import time

from rig import LIMIT, MIB, Mount, Network

BLOCK = 4096


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


QUICK = Sizes(3, 256, (0, 20, 50), 400, 4, 20_000, 1000)
FULL = Sizes(3, 1024, (0, 20, 50, 100), 2000, 20, 100_000, 10_000)


@dataclasses.dataclass
class Sample:
    """One repetition: times in seconds, memory in MiB. `read` is what the program got, `fetched` what we asked for."""

    seconds: float
    requests: int
    fetched: int
    read: int
    cpu: float
    peak: float
    grown: float


@dataclasses.dataclass
class Row:
    """A line of the table. `rate` is what is shown: the number in its unit, made of seconds."""

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
    peak = mount.status("VmHWM")
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


def shell(command, folder):
    """Runs a program that ends well, in a folder; returns the bytes that it printed, which nobody keeps."""
    process = subprocess.Popen(["sh", "-c", command], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        output, _ = process.communicate(timeout=LIMIT)
    finally:
        process.kill()
    if process.returncode != 0:
        raise RuntimeError(f"{command} failed with {process.returncode}")
    return len(output)


def cat(path):
    """Reads a file with cat, to nowhere; returns its size."""
    subprocess.run(["cat", path], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True, timeout=LIMIT)
    return os.path.getsize(path)


def timed(action):
    """The seconds that an action takes."""
    begin = time.monotonic()
    action()
    return time.monotonic() - begin


# The workloads.


def sequential(server, sizes):
    """One large file read from start to end: cold at several round trips, then warm."""
    size = sizes.big_mib * MIB
    server.write("big/file", size)
    part = size // 8
    rate = per_second(sizes.big_mib)
    warm, local, curl_cpu = [], [], []
    for round_trip in sizes.round_trips:
        cold, raw = [], []
        with Network(server, round_trip) as network:
            target = network.target("files", "big/file")
            for _ in range(sizes.repetitions):
                with Mount(network) as mount:
                    cold.append(measure(mount, lambda: cat(mount.path / "big/file")))
                    if round_trip == 0:
                        warm.append(measure(mount, lambda: cat(mount.path / "big/file")))
                        local.append(timed(lambda: cat(server.tree / "big/file")))
                seconds, cpu = network.curl([(target, (i * part, (i + 1) * part)) for i in range(8)])
                raw.append(seconds)
                if round_trip == 0:
                    curl_cpu.append(cpu)
        least = 0.95 if round_trip else 0.6
        yield Row(
            f"cat {sizes.big_mib} MiB cold, RTT {round_trip}", cold, raw, f"ratio >= {least}", "MiB/s", rate,
            lambda row, least=least: row.ratio >= least,
        )
        if round_trip == 0:
            yield Row(
                "the same warm (raw: tmpfs)", warm, local, "ratio >= 0.9, 0 requests", "MiB/s", rate,
                lambda row: row.ratio >= 0.9 and row.median("requests") == 0,
            )
            yield processor(cold, curl_cpu, size)


def processor(cold, curl_cpu, size):
    """CPU time of the driver's process for reading cold, beside curl's own."""
    samples = [dataclasses.replace(sample, seconds=sample.cpu) for sample in cold]
    return Row(
        "its CPU s per GiB (raw: curl's)", samples, curl_cpu, "ratio >= 0.5", "s/GiB",
        lambda seconds: seconds * 1024 * MIB / size, lambda row: row.ratio >= 0.5,
    )


def first_byte(server, sizes):
    """The first byte of files that nobody has seen, in a directory that was listed."""
    count = 12
    for number in range(count * sizes.repetitions):
        server.write(f"first/{number}", 256 << 10)
    samples, raw = [], []
    with Network(server, 20) as network:
        for repetition in range(sizes.repetitions):
            with Mount(network) as mount:
                folder = mount.path / "first"
                os.listdir(folder)

                def read_first(names):
                    seconds = []
                    for name in names:
                        seconds.append(timed(lambda: read_byte(folder / name)))
                    return len(seconds), statistics.median(seconds)

                # Not in order, as that would be a pattern to read ahead of.
                names = [str(n) for n in range(repetition * count, (repetition + 1) * count)]
                random.Random(repetition).shuffle(names)
                samples.append(measure(mount, lambda: read_first(names)))
            spans = [(0, 64 << 10)] * count
            raw.append(statistics.median(network.latencies(network.target("files", "first/0"), spans)))
        # One round trip and the server's time is what a request of a kept connection takes.
        yield Row(
            f"first byte of {count} files, RTT 20", samples, raw, "ratio >= 0.91", "ms", milliseconds,
            lambda row: row.ratio >= 1 / 1.1,
        )


def read_byte(path):
    with open(path, "rb", buffering=0) as file:
        file.read(1)


def random_reads(server, sizes):
    """4 KiB reads all over a cold file, by one thread and by 16."""
    size = sizes.big_mib * MIB
    for threads, each in ((1, 30), (16, 15)):
        samples, raw = [], []
        with Network(server, 20) as network:
            for repetition in range(sizes.repetitions):
                chance = random.Random(repetition)
                plans = [[chance.randrange(size // BLOCK) * BLOCK for _ in range(each)] for _ in range(threads)]

                def read_all(path):
                    descriptor = os.open(path, os.O_RDONLY)
                    try:
                        seconds = in_threads(lambda plan: read_blocks(descriptor, plan), plans)
                    finally:
                        os.close(descriptor)
                    return len(seconds) * BLOCK, statistics.median(seconds)

                with Mount(network) as mount:
                    # Names and size known: what is measured is the reading.
                    os.stat(mount.path / "big/file")
                    samples.append(measure(mount, lambda: read_all(mount.path / "big/file")))
                target = network.target("files", "big/file")
                spans = [[(at, at + (64 << 10)) for at in plan] for plan in plans]
                raw.append(statistics.median(in_threads(lambda span: network.latencies(target, span), spans)))
        count = threads * each
        yield Row(
            f"{count} random 4 KiB, {threads} thread{'s'[:threads > 1]}, RTT 20", samples, raw,
            "ratio >= 0.91, <= 64 KiB each", "ms", milliseconds,
            lambda row, count=count: row.ratio >= 1 / 1.1 and row.median("fetched") <= count << 16,
        )


def read_blocks(descriptor, offsets):
    """The seconds that each of some reads takes."""
    return [timed(lambda: os.pread(descriptor, BLOCK, offset)) for offset in offsets]


def in_threads(action, plans):
    """All that an action gives for each of the plans, one thread a plan."""
    with concurrent.futures.ThreadPoolExecutor(len(plans)) as pool:
        return [value for values in pool.map(action, plans) for value in values]


def small_files(server, sizes):
    """tar over many small files."""
    paths = [f"small/{n % sizes.folders}/{n // sizes.folders}" for n in range(sizes.small_files)]
    for path in paths:
        server.write(path, BLOCK)
    samples, raw = [], []
    with Network(server, 20) as network:
        for _ in range(sizes.repetitions):
            with Mount(network) as mount:
                # Not straight to /dev/null: tar would see it and read nothing.
                samples.append(measure(mount, lambda: shell("tar c small | cat", mount.path) and len(paths) * BLOCK))
            raw.append(network.curl([(network.target("files", path), (0, BLOCK)) for path in paths])[0])
    yield Row(
        f"tar c, {len(paths)} x 4 KiB, RTT 20", samples, raw, ">= 500, <= 2.1 requests each", "files/s",
        per_second(len(paths)),
        lambda row: len(paths) / row.median("seconds") >= 500 and row.median("requests") <= 2.1 * len(paths),
    )


def listing(server, sizes):
    """The names of a large directory."""
    folder = server.tree / "names"
    folder.mkdir()
    for number in range(sizes.names):
        (folder / f"a-file-of-many-{number:07}").touch()
    samples, raw = [], []
    with Network(server, 20) as network:
        for _ in range(sizes.repetitions):
            with Mount(network) as mount:
                # The root's own listing is not what is measured.
                os.stat(mount.path / "names")
                samples.append(measure(mount, lambda: shell("ls -f names", mount.path)))
            raw.append(network.curl([(network.target("list", "names"), None)])[0])
    limit = 0.5 + 0.02
    yield Row(
        f"ls -f of {sizes.names} names, RTT 20", samples, raw, f"<= {limit * 1000:.0f} ms, 1 request", "ms",
        milliseconds, lambda row: row.median("seconds") <= limit and row.median("requests") <= 1,
    )


def long_listing(server, sizes):
    """The sizes of a large directory, the first time and again."""
    paths = [f"long/a-file-of-many-{number:07}" for number in range(sizes.long_listing)]
    for path in paths:
        server.write(path, 10)
    first, again, raw = [], [], []
    with Network(server, 20) as network:
        wanted = [(network.target("files", path) + "?init=true", None) for path in paths]
        for _ in range(sizes.repetitions):
            with Mount(network) as mount:
                os.stat(mount.path / "long")
                first.append(measure(mount, lambda: shell("ls -l long", mount.path)))
                again.append(measure(mount, lambda: shell("ls -l long", mount.path)))
            raw.append(network.curl(wanted, connections=64)[0])
    limit = 1.2 * len(paths) / 64 * 0.02
    yield Row(
        f"ls -l of {len(paths)}, RTT 20 (raw: 64 at once)", first, raw, f"<= {limit * 1000:.0f} ms", "ms", milliseconds,
        lambda row: row.median("seconds") <= limit,
    )
    yield Row(
        "the same again", again, [], "0 requests", "ms", milliseconds, lambda row: row.median("requests") == 0
    )


def cached_stat(server, sizes):
    """stat of one name, again and again, beside a local file's."""
    count, samples, raw = 20_000, [], []
    server.write("stat/file", 10)

    def stat_all(path):
        for _ in range(count):
            os.stat(path)
        return 0

    with Network(server, 20) as network:
        for _ in range(sizes.repetitions):
            with Mount(network) as mount:
                os.stat(mount.path / "stat/file")
                samples.append(measure(mount, lambda: stat_all(mount.path / "stat/file")))
            raw.append(timed(lambda: stat_all(server.tree / "stat/file")))
    yield Row(
        "stat of a cached name (raw: tmpfs)", samples, raw, "ratio >= 0.67, 0 requests", "k/s",
        per_second(count / 1000), lambda row: row.ratio >= 1 / 1.5 and row.median("requests") == 0,
    )


ALL = [sequential, first_byte, random_reads, small_files, listing, long_listing, cached_stat]
