"""What the memory of a process consists of, looked at again and again while it works."""

import collections
import pathlib
import re
import threading

from measuring import FULL
from reading import crowd_files, read_as_crowd
from rig import Mount, Network

KINDS = ("blocks", "heaps", "program and libraries", "stacks and the rest")
# Smaller mappings of no file are stacks, and what the libraries map for themselves.
LEAST_HEAP = 1 << 20


def by_kind(pid):
    """MiB of resident memory of each kind, and of all (`total`)."""
    found = collections.Counter(dict.fromkeys(KINDS, 0))
    name, size, resident = "", 0, 0
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if mapping := re.match(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+\s*(.*)", line):
            size, name = int(mapping[2], 16) - int(mapping[1], 16), mapping[3]
        elif line.startswith("Rss:"):
            resident = int(line.split()[1]) / 1024
        elif line.startswith("VmFlags:"):
            found[kind(name, size, line.split())] += resident
    return {**found, "total": sum(found.values())}


def kind(name, size, flags):
    """Which kind a mapping is of."""
    # Asked to be huge pages: only the pool of blocks is.
    if "hg" in flags:
        return "blocks"
    if name == "[heap]" or not name and size >= LEAST_HEAP:
        return "heaps"
    return "program and libraries" if name.startswith("/") else "stacks and the rest"


class Peak:
    """Looks at a process while something runs; `most` is what it had when it had most."""

    def __init__(self, pid):
        self.pid, self.most, self.ended = pid, by_kind(pid), threading.Event()
        self.thread = threading.Thread(target=self.look)

    def look(self):
        while not self.ended.wait(0.03):
            self.most = max(self.most, by_kind(self.pid), key=lambda found: found["total"])

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def memory(server):
    """What the driver's memory consists of when it has most, beside what it has when idle."""
    crowd_files(server, FULL)
    with Network(server, 20) as network, Mount(network) as mount:
        idle = by_kind(mount.pid)
        with Peak(mount.pid) as peak:
            read_as_crowd(mount)
    return idle, peak.most


def memory_table(idle, most):
    """The driver's memory as Markdown."""
    lines = ["|MiB|idle|at most|", "|---|--:|--:|"]
    return "\n".join(lines + [f"|{kind}|{idle[kind]:.0f}|{most[kind]:.0f}|" for kind in (*KINDS, "total")])
