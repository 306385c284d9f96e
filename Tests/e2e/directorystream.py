"""libc's directory streams, which Python does not show: telldir, seekdir, rewinddir."""

import ctypes
import os

from mountkit import libc


class Dirent(ctypes.Structure):
    _fields_ = [
        ("ino", ctypes.c_uint64), ("off", ctypes.c_int64), ("reclen", ctypes.c_uint16), ("type", ctypes.c_uint8),
        ("name", ctypes.c_char * 256),
    ]


class Stream:
    """An open directory of libc."""

    def __init__(self, path):
        for name in ("opendir", "readdir", "telldir"):
            getattr(libc, name).restype = ctypes.c_long if name == "telldir" else ctypes.c_void_p
        libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
        self.pointer = ctypes.c_void_p(libc.opendir(os.fsencode(path)))
        assert self.pointer.value

    def read(self, count=None):
        """The next names, all that are left if no count is given."""
        names = []
        while count is None or len(names) < count:
            entry = libc.readdir(self.pointer)
            if not entry:
                break
            names.append(os.fsdecode(Dirent.from_address(entry).name))
        return names

    def tell(self):
        return libc.telldir(self.pointer)

    def seek(self, position):
        libc.seekdir(self.pointer, position)

    def rewind(self):
        libc.rewinddir(self.pointer)

    def close(self):
        libc.closedir(self.pointer)
