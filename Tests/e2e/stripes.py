"""Random reads and writes of one file by one of several processes at once, as a command.

    python stripes.py FILE SEED PROCESSES INDEX COUNT

The file is of stripes that share pages. Each process writes stripes of its own, and knows what is in them whatever the
others do. It ends with 1 where that is not so; otherwise it prints its bytes of the file, zeros for those of others.
"""

import mmap
import os
import random
import sys

from servercalls import pattern

STRIPE, COUNT = 1000, 300
SIZE = STRIPE * COUNT


class Stripes:
    def __init__(self, path, chance, processes, index):
        self.path, self.chance = path, chance
        self.own = range(index, COUNT, processes)
        self.wanted = bytearray(SIZE)
        self.descriptor = self.mapping = None
        self.do_reopen()

    def step(self):
        kinds = {"read": 40, "write": 40, "map_read": 30, "map_write": 20, "forget": 5, "sync": 1, "reopen": 1}
        (kind,) = self.chance.choices(list(kinds), list(kinds.values()))
        getattr(self, "do_" + kind)()

    def range(self):
        start = self.chance.choice(self.own) * STRIPE
        one, other = sorted(self.chance.choices(range(STRIPE + 1), k=2))
        return start + one, start + other

    def compare(self, actual, start, end):
        if actual != self.wanted[start:end]:
            raise SystemExit(f"{start}..<{end}: {actual[:50]!r}…, not {self.wanted[start:end][:50]!r}…")

    def do_read(self):
        start, end = self.range()
        self.compare(os.pread(self.descriptor, end - start, start), start, end)

    def do_map_read(self):
        start, end = self.range()
        self.compare(self.mapping[start:end], start, end)

    def do_write(self):
        start, end = self.range()
        self.wanted[start:end] = data = pattern(end - start, self.chance.randrange(251))
        assert os.pwrite(self.descriptor, data, start) == end - start

    def do_map_write(self):
        start, end = self.range()
        self.wanted[start:end] = self.mapping[start:end] = pattern(end - start, self.chance.randrange(251))

    def do_forget(self):
        os.posix_fadvise(self.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def do_sync(self):
        os.fsync(self.descriptor)

    def do_reopen(self):
        if self.mapping:
            self.mapping.close()
            os.close(self.descriptor)
        self.descriptor = os.open(self.path, os.O_RDWR)
        self.mapping = mmap.mmap(self.descriptor, SIZE)


def main(path, seed, processes, index, count):
    stripes = Stripes(path, random.Random(int(seed) + int(index)), int(processes), int(index))
    for _ in range(int(count)):
        stripes.step()
    stripes.mapping.close()
    os.close(stripes.descriptor)
    sys.stdout.buffer.write(stripes.wanted)


if __name__ == "__main__":
    main(*sys.argv[1:])
