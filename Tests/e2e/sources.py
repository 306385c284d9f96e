"""Folders to copy onto a mount: small, of many kinds, and the same every time."""

import os
import pathlib

from servercalls import pattern

# A moment that no clock of a test gives by itself.
LONG_AGO = 1_500_000_000


def tree(folder):
    """Makes a folder of 25 files in 7 directories, about 2.5 MB; none is empty. Returns its path."""
    folder = pathlib.Path(folder)
    folder.mkdir()
    sizes = [1, 17, 4095, 4096, 4097, 65_536, 131_073, 1 << 20, (1 << 20) + 1]
    for index, size in enumerate(sizes):
        (folder / f"size-{size}").write_bytes(pattern(size, index))
    for index, name in enumerate(["a", "b/c", "b/c/d", "two words", "ünï"]):
        directory = folder / name
        directory.mkdir(parents=True, exist_ok=True)
        for kind in ("txt", "x y", "ö"):
            (directory / f"file.{kind}").write_bytes(f"{name} {kind}: the needle {index}\n".encode() * (index + 1))
    script = folder / "a" / "script"
    script.write_text("#!/bin/sh\necho ran with $1\n")
    script.chmod(0o755)
    (folder / "a" / "file.txt").chmod(0o600)
    for path in sorted(folder.rglob("*"), reverse=True):
        os.utime(path, (LONG_AGO, LONG_AGO + len(str(path.relative_to(folder)))))
    os.utime(folder, (LONG_AGO, LONG_AGO))
    return folder


def described(folder, *, modes=False, times=False):
    """What a folder holds: by path the kind and the bytes, and the permissions and times of change if asked for."""
    found = {}
    for path in sorted(pathlib.Path(folder).rglob("*")):
        status = path.lstat()
        entry = ["directory" if path.is_dir() else path.read_bytes()]
        if modes:
            entry.append(oct(status.st_mode & 0o777))
        if times:
            entry.append(int(status.st_mtime))
        found[str(path.relative_to(folder))] = entry
    return found
