"""What copying in, unpacking and listing cost at RTT 20, beside curl's doing of the same: medians, ours and curl's."""

import os

import names
import writing
from costs import REPETITIONS, Costs, median, processes_of
from measuring import shell
from rig import BINARIES, MIB, Mount, Network, check
from samples import recorded


def compared(network, ours, raw, scale=1, options=(), chains=None):
    """Does a piece of work on fresh mounts, and the same by curl; records where the driver of one more mount spends
    its time.

    ours: given the mount, prepares it and returns what is measured. raw: given the number of the repetition.
    """
    spent, least = [], []
    for repetition in range(REPETITIONS):
        with Mount(network, options=options) as mount:
            work, costs = ours(mount), Costs(processes_of(network, mount))
            work()
            spent.append(costs.take("program"))
        costs = Costs(processes_of(network))
        raw(repetition)
        least.append(costs.take("program"))
    if chains is not None:
        with Mount(network, options=options) as mount:
            work = ours(mount)
            with recorded(mount.pid, chains):
                work()
    return tuple(with_cores(median(costs, scale)) for costs in (spent, least))


def with_cores(costs):
    """The same with how many cores were at work."""
    return {**costs, "cores": costs["total"] / costs["clock"]}


def copied_in(server, mib, chains):
    """cp of one large file, until it is on the server."""
    size = mib * MIB
    with writing.Source() as source, Network(server, 20) as network:
        file, pieces = source.large(size)

        def copy(mount):
            (server.tree / "copy").unlink(missing_ok=True)
            return lambda: writing.copied(server, network, mount, file, size)

        def upload(_):
            network.upload([("raw", size)], [("raw", start, end, piece) for start, end, piece in pieces])

        return compared(network, copy, upload, 1024 / mib, chains=chains)


def unpacked(server, sizes, chains):
    """tar x of small files in write-back, until they are on the server."""
    with writing.Source() as source, Network(server, 20) as network:
        archive, files = source.small(sizes.small_files, sizes.folders)
        targets = iter(range(100))

        def unpack(mount):
            target = mount.path / f"unpacked-{next(targets)}"
            target.mkdir()

            def work():
                writing.unpack(archive, target, len(files))
                check([BINARIES / "tetherfs", "flush", mount.path])
            return work

        def upload(repetition):
            for folder in range(sizes.folders):
                (server.tree / f"uploaded-{repetition}/{folder}").mkdir(parents=True)
            named = [(f"uploaded-{repetition}/{name}", file) for name, file in files]
            network.upload([(path, writing.BLOCK) for path, _ in named],
                           [(path, 0, writing.BLOCK, file) for path, file in named], writing.MANY)

        return compared(network, unpack, upload, 1000 / len(files), ["--writes", "write-back"], chains)


def listed(server, sizes):
    """ls -l of a large directory."""
    paths = names.long_paths(server, sizes)
    with Network(server, 20) as network:
        wanted = [(network.target("files", path) + "?init=true", None) for path in paths]

        def listing(mount):
            os.stat(mount.path / "long")
            return lambda: shell("ls -l long", mount.path)

        return compared(network, listing, lambda _: network.curl(wanted, connections=64))


def found(server, sizes):
    """find over a tree."""
    folders = names.tree(server, sizes)
    with Network(server, 20) as network:
        wanted = [(network.target("list", folder), None) for folder in folders]

        def finding(mount):
            os.stat(mount.path / "tree")
            return lambda: shell("find tree -name nothing", mount.path)

        return compared(network, finding, lambda _: network.curl(wanted, connections=64))
