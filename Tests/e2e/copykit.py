"""What the tests of `tetherfs cp` share: the command in a folder of its own, on both servers and on one that fails."""

import ctypes
import pathlib
import platform
import struct
import subprocess

import pytest

from clikit import environment, tetherfs
from mountkit import UPLOAD
from serverkit import binary

MIB = 1 << 20


@pytest.fixture
def cp(server, filesystem, tmp_path):
    """Runs cp in a folder of its own; `:` at the start of an argument stands for the filesystem's name and a colon."""
    def cp(*arguments, **options):
        return tetherfs("cp", *named(filesystem, arguments), server=server, cwd=tmp_path, **options)
    return cp


@pytest.fixture
def faulty(deployed, tmp_path):
    """The server that fails on demand, what its filesystem holds, and cp, which repeats nothing unless told."""
    filesystem = deployed.create_filesystem("faulty")

    def cp(*arguments, retries=0, **options):
        return tetherfs(
            "cp", "--retries", retries, *named(filesystem, arguments), server=deployed, cwd=tmp_path, **options
        )
    yield deployed, deployed.content(filesystem), cp
    deployed.faults.clear()
    del deployed.filesystems[filesystem]


def named(filesystem, arguments):
    return [f"{filesystem}{word}" if str(word).startswith(":") else word for word in arguments]


def started(server, filesystem, folder, *arguments):
    """A cp that goes on while the test does; its stderr is a pipe."""
    return subprocess.Popen(
        [binary("tetherfs"), "cp", *named(filesystem, arguments)], env=environment(server), cwd=folder,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )


def killed_by_fsync():
    """Has the kernel kill this process, and what it becomes, at its first fsync (seccomp(2))."""
    load, jump_if_equal, answer = 0x20, 0x15, 0x06
    kill, allow = 0x80000000, 0x7FFF0000
    instructions = [
        (load, 0, 0, 0), (jump_if_equal, 0, 1, {"x86_64": 74, "aarch64": 82}[platform.machine()]),
        (answer, 0, 0, kill), (answer, 0, 0, allow),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in instructions))
    program = struct.pack("HP", len(instructions), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, seccomp, filtered = 38, 22, 2
    if libc.prctl(no_new_privileges, 1, 0, 0, 0) != 0 or libc.prctl(seccomp, filtered, program, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def done(result):
    assert (result.returncode, result.stdout, result.stderr) == (0, "", ""), result


def local_tree(folder):
    """Every path below a folder, with the bytes of a file and None for a directory.

    Left out are names of uploads, which listings of the deployed service show.
    """
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in pathlib.Path(folder).rglob("*") if not UPLOAD.fullmatch(path.name)
    }


def make(folder, files):
    for name, data in files.items():
        path = pathlib.Path(folder, name)
        if data is None:
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def fails_with_summary(result, *words):
    """One file failed, with these words; no other was there."""
    assert (result.returncode, result.stdout) == (1, ""), result
    assert result.stderr.endswith("tetherfs: 0 files copied, 1 failed\n"), result.stderr
    for word in words:
        assert word in result.stderr, result.stderr
