"""Names: listings, sizes, and finding the way through a tree."""

import os

from measuring import Row, measure, milliseconds, per_second, read_byte, shell, timed
from rig import DoNothing, Mount, Network


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
        f"ls -f of {sizes.names} names", samples, raw, f"<= {limit * 1000:.0f} ms, 1 request", "ms",
        milliseconds, lambda row: row.median("seconds") <= limit and row.median("requests") <= 1,
    )


def long_paths(server, sizes):
    """Makes the directory whose sizes are asked for; returns the paths in it."""
    paths = [f"long/a-file-of-many-{number:07}" for number in range(sizes.long_listing)]
    for path in paths:
        server.write(path, 10)
    return paths


def long_listing(server, sizes):
    """The sizes of a large directory, the first time and again."""
    paths = long_paths(server, sizes)
    first, again, raw, nothing = [], [], [], []
    with Network(server, 20) as network:
        wanted = [(network.target("files", path) + "?init=true", None) for path in paths]
        for _ in range(sizes.repetitions):
            with Mount(network) as mount:
                os.stat(mount.path / "long")
                first.append(measure(mount, lambda: shell("ls -l long", mount.path)))
                again.append(measure(mount, lambda: shell("ls -l long", mount.path)))
            raw.append(network.curl(wanted, connections=64)[0])
            with DoNothing(len(paths)) as other:
                shell("ls -l .", other.path)
                nothing.append(timed(lambda: shell("ls -l .", other.path)))
    limit = 1.2 * len(paths) / 64 * 0.02
    yield Row(
        f"ls -l of {len(paths)} (raw: 64 at once)", first, raw, f"<= {limit * 1000:.0f} ms", "ms", milliseconds,
        lambda row: row.median("seconds") <= limit,
    )
    yield Row(
        "the same again (raw: do-nothing)", again, nothing, ">= 0.5, 0 requests", "ms", milliseconds,
        lambda row: row.ratio >= 0.5 and row.median("requests") == 0,
    )


def cached_stat(server, sizes):
    """stat of one name, again and again, beside the driver that does nothing."""
    count, name, samples, nothing = 20_000, "a-file-of-many-0000000", [], []
    server.write(name, 10)

    def stat_all(path):
        for _ in range(count):
            os.stat(path)
        return 0

    with Network(server, 20) as network:
        for _ in range(sizes.repetitions):
            with Mount(network) as mount:
                os.stat(mount.path / name)
                samples.append(measure(mount, lambda: stat_all(mount.path / name)))
            with DoNothing(1) as other:
                os.stat(other.path / name)
                nothing.append(timed(lambda: stat_all(other.path / name)))
    yield Row(
        "stat, cached (raw: do-nothing)", samples, nothing, ">= 0.67, 0 requests", "k/s",
        per_second(count / 1000), lambda row: row.ratio >= 1 / 1.5 and row.median("requests") == 0,
    )


def tree(server, sizes):
    """Makes a tree, with a file in each of its last folders; returns the folders."""
    folders = [f"tree/{number % 20}/{number // 20}" for number in range(sizes.tree - 21)]
    for folder in folders:
        server.write(f"{folder}/file", 10)
    # The top, its 20 and theirs.
    return ["tree", *(f"tree/{number}" for number in range(20)), *folders]


def find(server, sizes):
    """find over a tree, which stats nothing."""
    everything = tree(server, sizes)
    samples, raw = [], []
    with Network(server, 20) as network:
        wanted = [(network.target("list", folder), None) for folder in everything]
        for _ in range(sizes.repetitions):
            with Mount(network) as mount:
                os.stat(mount.path / "tree")
                samples.append(measure(mount, lambda: shell("find tree -name nothing", mount.path)))
            raw.append(network.curl(wanted, connections=64)[0])
    limit = 1.2 * sizes.tree / 64 * 0.02
    yield Row(
        f"find, {sizes.tree} folders (raw: 64 at once)", samples, raw, f"<= {limit * 1000:.0f} ms", "ms",
        milliseconds, lambda row: row.median("seconds") <= limit,
    )


def way_down(server, sizes):
    """The first byte of a file four names down, on a fresh mount that has listed nothing."""
    depth, path = 4, "a/b/c/file"
    server.write(path, 64 << 10)
    samples, raw = [], []
    with Network(server, 20) as network:
        for _ in range(sizes.repetitions):
            with Mount(network) as mount:
                samples.append(measure(mount, lambda: read_byte(mount.path / path)))
            one = network.latencies(network.target("files", path), [(0, 64 << 10)] * 5)
            raw.append((depth + 1) * sorted(one)[2])
    yield Row(
        f"first byte at depth {depth}, fresh mount", samples, raw, ">= 0.98", "ms", milliseconds,
        # Depth + 1.1 round trips, beside depth + 1.
        lambda row: row.ratio >= (depth + 1) / (depth + 1.1),
    )
