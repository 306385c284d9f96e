#!/usr/bin/env python3
"""Measures reads and listings of a mount beside the raw limit, prints a table, writes docs/performance.md.

    bench.py [--full] [--only NAME ...] [--repetitions N] [--no-page]

`make bench-quick` and `make bench` build what it needs. The programs are found in TETHERFS_BIN_DIR, by default
.build/release. It mounts, so that it needs /dev/fuse; only root can empty the kernel's caches between the measurements,
and every mount is a fresh one all the same.
"""

import argparse
import contextlib
import dataclasses
import os
import platform
import re
import statistics
import subprocess
import sys
import time

import names
import peers
import reading
import writing
from measuring import FULL, QUICK
from rig import BINARIES, REPOSITORY, TOOLS, Server

WORKLOADS = [
    reading.sequential, reading.on_a_link, reading.remounted, reading.together, reading.first_byte, names.way_down, reading.random_reads,
    reading.small_files, writing.copying, writing.unpacking, names.listing, names.long_listing, names.find, names.cached_stat,
    reading.crowd, peers.peers,
]
HEADINGS = ("workload", "median", "raw", "ratio", "req.", "fetched", "CPU/GiB", "RSS", "goal", "met")
MEMORY_MIB = 128
# Below that, ticks of 10 ms make no figure of the CPU time.
LEAST_FOR_CPU = 64 << 20
NOT_MEASURED = """
## Not measured yet

- The peers, `rclone mount` and `sshfs`: only `make bench` measures them, where they are installed.
"""


def number(value):
    """A number with three figures that count, or all before the point."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def cells(row):
    """The columns of a row as text."""
    read = row.median("read")
    requests, fetched = (None, None) if row.is_of_peer else (row.median("requests"), row.median("fetched"))
    # What came from the kernel's cache cost the driver nothing.
    has_content = fetched is None or fetched > 0
    return (
        row.name,
        f"{number(row.rate(row.median('seconds')))} {row.unit}",
        number(row.rate(statistics.median(row.raw))) if row.raw else "-",
        f"{row.ratio:.2f}" if row.raw else "-",
        "-" if row.is_of_peer else f"{requests:.0f}",
        number(fetched / read) if fetched and read else "-",
        number(cpu_per_gib(row)) if has_content and read >= LEAST_FOR_CPU else "-",
        f"{row.median('peak'):.0f}",
        row.goal or "-",
        "-" if row.is_of_peer else "yes" if row.is_met(row) else "NO",
    )


def table(rows):
    """The rows as Markdown that is also readable as it is."""
    lines = [HEADINGS, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    left = {0, len(HEADINGS) - 2}

    def text(line):
        padded = [
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths))
        ]
        return "|" + "|".join(padded) + "|"

    dashes = ["-" * width if column in left else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    return "\n".join([text(HEADINGS), "|" + "|".join(dashes) + "|", *map(text, rows)])


def memory_row(rows):
    """What the driver needed beyond what it has when idle, at most in any row."""
    grown = max((sample.grown for row in rows if not row.is_of_peer for sample in row.samples), default=0)
    met = "yes" if grown <= MEMORY_MIB else "NO"
    return ("most memory beyond idle, any row", f"{grown:.0f} MiB", *["-"] * 6, f"<= {MEMORY_MIB} MiB", met)


def processor_rows(rows):
    """The CPU time of the driver's process for a GiB, beside the least that a peer takes for the same bytes."""
    cold = [row for row in rows if "MiB cold" in row.name]
    peers_own = [cpu_per_gib(row) for row in cold if row.is_of_peer]
    own = [cpu_per_gib(row) for row in cold if not row.is_of_peer and row.name.endswith("RTT 20")]
    if not own or not peers_own:
        return []
    least = min(peers_own)
    name = "cat cold, RTT 20: CPU s per GiB (raw: the least of a peer)"
    met = "yes" if own[0] < least else "NO"
    return [(name, f"{own[0]:.2f} s/GiB", number(least), f"{least / own[0]:.2f}", *["-"] * 4, "> 1", met)]


def cpu_per_gib(row):
    return row.median("cpu") * (1 << 30) / row.median("read")


def output(*command):
    """What a command prints, nothing if it is not there."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        result = subprocess.run(command, capture_output=True, text=True, timeout=30)
        return (result.stdout + result.stderr).strip()
    return ""


def version(program, option="--version"):
    """A program and its version."""
    number = re.search(rf"^{program}\D*([\d.]+)", output(program, option), re.IGNORECASE | re.MULTILINE)
    return f"{program} {number.group(1) if number else '(missing)'}"


def machine():
    """The processor, its cores, the memory and the kernel."""
    with open("/proc/cpuinfo") as info:
        model = re.search(r"model name\s*:\s*(.*)", info.read())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    name = model.group(1) if model else platform.machine()
    return f"{name}, {os.cpu_count()} cores, {memory:.0f} GiB of memory, Linux {platform.release().split('-')[0]}"


def page(text, command, seconds, repetitions, has_peers):
    """docs/performance.md."""
    missing = "" if has_peers else NOT_MEASURED
    state = output("git", "-C", str(REPOSITORY), "describe", "--always", "--dirty")
    versions = ", ".join([version("curl"), version("rclone", "version"), version("sshfs")])
    # Its name ends with a digit.
    fuse = output("fusermount3", "--version").rpartition(" ")[2]
    built = "" if BINARIES == REPOSITORY / ".build" / "release" else " (programs that were built before, elsewhere)"
    return f"""# Performance

Written by `{command}` in {seconds:.0f} s. Results are as they were, also where a goal is missed: docs/performance-limits.md
shows with a profile what the limit is there.

- Machine: {machine()}.
  Server, proxy, driver and the reading program share its cores.
- Versions: sources at {state}{built}; {versions}, fuse3 {fuse}, Python {platform.python_version()}.
- Network: loopback. RTT is in ms, 20 unless a row says otherwise, made by `delay-proxy` (in `Benchmarks/`), which
  delays and does not narrow; at 0 there is no proxy. Its own limit is in its first comment.
- Medians of {repetitions} repetitions, each with a fresh mount with default options and an empty cache; the server's
  files are in memory.

{text}

- A row with a peer's name is that of `rclone mount` over WebDAV or of `sshfs`, plain and with one repetition.
- **raw**: the same bytes asked for by one parallel `curl` with 8 connections over the same network in the same run;
  for the first byte and random reads one request of 64 KiB on an open connection. Otherwise the row says what.
- **ratio**: our speed relative to raw; 1.0 is as fast. Of several readers it is what they get in sum, beside what curl
  would bring each of them, one after the other.
- **req.** (requests) and **fetched** (bytes per byte that the program read) are the server's own count, with what was
  read ahead.
- **CPU/GiB**: seconds of the driver's process for each GiB read. **RSS**: its peak in MiB.
{missing}"""


def main():
    parser = argparse.ArgumentParser(description="Measures a mount beside the raw limit.")
    parser.add_argument("--full", action="store_true", help="the full sizes, about 10 minutes")
    choices = [workload.__name__ for workload in WORKLOADS]
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=choices, help="some of: " + " ".join(choices))
    parser.add_argument("--repetitions", type=int, help="of each measurement, by default 3")
    parser.add_argument("--no-page", action="store_true", help="print the table and write no page")
    arguments = parser.parse_args()
    programs = [BINARIES / "tetherfs", BINARIES / "tetherfs-server", TOOLS / "delay-proxy", TOOLS / "do-nothing"]
    for program in programs:
        if not program.exists():
            sys.exit(f"bench.py: there is no {program}: make bench-quick builds it")
    sizes = FULL if arguments.full else QUICK
    if arguments.repetitions:
        sizes = dataclasses.replace(sizes, repetitions=arguments.repetitions)
    # The quick set has no time for peers unless they are asked for.
    chosen = WORKLOADS if arguments.full else WORKLOADS[:-1]
    if arguments.only:
        chosen = [workload for workload in WORKLOADS if workload.__name__ in arguments.only]
    begin, rows = time.monotonic(), []
    server = Server()
    try:
        for workload in chosen:
            for row in workload(server, sizes):
                rows.append(row)
                print(f"{time.monotonic() - begin:5.0f} s  {row.name}", file=sys.stderr, flush=True)
    finally:
        server.stop()
    text = table([*map(cells, rows), *processor_rows(rows), memory_row(rows)])
    print(text)
    if not arguments.no_page and not arguments.only:
        command = "make bench" if arguments.full else "make bench-quick"
        has_peers = any(row.is_of_peer for row in rows)
        text = page(text, command, time.monotonic() - begin, sizes.repetitions, has_peers)
        (REPOSITORY / "docs" / "performance.md").write_text(text)


if __name__ == "__main__":
    main()
