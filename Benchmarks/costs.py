"""What a piece of work costs, by process: CPU seconds, and those of the clock."""

import resource
import statistics
import time

from measuring import settle
from rig import cpu_of

REPETITIONS = 3


def children_cpu():
    """CPU seconds of the children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class Costs:
    """CPU seconds and the clock's of one piece of work, by process."""

    def __init__(self, processes):
        self.processes = processes
        self.before = {name: cpu_of(pid) for name, pid in processes.items()}
        self.children, self.begin = children_cpu(), time.monotonic()

    def take(self, child, server=None):
        """What was spent until now, for each process and the one that has run; `clock` is the time it took."""
        clock, spent = time.monotonic() - self.begin, {child: children_cpu() - self.children}
        if server:
            settle(server)
        spent |= {name: cpu_of(pid) - self.before[name] for name, pid in self.processes.items()}
        return {**spent, "total": sum(spent.values()), "clock": clock}


def median(costs, scale):
    """The medians of some costs, each for a GiB."""
    return {name: statistics.median(cost[name] for cost in costs) * scale for name in costs[0]}


def processes_of(network, mount=None):
    """Who works for a read, but the one that reads."""
    found = {"server": network.server.process.pid}
    if network.process:
        found["proxy"] = network.process.pid
    if mount:
        found["driver"] = mount.pid
    return found


def costs_table(rows, names):
    """Rows of costs as Markdown."""
    lines = ["|what|" + "|".join(names) + "|", "|---|" + "--:|" * len(names)]
    for title, costs in rows:
        lines.append(f"|{title}|" + "|".join(f"{costs[n]:.2f}" if n in costs else "-" for n in names) + "|")
    return "\n".join(lines)
