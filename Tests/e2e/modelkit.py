"""What random testers share: seeds, rounds of operations in several threads, and a short way to a difference.

A tester does one random operation after the other on files of a mount and knows what each must come to:

    root              the directory that it works in
    choose(chance)    a random operation, as a tuple of plain values
    apply(operation)  does it; raises Difference where it comes to anything else
    settle()          ("settle",) as an operation; closes what it has open, and checks all that it knows of
    again(root)       a tester of its kind in another directory, which is new

An operation says nothing about what was there before it, so that some can be left out of a run of them: what it is
about may be missing, and that must come to the right error.
"""

import concurrent.futures
import errno
import os
import random
import time

# Settable, to repeat a run that failed, and to look for longer than the tests do.
SEED = os.environ.get("TETHERFS_TEST_SEED")
OPERATIONS = int(os.environ.get("TETHERFS_TEST_OPERATIONS", "100000"))

# How long a run that failed is made shorter, in seconds.
SHORTENING = 60


class Difference(AssertionError):
    """Something is not as the model has it."""


def new_seed():
    """The seed that is asked for, or a new one; it is printed."""
    seed = int(SEED) if SEED else random.randrange(1 << 32)
    print(f"TETHERFS_TEST_SEED={seed}")
    return seed


def outcome(call, *arguments):
    """What a call comes to: its result or its error."""
    try:
        return call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]


def must_be(actual, expected, what):
    """Raises Difference unless two values are equal, with as much of bytes as tells where they differ."""
    if actual == expected:
        return
    if isinstance(actual, bytes) and isinstance(expected, (bytes, bytearray)):
        pairs = enumerate(zip(actual, expected))
        first = next((index for index, (one, other) in pairs if one != other), min(len(actual), len(expected)))
        raise Difference(
            f"{what}: {len(actual)} bytes, not {len(expected)}; the first that differs is {first}: "
            f"{actual[first:first + 20]!r}, not {bytes(expected[first:first + 20])!r}"
        )
    raise Difference(f"{what}: {actual!r:.2000}, not {expected!r:.2000}")


def drop_caches(kind=3):
    """Makes the kernel forget pages (1), names (2) or both (3) that are not in use."""
    with open("/proc/sys/vm/drop_caches", "w") as caches:
        caches.write(str(kind))


SETTLE = ("settle",)


def attempt(tester, operation):
    """Does an operation, or settles; an error that the tester did not expect is a difference."""
    try:
        if operation == SETTLE:
            tester.settle()
        else:
            tester.apply(operation)
    except OSError as error:
        raise Difference(f"{operation}: {error}") from error


class Run:
    """A tester's operations, done one after the other and remembered."""

    def __init__(self, tester, seed):
        self.tester, self.seed = tester, seed
        self.chance = random.Random(seed)
        self.done = []

    def go(self, count):
        for _ in range(count):
            self.do(self.tester.choose(self.chance))

    def do(self, operation):
        self.done.append(operation)
        attempt(self.tester, operation)


def run(testers, seed, count, rounds=10, between=lambda number: None):
    """Does `count` random operations, the testers side by side, in rounds.

    After a round all is closed and checked, and `between` is called with the round's number: the place to remount.
    """
    runs = [Run(tester, seed + index) for index, tester in enumerate(testers)]
    share = -(-count // (rounds * len(runs)))

    def step(run):
        try:
            run.go(share)
            run.do(SETTLE)
        except Difference as difference:
            return run, difference
        return None

    with concurrent.futures.ThreadPoolExecutor(len(runs)) as pool:
        for number in range(rounds):
            if failed := next(filter(None, pool.map(step, runs)), None):
                report(*failed, seed)
            between(number)
            for run in runs:
                try:
                    run.do(SETTLE)
                except Difference as difference:
                    report(run, difference, seed)


def report(run, difference, seed):
    """Raises Difference with what is needed to see it again: the seed, and as few operations as are found quickly."""
    first = len(run.done)
    try:
        shortest, seen = shorten(run.tester, run.done)
    except OSError:
        # The mount is gone, perhaps with the difference.
        shortest, seen = run.done, None
    how = f"; {len(shortest)} operations come to: {seen}" if seen else ", not when they are done again alone"
    text = "\n".join(map(repr, shortest[-60:]))
    raise Difference(f"TETHERFS_TEST_SEED={seed}, after {first} operations: {difference}{how}\n{text}") from None


def replay(tester, operations):
    """The difference that operations come to in a directory of their own, none if there is none."""
    replay.count = getattr(replay, "count", 0) + 1
    fresh = tester.again(f"{tester.root}-again-{replay.count}")
    try:
        for operation in [*operations, SETTLE]:
            attempt(fresh, operation)
    except Difference as difference:
        return difference
    return None


def shorten(tester, operations):
    """Leaves out whatever is not needed for a difference; returns the operations and what they come to."""
    deadline = time.monotonic() + SHORTENING
    seen, shortest, length = None, operations, 20
    # Mostly the last few are enough.
    while seen is None and time.monotonic() < deadline:
        seen, shortest = replay(tester, operations[-length:]), operations[-length:]
        if length >= len(operations):
            break
        length *= 4
    chunk = len(shortest) // 2
    while seen and chunk and time.monotonic() < deadline:
        start = 0
        while start < len(shortest) and time.monotonic() < deadline:
            fewer = shortest[:start] + shortest[start + chunk:]
            if again := replay(tester, fewer):
                seen, shortest = again, fewer
            else:
                start += chunk
        chunk //= 2
    return shortest, seen
