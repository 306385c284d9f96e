"""What a server holds, for tests to look at and to change behind the driver's back, without any request.

`FolderContent` is a filesystem of tetherfs-server, on its disk; `MemoryContent` is one of the test server. Paths are
relative, as text; bytes that are not UTF-8 are surrogate escapes, as for `os.fsdecode`.
"""

import os
import pathlib
import shutil
import threading


class FolderContent:
    """The files below a folder of this machine."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)

    def read(self, path):
        return (self.folder / path).read_bytes()

    def write(self, path, data):
        """Puts a file in place at once, as a completed upload does; missing directories are made."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        new = self.folder.parent / "put-in-place-by-a-test"
        new.write_bytes(data)
        new.rename(target)

    def mkdir(self, path):
        (self.folder / path).mkdir(parents=True)

    def remove(self, path):
        """Takes a file, or a directory with all that is in it, away."""
        target = self.folder / path
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink()

    def names(self, path=""):
        return sorted(os.listdir(self.folder / path))

    def exists(self, path):
        return (self.folder / path).exists()

    def tree(self):
        """Every path, with the bytes of a file and None for a directory."""
        found = {}
        for path in self.folder.rglob("*"):
            found[str(path.relative_to(self.folder))] = None if path.is_dir() else path.read_bytes()
        return found


class MemoryContent:
    """Files in memory: a directory is a dict, a file a bytearray."""

    def __init__(self):
        self.root = {}
        self.lock = threading.RLock()

    def find(self, path):
        """The directory or file at a path, none if there is nothing."""
        node = self.root
        for name in filter(None, path.split("/")):
            node = node.get(name) if isinstance(node, dict) else None
        return node

    def parent(self, path):
        """The directory that a path's last name is in, none if there is no such, and that name."""
        above, _, name = path.strip("/").rpartition("/")
        node = self.find(above)
        return (node if isinstance(node, dict) else None), name

    def read(self, path):
        with self.lock:
            node = self.find(path)
            if not isinstance(node, bytearray):
                raise FileNotFoundError(path)
            return bytes(node)

    def write(self, path, data):
        """Puts a file in place at once, as a completed upload does; missing directories are made."""
        with self.lock:
            above, _, name = path.rpartition("/")
            self._directory(above)[name] = bytearray(data)

    def mkdir(self, path):
        with self.lock:
            self._directory(path)

    def _directory(self, path):
        node = self.root
        for name in filter(None, path.split("/")):
            node = node.setdefault(name, {})
        return node

    def remove(self, path):
        """Takes a file, or a directory with all that is in it, away."""
        with self.lock:
            parent, name = self.parent(path)
            del parent[name]

    def names(self, path=""):
        with self.lock:
            return sorted(self.find(path))

    def exists(self, path):
        with self.lock:
            return self.find(path) is not None

    def tree(self):
        """Every path, with the bytes of a file and None for a directory."""
        found = {}

        def walk(directory, above):
            for name, node in directory.items():
                if isinstance(node, dict):
                    found[above + name] = None
                    walk(node, above + name + "/")
                else:
                    found[above + name] = bytes(node)

        with self.lock:
            walk(self.root, "")
        return found
