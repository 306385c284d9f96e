"""The table of faults: each fault of a server, met by each operation, once and for ever, and what the program gets.

A cell (`Cell`) is a fault and an operation on a mount, a server and a cache directory of its own. The operation is done
without a fault first, which says what it asks the server for. Then it is done again and again, in a fresh directory
each time: for each kind of request the fault hits the first one; then all of that kind; then all requests of any kind.
After each, what the server holds is looked at past the API. At the end all faults are over and the mount is unmounted,
which uploads what is still here.
"""

import concurrent.futures
import errno
import itertools
import os
import re
import time

import faultplan
from deployedserver import DeployedServer
from faultoperations import CommandFailed
from mountkit import UPLOAD, Mount, counting, read, tetherfs, without_uploads
from serverkit import poll

# Seconds, and times. Who is answered at once needs time only where the machine is busy.
TIMEOUT_OF_SILENCE, TIMEOUT, RETRIES, OUTAGE_RETRIES = 1, 15, 2, 25
# What a fault that stays may end in: a service that says nothing is told from one that fails.
FAILURES = {"EIO"}
SILENCE = {"EIO", "ETIMEDOUT"}

# Of a length that no file of the operations has: what has the right length cannot be told from a file's bytes.
GARBAGE = b"\0\xff this is no answer, whatever was asked"

# By name: the fault, made anew for each use, and how an operation may fail while it lasts.
FAULTS = {
    "500": (lambda: faultplan.status(500), FAILURES),
    "500, Retry-After: 1": (lambda: faultplan.status(500, Retry_After="1"), FAILURES),
    "502": (lambda: faultplan.status(502), FAILURES),
    "502, Retry-After: 1": (lambda: faultplan.status(502, Retry_After="1"), FAILURES),
    "503": (lambda: faultplan.status(503), FAILURES),
    "503, Retry-After: 1": (lambda: faultplan.status(503, Retry_After="1"), FAILURES),
    "429": (lambda: faultplan.status(429), FAILURES),
    "429, Retry-After: 1": (lambda: faultplan.status(429, Retry_After="1"), FAILURES),
    "reset before the request's body": (faultplan.reset, FAILURES),
    "reset within the request's body": (faultplan.within_request, FAILURES),
    "reset instead of the answer, all done": (faultplan.lost, FAILURES),
    "reset within the answer": (lambda: faultplan.within_answer("reset"), FAILURES),
    "reset after the answer": (faultplan.after_answer, FAILURES),
    "answer cut off": (lambda: faultplan.within_answer("close"), FAILURES),
    "answer shortened by a byte": (faultplan.shortened_by_one, FAILURES),
    "answer too long": (faultplan.lengthened, FAILURES),
    "no answer": (faultplan.stall, SILENCE),
    "answer stalls midway": (lambda: faultplan.within_answer("stall"), SILENCE),
    "a web page as the answer": (faultplan.html, FAILURES),
    "garbage as the answer": (lambda: faultplan.body(GARBAGE, "application/octet-stream"), FAILURES),
    "an answer that is no HTTP": (faultplan.no_http, FAILURES),
    "all down for 2 s": (lambda: faultplan.Outage(2), FAILURES),
    "all down for 30 s": (lambda: faultplan.Outage(30), FAILURES),
}
# Those that end by themselves, so that there is no for ever; and one after which everything is right, unless curl is
# quicker than the news.
PASSING = {"all down for 2 s", "all down for 30 s"}
# As it takes so long: in the midst of copying, of the first file's bytes.
RARE = {"all down for 30 s": (["cp -r", "rsync -a"], ["put"])}
HARMLESS = {"reset after the answer"}
# Those at which programs wait: for an answer, or until they may ask again.
WAITING = PASSING | {fault for fault, (_, ends) in FAULTS.items() if ends == SILENCE or "Retry-After" in fault}

# What commands say for an errno.
SPOKEN = {os.strerror(number): name for number, name in errno.errorcode.items()}


def outcome(operation, root):
    """What a program gets: ok, or the name of the errno."""
    try:
        operation.run(root)
    except OSError as error:
        return errno.errorcode[error.errno]
    except CommandFailed as failure:
        # rsync adds the number in brackets.
        said = re.findall(r": ([^:]+?)(?: \(\d+\))?$", str(failure), re.M)
        return "+".join(sorted({SPOKEN[text] for text in said if text in SPOKEN})) or f"failed: {failure}"
    return "ok"


class Cell:
    """One fault, one operation, one mode of writing."""

    def __init__(self, fault, operation, mode="sync"):
        self.fault, self.operation, self.mode = fault, operation, mode
        # What the program got when the fault came once, and when it stayed.
        self.once, self.lasting = {}, {}
        self.problems = []
        self.numbers = itertools.count()
        self.after_unmount = {}

    def run(self):
        """Fills the cell in; returns it."""
        try:
            with DeployedServer() as self.server:
                filesystem = self.server.create_filesystem("faults")
                self.content = self.server.content(filesystem)
                # All at once, so that the mount's first listing has them; there are at most nine kinds of calls, each met twice.
                for index in range(40):
                    self.put(f"{index}", self.operation.before)
                # An outage takes as many retries as fit into it.
                retries = OUTAGE_RETRIES if self.fault in PASSING else RETRIES
                timeout = TIMEOUT_OF_SILENCE if FAULTS[self.fault][1] == SILENCE else TIMEOUT
                options = ["--request-timeout", timeout, "--retries", retries]
                if self.mode != "sync":
                    options += ["--writes", self.mode]
                # Its end uploads what is still here, and asserts that it can.
                with Mount(self.server, filesystem, *options, limit=300) as self.mount:
                    self.fill()
                for root, allowed in self.after_unmount.items():
                    self.check(root, "after the unmount", allowed)
        except (AssertionError, TimeoutError) as error:
            self.problems.append(str(error))
        return self

    def put(self, root, tree):
        self.content.mkdir(root)
        for path, data in tree.items():
            if data is None:
                self.content.mkdir(f"{root}/{path}")
            else:
                self.content.write(f"{root}/{path}", data)

    def fill(self):
        with counting(self.server) as seen:
            assert self.attempt(None, None) == "ok", "the operation fails without a fault"
        calls = sorted(self.calls_of(seen))
        if self.fault in RARE:
            calls = RARE[self.fault][1]
        for call in calls:
            if self.fault not in PASSING:
                self.once[call] = self.attempt(call, 1)
                # A server that stands still for a moment cannot be told from one that says nothing.
                if self.once[call] in SILENCE and FAULTS[self.fault][1] == SILENCE:
                    self.once[call] = self.attempt(call, 1)
        always = [] if self.fault in HARMLESS else calls if self.fault in RARE else [*calls, "any"]
        for call in always:
            result = self.attempt(call, None)
            (self.once if self.fault in PASSING else self.lasting)[call] = result
            if result not in {"ok", *FAULTS[self.fault][1]}:
                self.problems.append(f"{result} although {call} met it for ever")
        for call, result in self.once.items():
            if result != "ok":
                self.problems.append(f"{result} although {call} met it only for a time")

    @staticmethod
    def calls_of(seen):
        """The kinds of requests, as the fault plan names them."""
        names = set(seen.calls)
        return names - {"post"} | ({"begin", "complete"} if "post" in names else set())

    def attempt(self, call, times):
        """Does the operation while a fault is there, and looks at what the server then has."""
        root = str(next(self.numbers))
        if call:
            fault = FAULTS[self.fault][0]()
            if isinstance(fault, faultplan.Outage):
                fault.begins_at = call
                self.server.faults.add("any", fault, times=None)
            else:
                self.server.faults.add(call, fault, times=times)
        what = f"{call} {'for ever' if times is None else 'once'}"
        begin = time.monotonic()
        try:
            result = outcome(self.operation, f"{self.mount.path}/{root}")
        except AssertionError as error:
            self.problems.append(f"{what}: {error}")
            result = "WRONG"
        # All that may be asked for, each as often as it may be and up to its deadline, takes less by far.
        if time.monotonic() - begin > 100:
            self.problems.append(f"{what}: it took over 100 s")
        before, after = self.operation.before, self.operation.after
        self.check(root, f"{what}: meanwhile", [before, after])
        passes = times == 1 or self.fault in PASSING
        if passes:
            self.flush(what)
        self.server.faults.clear()
        # Who was stalled is answered now, and what it asked for done.
        poll(lambda: self.server.gauge.now.get("any", 0) == 0, timeout=30, what="end of all requests")
        if self.mount.was_aborted:
            self.problems.append(f"{what}: it hung")
        if not passes:
            self.flush(what)
        if result == "ok":
            self.check(root, f"{what}: success was told, but", [after])
            self.after_unmount[root] = [after]
        else:
            self.check(root, f"{what}: {result} was told, and", [before, after])
            # Where no answer came, the server may act when nobody looks any more: that shows after the TTL.
            if self.operation.changes_names and self.fault != "no answer":
                self.compare(root, f"{what}: {result} was told, and")
            self.after_unmount[root] = [before, after]
        return result

    def flush(self, what):
        """Where a close only says that the bytes are safe here, waits until they are on the server."""
        if self.mode == "sync":
            return
        flushed = tetherfs("flush", self.mount.path)
        if flushed.returncode != 0:
            self.problems.append(f"{what}: flush: {flushed.stderr}")

    def check(self, root, what, allowed):
        """Each path has what it has in one of the trees, whole."""
        prefix = root + "/"
        with self.server.lock:
            tree = without_uploads(self.content)
        found = {path.removeprefix(prefix): data for path, data in tree.items() if path.startswith(prefix)}
        if len(allowed) > 1:
            # What a program had to leave behind when it failed.
            found = {path: data for path, data in found.items() if not self.operation.temporary.fullmatch(path)}
        for path in sorted(set(found).union(*allowed)):
            missing = object()
            if found.get(path, missing) not in [tree.get(path, missing) for tree in allowed]:
                data = found.get(path, missing)
                size = "absent" if data is missing else "a directory" if data is None else f"of {len(data)} bytes"
                self.problems.append(f"{what} {path} is {size} on the server")

    def compare(self, root, what):
        """The mount shows what the server has."""
        seen = {}
        for folder, directories, files in os.walk(f"{self.mount.path}/{root}"):
            above = os.path.relpath(folder, self.mount.path)
            seen.update({f"{above}/{name}": None for name in directories})
            seen.update({f"{above}/{name}": read(f"{folder}/{name}") for name in files})
        seen = {path: data for path, data in seen.items() if not UPLOAD.fullmatch(path)}
        with self.server.lock:
            tree = without_uploads(self.content)
        found = {path: data for path, data in tree.items() if path.startswith(root + "/")}
        if seen != found:
            self.problems.append(f"{what} the mount shows {sorted(seen)}, the server has {sorted(found)}")

    @property
    def text(self):
        """The cell on the page: what it ends with while the fault stays, whichever request meets it."""
        results = set(self.lasting.values()) or set(self.once.values()) or {"–"}
        return " ".join(sorted(results, key=lambda name: (name != "ok", name)))


def cells(operations):
    """All cells of each mode, by fault and operation, filled in side by side.

    operations: those of each mode.
    """
    # Most of the time of some is waiting; of the others as many at once as keep the machine busy.
    with concurrent.futures.ThreadPoolExecutor(32) as patient, concurrent.futures.ThreadPoolExecutor(8) as busy:
        running = {mode: {} for mode in operations}
        # Those that wait longest first.
        for fault in sorted(FAULTS, key=lambda fault: (fault not in RARE, FAULTS[fault][1] != SILENCE)):
            pool = patient if fault in WAITING else busy
            for mode, those in operations.items():
                for operation in those:
                    if fault not in RARE or operation.name in RARE[fault][0]:
                        cell = Cell(fault, operation, mode)
                        running[mode][fault, operation.name] = pool.submit(cell.run)
        return {mode: {key: cell.result() for key, cell in those.items()} for mode, those in running.items()}


def page(tables):
    """docs/faults.md.

    tables: by title, what is said of it, and the cells by fault and operation.
    """
    parts = [INTRODUCTION]
    for title, (text, filled) in tables.items():
        faults = [fault for fault in FAULTS if any(key[0] == fault for key in filled)]
        names = [name for fault, name in filled if fault == faults[0]]
        rows = [["", *names], ["---"] * (len(names) + 1)]
        empty = Cell(None, None)
        rows += [[fault, *(filled.get((fault, name), empty).text for name in names)] for fault in faults]
        parts.append(f"## {title}\n\n{text}\n\n" + "\n".join("|" + "|".join(row) + "|" for row in rows) + "\n")
    return "\n".join(parts)


INTRODUCTION = f"""# What programs get when the server fails

Written by `make faults`; `Tests/e2e/test_faults.py` fails if it sees anything else.

- A row is a fault, a column an operation. Each fault was met **once** by the first request of each kind that the
  operation makes (a listing, a size, bytes, the start of an upload, a part, its completion, mkdir, delete): **each
  operation then succeeds**, with the right bytes, since what failed is repeated or found out about.
- The cells say what happens when the fault **stays**: for all requests of one kind, for each kind in turn, and then for
  all requests. Where several results stand in a cell it depends on which kind it is; `ok` is a success all the same.
  An outage passes, and what comes after a whole answer does no harm: there the cells say what happened at once.
- With `--request-timeout {TIMEOUT} --retries {RETRIES}`; where nothing comes any more with
  `--request-timeout {TIMEOUT_OF_SILENCE}`; for outages, in which all is down from the first request of a kind on, with
  `--retries {OUTAGE_RETRIES}`. The one of 30 s begins in the midst of copying.
- No operation hung. What was reported as done was on the server, whole; after a reported failure each file was there as
  before or as after, whole. Bytes whose upload failed went up when the fault was over, at the latest at the unmount.
- `cp -r` and `rsync -a` copy a tree with two directories and three files; their errno is the one they print.
"""
