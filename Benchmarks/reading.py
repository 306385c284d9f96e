"""Reading: one large file, several at once, a little of many, and what is kept of it."""

import dataclasses
import os
import pathlib
import random
import shutil
import statistics
import tempfile

from measuring import Row, cat, in_threads, measure, milliseconds, per_second, read_byte, shell, timed
from rig import MIB, Mount, Network, drop_kernel_caches

BLOCK = 4096


def big_file(server, size):
    """Makes the large file that several workloads read, unless it is there."""
    if not (server.tree / "big/file").exists():
        server.write("big/file", size)


def sequential(server, sizes):
    """One large file read from start to end: cold at several round trips, then warm."""
    size = sizes.big_mib * MIB
    big_file(server, size)
    part = size // 8
    rate = per_second(sizes.big_mib)
    warm, local, curl_cpu = [], [], []
    for round_trip in sizes.round_trips:
        cold, raw = [], []
        with Network(server, round_trip) as network:
            target = network.target("files", "big/file")
            for _ in range(sizes.repetitions):
                with Mount(network) as mount:
                    # As after an ls: the way down is another row's.
                    os.listdir(mount.path / "big")
                    cold.append(measure(mount, lambda: cat(mount.path / "big/file")))
                    if round_trip == 0:
                        warm.append(measure(mount, lambda: cat(mount.path / "big/file")))
                        local.append(local_again(server.tree / "big/file"))
                seconds, cpu = network.curl([(target, (i * part, (i + 1) * part)) for i in range(8)])
                raw.append(seconds)
                if round_trip == 0:
                    curl_cpu.append(cpu)
        least = 0.95 if round_trip else 0.6
        yield Row(
            f"cat {sizes.big_mib} MiB cold, RTT {round_trip}", cold, raw, f">= {least}", "MiB/s", rate,
            lambda row, least=least: row.ratio >= least,
        )
        if round_trip == 0:
            yield Row(
                "the same warm (raw: a local file)", warm, local, ">= 0.9, 0 requests", "MiB/s", rate,
                lambda row: row.ratio >= 0.9 and row.median("requests") == 0,
            )
            yield processor(cold, curl_cpu, size)


LINK = 300


def on_a_link(server, sizes):
    """The same on a link that is the bottleneck, as between machines it is, and not the cores that all share here."""
    size = sizes.big_mib * MIB
    big_file(server, size)
    part = size // 8
    for round_trip in sizes.round_trips[1:]:
        samples, raw = [], []
        with Network(server, round_trip, rate=LINK) as network:
            target = network.target("files", "big/file")
            for _ in range(sizes.repetitions):
                with Mount(network) as mount:
                    os.listdir(mount.path / "big")
                    samples.append(measure(mount, lambda: cat(mount.path / "big/file")))
                raw.append(network.curl([(target, (i * part, (i + 1) * part)) for i in range(8)])[0])
        yield Row(
            f"cat {sizes.big_mib} MiB, {LINK} MiB/s, RTT {round_trip}", samples, raw, ">= 0.95", "MiB/s",
            per_second(sizes.big_mib), lambda row: row.ratio >= 0.95,
        )


CROWD = 64


def crowd_files(server, sizes):
    """Makes the files that many read at once, and a great many names beside them."""
    for number in range(1, CROWD + 1):
        server.write(f"crowd/{number}", 8 * MIB)
    for folder in range(sizes.crowd // 1000):
        (server.tree / f"crowd/names/{folder}").mkdir(parents=True)
        for number in range(1000):
            # Like touch, of which a million take long.
            os.close(os.open(server.tree / f"crowd/names/{folder}/name-{number:07}", os.O_CREAT | os.O_WRONLY))


def read_as_crowd(mount):
    """Reads all of these files at once while a program looks through the names; returns the bytes read."""
    in_threads(
        lambda n: [cat(mount.path / f"crowd/{n}") if n else shell("find names", mount.path / "crowd")],
        range(CROWD + 1),
    )
    return CROWD * 8 * MIB


def crowd(server, sizes):
    """What memory it takes to read many files at once while a program looks through a great many names."""
    crowd_files(server, sizes)
    with Network(server, 20) as network, Mount(network) as mount:
        sample = measure(mount, lambda: read_as_crowd(mount))
    yield Row(
        f"{CROWD} readers, find of {sizes.crowd} names", [sample], [], "<= 128 MiB beyond idle", "s",
        lambda seconds: seconds, lambda row: row.median("grown") <= 128,
    )


def local_again(path):
    """The seconds that a local file on a disk takes which the kernel has cached."""
    with tempfile.TemporaryDirectory(prefix="tetherfs-bench-") as folder:
        copy = shutil.copyfile(path, pathlib.Path(folder, "copy"))
        cat(copy)
        return timed(lambda: cat(copy))


def processor(cold, curl_cpu, size):
    """CPU time of the driver's process for reading cold, beside curl's own."""
    samples = [dataclasses.replace(sample, seconds=sample.cpu) for sample in cold]
    return Row(
        "its CPU s per GiB (raw: curl's)", samples, curl_cpu, ">= 0.5", "s/GiB",
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
            f"first byte of {count} files", samples, raw, ">= 0.91", "ms", milliseconds,
            lambda row: row.ratio >= 1 / 1.1,
        )


def random_reads(server, sizes):
    """4 KiB reads all over a cold file, by one thread and by 16."""
    size = sizes.big_mib * MIB
    big_file(server, size)
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
            f"{count} random 4 KiB, {threads} thread{'s'[:threads > 1]}", samples, raw,
            ">= 0.91, <= 64 KiB each", "ms", milliseconds,
            lambda row, count=count: row.ratio >= 1 / 1.1 and row.median("fetched") <= count << 16,
        )


def read_blocks(descriptor, offsets):
    """The seconds that each of some reads takes."""
    return [timed(lambda: os.pread(descriptor, BLOCK, offset)) for offset in offsets]


def small_paths(server, sizes):
    """Makes the small files; returns their paths."""
    paths = [f"small/{n % sizes.folders}/{n // sizes.folders}" for n in range(sizes.small_files)]
    for path in paths:
        server.write(path, BLOCK)
    return paths


def small_files(server, sizes):
    """tar over many small files."""
    paths = small_paths(server, sizes)
    samples, raw = [], []
    with Network(server, 20) as network:
        for _ in range(sizes.repetitions):
            with Mount(network) as mount:
                # Not straight to /dev/null: tar would see it and read nothing.
                samples.append(measure(mount, lambda: shell("tar c small | cat", mount.path) and len(paths) * BLOCK))
            wanted = [(network.target("files", path), (0, BLOCK)) for path in paths]
            raw.append(network.curl(wanted, connections=64)[0])
    yield Row(
        f"tar c, {len(paths)} x 4 KiB (raw: 64 at once)", samples, raw, ">= 500, <= 2.1 req. each", "files/s",
        per_second(len(paths)),
        lambda row: len(paths) / row.median("seconds") >= 500 and row.median("requests") <= 2.1 * len(paths),
    )


def remounted(server, sizes):
    """The same file again after a remount, from the cache on the disk, beside a file on that disk."""
    big_file(server, sizes.big_mib * MIB)
    samples, local = [], []
    with Network(server, 20) as network:
        for _ in range(sizes.repetitions):
            folder = pathlib.Path(tempfile.mkdtemp(prefix="tetherfs-bench-cache-"))
            try:
                with Mount(network, folder / "cache") as mount:
                    cat(mount.path / "big/file")
                with Mount(network, folder / "cache") as mount:
                    samples.append(measure(mount, lambda: cat(mount.path / "big/file")))
                shutil.copyfile(server.tree / "big/file", folder / "copy")
                drop_kernel_caches()
                local.append(timed(lambda: cat(folder / "copy")))
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    yield Row(
        "cat after a remount (raw: disk)", samples, local, ">= 0.8, 0 fetched", "MiB/s",
        per_second(sizes.big_mib), lambda row: row.ratio >= 0.8 and row.median("fetched") == 0,
    )


def together(server, sizes):
    """Several readers at once: each of a file of its own, and all of one."""
    size = sizes.big_mib * MIB // 4
    paths = [f"together/{number}" for number in range(4)]
    for path in paths:
        server.write(path, size)
    for readers, files in ((4, paths), (10, paths[:1])):
        samples, raw = [], []
        with Network(server, 20) as network:
            part = size * len(files) // 8
            spans = [(begin, begin + part) for begin in range(0, size, part)]
            wanted = [(network.target("files", path), span) for path in files for span in spans]
            for _ in range(sizes.repetitions):
                with Mount(network) as mount:

                    def read_all():
                        in_threads(lambda n: [cat(mount.path / files[n % len(files)])], range(readers))
                        return len(files) * size

                    samples.append(measure(mount, read_all))
                # In sum: what the readers get together, beside what one curl after the other would bring them.
                raw.append(network.curl(wanted)[0] * readers / len(files))
        yield Row(
            f"{readers} readers of {len(files)} x {size // MIB} MiB", samples, raw,
            ">= 0.95, fetched 1.00", "MiB/s", per_second(readers * size / MIB),
            lambda row: row.ratio >= 0.95 and row.median("fetched") == row.median("read"),
        )
