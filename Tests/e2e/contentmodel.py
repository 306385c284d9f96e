"""Random operations on what is in files, against bytes in memory. See modelkit.

Several descriptors of several files, which are renamed, replaced and unlinked while they are open, and mapped. What
waits for the mount inside of Python, as a page fault does, needs a server in another process: see DeployedServer.
"""

import ctypes
import mmap
import os

from mountkit import read
from modelkit import must_be, outcome
from servercalls import pattern

# What no descriptor has: Python itself refuses -1 here and there.
CLOSED = 1 << 20
PAGE, BLOCK, PART = 4096, 65_536, 8 << 20
EDGES = [0, 1, PAGE, 3 * PAGE, BLOCK, 2 * BLOCK, 5 * BLOCK, 131_072 + PAGE]
LARGE_EDGES = [0, BLOCK, PART - BLOCK, PART, PART + BLOCK, 2 * PART]
LENGTHS = [1, 10, 1000, PAGE - 1, PAGE, PAGE + 1, 20_000, BLOCK - 1, BLOCK, BLOCK + 1, 150_000]
LIMIT, LARGE_LIMIT = 6 * BLOCK, 2 * PART + BLOCK

# One is what programs call a file that they are about to rename.
NAMES = ["a", "b", "c", "d.tmp"]
# Of a few parts: what an upload of it costs makes it rare.
LARGE = "large"
SLOTS, MAPPINGS = 7, 3
LARGE_SLOT = SLOTS - 1

ACCESS = [os.O_RDWR] * 5 + [os.O_RDONLY, os.O_WRONLY, os.O_RDWR | os.O_APPEND, os.O_WRONLY | os.O_APPEND]
CREATION = [0] * 3 + [os.O_CREAT] * 6 + [os.O_TRUNC, os.O_CREAT | os.O_TRUNC, os.O_CREAT | os.O_EXCL]

# How often each is done. What uploads where `close` does so is rare: it takes as long as hundreds of the others.
WEIGHTS = {
    "read": 80, "write": 60, "pread": 160, "pwrite": 200, "size": 40, "truncate": 40, "allocate": 15, "forget": 20,
    "map_read": 40, "map_write": 30, "map_keep": 8, "kept_read": 60, "kept_write": 30, "kept_drop": 6, "copy": 15,
    "open": 25, "close": 12, "fsync": 4, "fdatasync": 4, "msync": 3, "truncate_path": 2, "rename": 4, "unlink": 3,
    "look": 10,
}

# linux/falloc.h.
KEEP_SIZE, PUNCH_HOLE = 0x01, 0x02

libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]


def fallocate(descriptor, mode, offset, length):
    """fallocate(2), which unlike posix_fallocate(3) never makes do with writing."""
    if libc.fallocate(descriptor, mode, offset, length) != 0:
        raise OSError(ctypes.get_errno(), "fallocate")


class File:
    """A file as it should be; it lives on without a name, as long as it is open or mapped."""

    def __init__(self):
        self.data = bytearray()

    def put(self, data, offset):
        if offset > len(self.data):
            self.data.extend(bytes(offset - len(self.data)))
        self.data[offset:offset + len(data)] = data

    def resize(self, size):
        if size < len(self.data):
            del self.data[size:]
        else:
            self.data.extend(bytes(size - len(self.data)))


class Slot:
    """An open descriptor, its file and where the next read or write goes."""

    def __init__(self, descriptor=CLOSED, file=None, flags=0):
        self.descriptor, self.file, self.flags, self.position = descriptor, file, flags, 0

    @property
    def reads(self):
        return self.file is not None and self.flags & os.O_ACCMODE != os.O_WRONLY

    @property
    def writes(self):
        return self.file is not None and self.flags & os.O_ACCMODE != os.O_RDONLY


class Contents:
    """The tester of a directory that it has for itself."""

    def __init__(self, root):
        self.root = str(root)
        os.mkdir(self.root)
        self.names = {}
        self.slots = [Slot() for _ in range(SLOTS)]
        # Mappings that stay while descriptors come and go, each with its file.
        self.kept = [None] * MAPPINGS
        self.kinds, self.weights = list(WEIGHTS), list(WEIGHTS.values())

    def again(self, root):
        return Contents(root)

    # The random choice.

    def choose(self, chance):
        (kind,) = chance.choices(self.kinds, self.weights)
        large = chance.random() < 0.02
        edges, limit = (LARGE_EDGES, LARGE_LIMIT) if large else (EDGES, LIMIT)
        slot = LARGE_SLOT if large else chance.randrange(LARGE_SLOT)
        near = max(0, chance.choice(edges) + chance.randint(-3, 3))
        offset = chance.choice([near, chance.randrange(limit)])
        length = chance.choice(LENGTHS)
        seed = chance.randrange(251)
        name = LARGE if large else chance.choice(NAMES)
        match kind:
            case "open":
                return kind, slot, name, chance.choice(ACCESS), chance.choice(CREATION)
            case "rename":
                return kind, *chance.choices(NAMES, k=2)
            case "unlink" | "look":
                return kind, name
            case "truncate_path":
                return kind, name, offset
            case "truncate":
                return kind, slot, offset
            case "copy":
                return kind, slot, chance.randrange(LARGE_SLOT), offset, chance.choice(edges), length
            case "map_keep":
                return kind, slot, chance.randrange(MAPPINGS)
            case "kept_read" | "kept_write":
                return kind, chance.randrange(MAPPINGS), offset, length, seed
            case "kept_drop":
                return kind, chance.randrange(MAPPINGS)
            case _:
                return kind, slot, offset, length, seed

    def apply(self, operation):
        kind, *arguments = operation
        getattr(self, "do_" + kind)(*arguments)

    def path(self, name):
        return f"{self.root}/{name}"

    def expect(self, expected, call, *arguments):
        """Makes a call, which must come to a value or the name of an errno."""
        actual = outcome(call, *arguments)
        # The text of what is written takes longer than writing it.
        if actual != expected:
            must_be(actual, expected, f"{call.__name__}{arguments!r:.100}")

    # Descriptors.

    def do_open(self, number, name, access, creation):
        slot, path = self.slots[number], self.path(name)
        if slot.file is not None:
            self.do_close(number)
        flags = access | creation
        if flags & os.O_ACCMODE == os.O_RDONLY:
            # What O_TRUNC means then is not said anywhere.
            flags &= ~os.O_TRUNC
        file = self.names.get(name)
        if file is None and not flags & os.O_CREAT:
            return self.expect("ENOENT", os.open, path, flags)
        if file is not None and flags & os.O_EXCL:
            return self.expect("EEXIST", os.open, path, flags)
        descriptor = os.open(path, flags)
        if file is None:
            file = self.names[name] = File()
        if flags & os.O_TRUNC:
            file.resize(0)
        self.slots[number] = Slot(descriptor, file, flags)

    def do_close(self, number, *_):
        slot, self.slots[number] = self.slots[number], Slot()
        self.expect(None if slot.file else "EBADF", os.close, slot.descriptor)

    def do_pread(self, number, offset, length, _):
        slot = self.slots[number]
        wanted = bytes(slot.file.data[offset:offset + length]) if slot.reads else "EBADF"
        self.expect(wanted, os.pread, slot.descriptor, length, offset)

    def do_read(self, number, offset, length, seed):
        slot = self.slots[number]
        if seed % 4 == 0 and slot.file:
            slot.position = os.lseek(slot.descriptor, offset, os.SEEK_SET)
        wanted = bytes(slot.file.data[slot.position:slot.position + length]) if slot.reads else "EBADF"
        self.expect(wanted, os.read, slot.descriptor, length)
        if slot.reads:
            slot.position += len(wanted)

    def do_pwrite(self, number, offset, length, seed):
        slot, data = self.slots[number], pattern(length, seed)
        self.expect(length if slot.writes else "EBADF", os.pwrite, slot.descriptor, data, offset)
        if slot.writes:
            # pwrite(2), BUGS: with O_APPEND it appends, whatever the offset.
            slot.file.put(data, len(slot.file.data) if slot.flags & os.O_APPEND else offset)
            self.limit(slot)

    def do_write(self, number, offset, length, seed):
        slot, data = self.slots[number], pattern(length, seed)
        if seed % 4 == 0 and slot.file:
            slot.position = os.lseek(slot.descriptor, offset, os.SEEK_SET)
        self.expect(length if slot.writes else "EBADF", os.write, slot.descriptor, data)
        if slot.writes:
            if slot.flags & os.O_APPEND:
                slot.position = len(slot.file.data)
            slot.file.put(data, slot.position)
            slot.position += length
            self.limit(slot)

    def limit(self, slot):
        """Appending does not go on for ever."""
        if len(slot.file.data) > LARGE_LIMIT + LIMIT:
            self.do_truncate(self.slots.index(slot), LIMIT)

    def do_size(self, number, *_):
        slot = self.slots[number]
        if not slot.file:
            return self.expect("EBADF", os.fstat, slot.descriptor)
        must_be(os.fstat(slot.descriptor).st_size, len(slot.file.data), "fstat")
        must_be(os.lseek(slot.descriptor, 0, os.SEEK_END), len(slot.file.data), "lseek to the end")
        os.lseek(slot.descriptor, slot.position, os.SEEK_SET)

    def do_truncate(self, number, size):
        slot = self.slots[number]
        error = "EINVAL" if slot.file else "EBADF"
        self.expect(None if slot.writes else error, os.ftruncate, slot.descriptor, size)
        if slot.writes:
            slot.file.resize(size)

    def do_allocate(self, number, offset, length, seed):
        slot = self.slots[number]
        mode = [0, 0, KEEP_SIZE, KEEP_SIZE | PUNCH_HOLE][seed % 4]
        if mode & PUNCH_HOLE and slot.writes:
            # Not in a file that exists nowhere but whole.
            return self.expect("ENOTSUP", fallocate, slot.descriptor, mode, offset, length)
        self.expect(None if slot.writes else "EBADF", fallocate, slot.descriptor, mode, offset, length)
        if slot.writes and not mode:
            slot.file.resize(max(len(slot.file.data), offset + length))

    def do_forget(self, number, *_):
        """Drops the file's pages from the kernel's cache."""
        slot = self.slots[number]
        if slot.file:
            os.posix_fadvise(slot.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def do_fsync(self, number, *_):
        slot = self.slots[number]
        self.expect(None if slot.file else "EBADF", os.fsync, slot.descriptor)

    def do_fdatasync(self, number, *_):
        slot = self.slots[number]
        self.expect(None if slot.file else "EBADF", os.fdatasync, slot.descriptor)

    def do_copy(self, source, target, start, offset, length):
        """copy_file_range(2) between two files."""
        one, other = self.slots[source], self.slots[target]
        if not one.reads or not other.writes or one.file is other.file or other.flags & os.O_APPEND:
            return
        wanted = bytes(one.file.data[start:start + length])
        count = os.copy_file_range(one.descriptor, other.descriptor, length, start, offset)
        if not 0 < count <= len(wanted):
            must_be(count, len(wanted), "copy_file_range")
        if count:
            other.file.put(wanted[:count], offset)

    # Mappings.

    def mapped(self, slot):
        """A mapping of a descriptor's file, none if it cannot have one."""
        if not slot.reads or not slot.file.data:
            return None
        access = mmap.PROT_READ | (mmap.PROT_WRITE if slot.writes else 0)
        return mmap.mmap(slot.descriptor, len(slot.file.data), mmap.MAP_SHARED, access)

    def compare_mapping(self, mapping, file, offset, length):
        # Pages past the file's end are a SIGBUS.
        end = min(offset + length, len(mapping), len(file.data))
        must_be(mapping[offset:end], bytes(file.data[offset:end]), f"mapping {offset}..<{end}")

    def change_mapping(self, mapping, file, offset, length, seed):
        end = min(offset + length, len(mapping), len(file.data))
        if offset < end:
            mapping[offset:end] = file.data[offset:end] = pattern(end - offset, seed)

    def do_map_read(self, number, offset, length, _):
        if mapping := self.mapped(slot := self.slots[number]):
            self.compare_mapping(mapping, slot.file, offset, length)
            mapping.close()

    def do_map_write(self, number, offset, length, seed, sync=False):
        slot = self.slots[number]
        if slot.writes and (mapping := self.mapped(slot)):
            self.change_mapping(mapping, slot.file, offset, length, seed)
            if sync:
                self.expect(None, mapping.flush)
            mapping.close()

    def do_msync(self, *arguments):
        self.do_map_write(*arguments, sync=True)

    def do_map_keep(self, number, index):
        self.do_kept_drop(index)
        if mapping := self.mapped(slot := self.slots[number]):
            self.kept[index] = mapping, slot.file, slot.writes

    def do_kept_read(self, index, offset, length, _):
        if self.kept[index]:
            mapping, file, _ = self.kept[index]
            self.compare_mapping(mapping, file, offset, length)

    def do_kept_write(self, index, offset, length, seed):
        if self.kept[index]:
            mapping, file, writes = self.kept[index]
            if writes:
                self.change_mapping(mapping, file, offset, length, seed)

    def do_kept_drop(self, index):
        if self.kept[index]:
            self.kept[index][0].close()
            self.kept[index] = None

    # Names.

    def do_rename(self, old, new):
        there = old in self.names
        self.expect(None if there else "ENOENT", os.rename, self.path(old), self.path(new))
        if there:
            self.names[new] = self.names.pop(old)

    def do_unlink(self, name):
        self.expect(None if name in self.names else "ENOENT", os.unlink, self.path(name))
        self.names.pop(name, None)

    def do_truncate_path(self, name, size):
        there = name in self.names
        self.expect(None if there else "ENOENT", os.truncate, self.path(name), size)
        if there:
            self.names[name].resize(size)

    def do_look(self, name):
        wanted = bytes(self.names[name].data) if name in self.names else "ENOENT"
        self.expect(wanted, read, self.path(name))
        if name in self.names:
            must_be(os.stat(self.path(name)).st_size, len(wanted), f"size of {name}")

    # The end of a round.

    def settle(self):
        for index in range(MAPPINGS):
            self.do_kept_drop(index)
        for number, slot in enumerate(self.slots):
            if slot.file:
                self.do_close(number)
        must_be(sorted(os.listdir(self.root)), sorted(self.names), "names")
        for name in self.names:
            self.do_look(name)

    def expected(self):
        """What the directory should hold: each name with its bytes."""
        return {name: bytes(file.data) for name, file in self.names.items()}
