"""Writing: one large file until it is on the server, and many small ones."""

import dataclasses
import functools
import os
import pathlib
import shutil
import subprocess
import tempfile

from measuring import Row, measure, per_second, timed
from reading import LINK
from rig import BINARIES, MIB, Mount, Network, check

BLOCK = 4096
CONNECTIONS = 8
# As many as the driver has for small requests.
MANY = 64


class Source:
    """Local files in memory, to be copied: a large one, its parts, and many small ones in an archive."""

    def __init__(self):
        memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="tetherfs-bench-source-", dir=memory))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder)

    def large(self, size):
        """The file, and its parts as (start, end, file)."""
        file, part = self.folder / "large", size // CONNECTIONS
        with open(file, "wb") as large:
            for number in range(CONNECTIONS):
                piece = os.urandom(MIB) * (part // MIB)
                large.write(piece)
                (self.folder / f"part-{number}").write_bytes(piece)
        starts = range(0, size, part)
        return file, [(start, start + part, self.folder / f"part-{n}") for n, start in enumerate(starts)]

    def small(self, count, folders):
        """The archive, and its files as (name, file)."""
        names = [f"{number % folders}/{number // folders}" for number in range(count)]
        for name in names:
            file = self.folder / "small" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(os.urandom(BLOCK))
        archive = self.folder / "small.tar"
        check(["tar", "cf", archive, "-C", self.folder / "small", "."])
        return archive, [(name, self.folder / "small" / name) for name in names]


def copied(server, network, mount, file, size):
    """Copies a file in; it is on the server, whole, when this returns."""
    target = mount.path / "copy"
    subprocess.run(["cp", file, target], stdin=subprocess.DEVNULL, check=True)
    if os.path.getsize(server.tree / "copy") != size:
        raise RuntimeError("the copy is not on the server")
    return size


def copying(server, sizes):
    """cp of one large file in, until it is on the server."""
    size = sizes.big_mib * MIB
    ways = [(round_trip, None) for round_trip in sizes.round_trips[:3]]
    ways += [(round_trip, LINK) for round_trip in sizes.round_trips[1:3]]
    with Source() as source:
        file, parts = source.large(size)
        for round_trip, rate in ways:
            samples, raw, curl_cpu = [], [], []
            with Network(server, round_trip, rate=rate) as network:
                for _ in range(sizes.repetitions):
                    with Mount(network) as mount:
                        samples.append(measure(mount, lambda: copied(server, network, mount, file, size)))
                    (server.tree / "copy").unlink()
                    seconds, cpu = network.upload(
                        [("raw", size)], [("raw", start, end, part) for start, end, part in parts], CONNECTIONS)
                    raw.append(seconds)
                    curl_cpu.append(cpu)
                    (server.tree / "raw").unlink()
            link = f", {rate} MiB/s" if rate else ""
            yield Row(
                f"cp {sizes.big_mib} MiB in{link}, RTT {round_trip}", samples, raw, ">= 0.9", "MiB/s",
                per_second(sizes.big_mib), lambda row: row.ratio >= 0.9,
            )
            if not round_trip:
                spent = [dataclasses.replace(sample, seconds=sample.cpu) for sample in samples]
                yield Row(
                    "its CPU s per GiB (raw: curl's)", spent, curl_cpu, ">= 0.2", "s/GiB",
                    lambda seconds: seconds * 1024 / sizes.big_mib, lambda row: row.ratio >= 0.2,
                )


@functools.cache
def has_write_back():
    """Whether the driver can let close return before the upload."""
    return "--writes" in subprocess.run(
        [BINARIES / "tetherfs", "mount", "--help"], capture_output=True, text=True, timeout=30, check=True
    ).stdout


def unpacking(server, sizes):
    """tar x of many small files: on the server with each close, or (write-back) afterwards, many at once."""
    with Source() as source, Network(server, 20) as network:
        archive, files = source.small(sizes.small_files, sizes.folders)
        raw = []
        for repetition in range(sizes.repetitions):
            for folder in range(sizes.folders):
                (server.tree / f"raw-{repetition}/{folder}").mkdir(parents=True)
            named = [(f"raw-{repetition}/{name}", file) for name, file in files]
            raw.append(network.upload(
                [(path, BLOCK) for path, _ in named], [(path, 0, BLOCK, file) for path, file in named], MANY)[0])
        modes = ["sync", "write-back"] if has_write_back() else ["sync"]
        seconds = {}
        for mode in modes:
            options = ["--writes", mode] if has_write_back() else []
            samples, flushed = [], []
            # One is enough of what takes so long.
            for repetition in range(1 if mode == "sync" else sizes.repetitions):
                with Mount(network, options=options) as mount:
                    target = mount.path / f"{mode}-{repetition}"
                    target.mkdir()
                    samples.append(measure(mount, lambda: unpack(archive, target, len(files))))
                    spent = samples[-1].seconds
                    if mode != "sync":
                        flushed.append(spent + timed(lambda: check([BINARIES / "tetherfs", "flush", mount.path])))
                check_tree(server.tree / f"{mode}-{repetition}", files)
            row = Row(
                f"tar x, {len(files)} x 4 KiB, {mode}", samples, raw, "-", "files/s", per_second(len(files)),
                lambda row: True,
            )
            seconds[mode] = row.median("seconds")
            if mode != "sync":
                factor = seconds["sync"] / seconds[mode]
                row = dataclasses.replace(
                    row, goal=">= 15 x sync", is_met=lambda row, factor=factor: factor >= 15)
            yield row
            if flushed:
                whole = [dataclasses.replace(sample, seconds=each) for sample, each in zip(samples, flushed)]
                yield Row(
                    "the same until tetherfs flush returns", whole, raw, ">= 0.7", "files/s", per_second(len(files)),
                    lambda row: row.ratio >= 0.7,
                )


def unpack(archive, target, count):
    """Unpacks the archive; returns the bytes of its files."""
    subprocess.run(["tar", "xf", archive, "-C", target], stdin=subprocess.DEVNULL, check=True)
    return count * BLOCK


def check_tree(tree, files):
    """All files are on the server, whole."""
    for name, file in files:
        if (tree / name).read_bytes() != file.read_bytes():
            raise RuntimeError(f"{name} is not on the server as it was written")
