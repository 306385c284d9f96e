#!/usr/bin/env python3
"""Shows what keeps reads, and the rest, from being faster, in CPU seconds, and writes docs/performance-limits.md.

    limits.py [--mib N] [--no-page]

`make profile` builds what it needs. It needs root, /dev/fuse and perf. Times of the clock depend on what else the
machine does; CPU seconds do so far less, which is why nearly everything here is in them.
"""

import argparse
import os
import pathlib
import shutil
import statistics
import sys
import tempfile

from bench import machine, output, version
from changing import copied_in, found, listed, unpacked
from costs import REPETITIONS, Costs, children_cpu, costs_table, median, processes_of
from measuring import FULL, cat, in_threads, read_byte, settle, timed
from reading import big_file
from resident import memory, memory_table
from rig import BINARIES, MIB, REPOSITORY, TOOLS, DoNothing, Mount, Network, Server
from samples import parts, record_program, recorded, top

ROUND_TRIPS = (0, 20, 50, 100)


def one_cat(server, mib, options, round_trip, chains=None):
    """What a cat of a cold file costs, and curl's reading of the same."""
    scale, part, ours, raw = 1024 / mib, mib * MIB // 8, [], []
    with Network(server, round_trip) as network:
        for _ in range(REPETITIONS):
            with Mount(network, options=options) as mount:
                os.listdir(mount.path / "big")
                costs = Costs(processes_of(network, mount))
                cat(mount.path / "big/file")
                ours.append(costs.take("cat", server))
            costs = Costs(processes_of(network))
            target = network.target("files", "big/file")
            network.curl([(target, (i * part, (i + 1) * part)) for i in range(8)])
            raw.append(costs.take("curl"))
        if chains is not None:
            with Mount(network, options=options) as mount:
                os.listdir(mount.path / "big")
                with recorded(mount.pid, chains):
                    cat(mount.path / "big/file")
                    settle(server)
    return median(ours, scale), median(raw, scale)


def nothing(mib):
    """What a cat of a driver costs that has the bytes in its memory."""
    costs = []
    for _ in range(REPETITIONS):
        with DoNothing(1, mib) as other:
            before = Costs({"driver": other.process.pid})
            cat(other.path / "a-file-of-many-0000000")
            costs.append(before.take("cat"))
    return median(costs, 1024 / mib)


def warm(server, mib):
    """CPU seconds a GiB of reading what the kernel has: through the mount, through the driver that does nothing and
    locally, with the functions that take most of it."""
    results = []

    def measure(name, path):
        cat(path)
        begin, count, chains = children_cpu(), 5, []
        for _ in range(count):
            cat(path)
        seconds = (children_cpu() - begin) / count * 1024 / mib
        for _ in range(count):
            record_program(["cat", path], chains)
        results.append((name, seconds, top(chains, 5)))

    with Network(server, 0) as network, Mount(network) as mount:
        measure("tetherfs", mount.path / "big/file")
    with DoNothing(1, mib) as other:
        measure("do-nothing", other.path / "a-file-of-many-0000000")
    with tempfile.TemporaryDirectory(prefix="tetherfs-profile-") as folder:
        measure("a local file", shutil.copyfile(server.tree / "big/file", pathlib.Path(folder, "copy")))
    return results


def together(server, mib):
    """Four readers of four files at once, beside curl."""
    paths, size, ours, raw = [f"together/{n}" for n in range(4)], mib * MIB // 4, [], []
    for path in paths:
        server.write(path, size)
    with Network(server, 20) as network:
        for _ in range(REPETITIONS):
            with Mount(network) as mount:
                os.listdir(mount.path / "together")
                costs = Costs(processes_of(network, mount))
                in_threads(lambda path: [cat(mount.path / path)], paths)
                ours.append(costs.take("cat", server))
            costs = Costs(processes_of(network))
            halves = [(0, size // 2), (size // 2, size)]
            network.curl([(network.target("files", path), half) for path in paths for half in halves])
            raw.append(costs.take("curl"))
    return median(ours, 1024 / mib), median(raw, 1024 / mib)


def ways_down(server):
    """The milliseconds until the first byte of a file four names down at RTT 20, as Markdown: of a mount's first such
    path, and of another one, which has one folder less to list."""
    paths, seconds, raw = ["a/b/c/file", "other/b/c/file"], [], []
    for path in paths:
        server.write(path, 64 << 10)
    with Network(server, 20) as network:
        for _ in range(3 * REPETITIONS):
            with Mount(network) as mount:
                seconds.append([timed(lambda path=path: read_byte(mount.path / path)) for path in paths])
            raw += network.latencies(network.target("files", paths[0]), [(0, 64 << 10)] * 5)
    lines = ["|path|round trips|ms|raw|ms beyond raw|", "|---|--:|--:|--:|--:|"]
    for title, trips, times in zip(["the first of a mount", "another"], [5, 4], zip(*seconds)):
        ours, least = 1000 * statistics.median(times), 1000 * trips * statistics.median(raw)
        lines.append(f"|{title}|{trips}|{ours:.1f}|{least:.1f}|{ours - least:.1f}|")
    return "\n".join(lines)


def reach(reads, free):
    """For each row how far it is from what the cores allow, as Markdown."""
    names = ("raw", "raw and do-nothing", "limit of the ratio", "ours", "ratio", "by the clock")
    lines = ["|what|" + "|".join(names) + "|", "|---|" + "--:|" * len(names)]
    for title, ours, raw in reads:
        # curl's work and that of handing the bytes on, which no driver gets around.
        least = raw["total"] + free["total"]
        lines.append(
            f"|{title}|{raw['total']:.2f}|{least:.2f}|{raw['total'] / least:.2f}|{ours['total']:.2f}"
            f"|{raw['total'] / ours['total']:.2f}|{raw['clock'] / ours['clock']:.2f}|"
        )
    return "\n".join(lines)


def page(values):
    """docs/performance-limits.md."""
    template = (pathlib.Path(__file__).parent / "limits.md").read_text()
    for name, text in values.items():
        template = template.replace("{{" + name + "}}", text)
    return template


def main():
    parser = argparse.ArgumentParser(description="Shows what keeps it from being faster.")
    parser.add_argument("--mib", type=int, default=1024, help="the size of the file that is read, by default 1024")
    parser.add_argument("--no-page", action="store_true", help="print the page and write none")
    arguments = parser.parse_args()
    for program in [BINARIES / "tetherfs", BINARIES / "tetherfs-server", TOOLS / "delay-proxy", TOOLS / "do-nothing"]:
        if not program.exists():
            sys.exit(f"limits.py: there is no {program}: make profile builds it")
    if not shutil.which("perf"):
        sys.exit("limits.py: there is no perf: install linux-perf")
    server, mib = Server(), arguments.mib
    try:
        big_file(server, mib * MIB)
        reads, rows, chains, chains_without = [], [], [], []
        for round_trip in ROUND_TRIPS:
            for options in ((), ("--disk-cache", "0")):
                title = f"RTT {round_trip}" + (", no disk cache" if options else "")
                into = None if round_trip else chains_without if options else chains
                ours, raw = one_cat(server, mib, options, round_trip, into)
                reads.append((title, ours, raw))
                rows += [(title, ours)] + ([] if options else [(f"RTT {round_trip}, curl alone", raw)])
                print(title, ours, raw, file=sys.stderr, flush=True)
        free, cached, four = nothing(mib), warm(server, mib), together(server, mib)
        idle, most = memory(server)
        down = ways_down(server)
        changes, into_copy, into_unpack = [], [], []
        for title, (ours, raw) in (
            (f"cp of {mib} MiB in, for each GiB", copied_in(server, mib, into_copy)),
            ("tar x in write-back, for 1,000 files", unpacked(server, FULL, into_unpack)),
            (f"ls -l of {FULL.long_listing}", listed(server, FULL)),
            (f"find over {FULL.tree} folders", found(server, FULL)),
        ):
            changes += [(title, ours), ("the same by curl", raw)]
    finally:
        server.stop()
    rows.append(("a driver that does nothing", free))
    names = ("driver", "cat", "curl", "server", "proxy", "total", "clock")
    lines = ["|what|CPU s/GiB|most of it|", "|---|--:|---|"]
    state = output("git", "-C", str(REPOSITORY), "describe", "--always", "--dirty")
    text = page({
        "machine": machine(),
        "versions": f"sources at {state}; {version('curl')}, {version('perf')}",
        "size": f"{mib} MiB",
        "costs": costs_table(rows, names),
        "reach": reach(reads, free),
        "parts": parts(chains, reads[0][1]["driver"]),
        "goal": f"{2 * reads[0][2]['curl']:.2f}",
        "parts-without": parts(chains_without, reads[1][1]["driver"]),
        "warm": "\n".join(lines + [f"|{name}|{seconds:.3f}|{most}|" for name, seconds, most in cached]),
        "down": down,
        "memory": memory_table(idle, most),
        "changes": costs_table(changes, ("driver", "program", "server", "proxy", "total", "clock", "cores")),
        "parts-copy": parts(into_copy, changes[0][1]["driver"]),
        "parts-unpack": parts(into_unpack, changes[2][1]["driver"], "1,000 files"),
        "together": costs_table([("4 readers", four[0]), ("curl alone", four[1])], names),
    })
    print(text)
    if not arguments.no_page:
        (REPOSITORY / "docs" / "performance-limits.md").write_text(text)


if __name__ == "__main__":
    main()
