"""fio and stress-ng on a mount: they check what they read, and how calls come out, themselves."""

import pytest

from mountkit import MODES, Mount, check, run


@pytest.fixture
def mount(our_server, request, mode):
    """A mount of a new filesystem of tetherfs-server in one of the modes of writing."""
    with Mount(our_server, our_server.create_filesystem(request.node.name), *mode, limit=300) as mount:
        yield mount


# fio.

FIO = [
    "fio", "--directory=.", "--size=6m", "--verify=crc32c", "--verify_fatal=1", "--verify_state_save=0",
    "--fallocate=none", "--minimal",
]
JOBS = {
    "4k": ["--bs=4k"], "64k": ["--bs=64k"], "1m": ["--bs=1m"], "mapped": ["--bs=4k", "--ioengine=mmap"],
    "direct": ["--bs=16k", "--direct=1"], "asynchronous": ["--bs=16k", "--ioengine=libaio", "--iodepth=8"],
    "fsync": ["--bs=4k", "--fsync=64"], "fdatasync": ["--bs=64k", "--fdatasync=16"],
    "allocated": ["--bs=16k", "--fallocate=posix"], "reserved": ["--bs=16k", "--fallocate=keep"],
    "four": ["--bs=16k", "--numjobs=4"],
    # fio verifies only what is a whole number of blocks.
    "3000-bytes": ["--bs=3000", "--size=6000000"], "65537-bytes": ["--bs=65537", "--size=6553700"],
}


def fio(mount, order, jobs, *options):
    """Jobs of fio side by side, each with a file of its own; returns what it says is wrong, none if nothing is."""
    command = [*FIO, f"--rw={order}", *options]
    for name in jobs:
        command += [f"--name={name}", *JOBS[name]]
    # What fio remembers of a job it writes into the directory that it runs in.
    result = run(command, cwd=mount.path, timeout=120)
    return None if result.returncode == 0 else result.stderr or result.stdout


@MODES
@pytest.mark.parametrize("order", ["write", "randwrite", "randrw"])
def test_fio_reads_what_it_wrote_at_once_and_after_a_remount(mount, order):
    assert fio(mount, order, JOBS) is None
    assert mount.unmount().returncode == 0
    assert mount.mount().returncode == 0
    assert fio(mount, order, JOBS, "--verify_only") is None


@MODES
def test_fio_notices_a_byte_that_changed(mount):
    """Else it would show nothing that it notices none above."""
    assert fio(mount, "randwrite", ["64k"]) is None
    assert mount.unmount().returncode == 0
    content = mount.server.content(mount.filesystem)
    data = bytearray(content.read("64k.0.0"))
    data[3_000_000] ^= 1
    content.write("64k.0.0", data)
    assert mount.mount().returncode == 0
    assert "verify" in fio(mount, "randwrite", ["64k"], "--verify_only")


# stress-ng.

# All that work on files and that this filesystem can run. Those that it cannot:
# - link, symlink, xattr, fiemap, verity: the API has no links, no attributes of that kind and no places on a disk.
# - fanotify kills a program in the middle of a rename, which then goes on, and looks for names that it leaves.
# - io syncs every filesystem that there is, and has all mounts open for that, also those of the tests beside this one,
#   which cannot be unmounted then.
# - bind-mount, binderfs, eventfd, procfs and others are about filesystems of the kernel's own.
STRESSORS = {
    "bytes": [
        "aio", "aiol", "fallocate", "fpunch", "hdd", "iomix", "mmap", "msync", "readahead", "revio", "seek",
        "sendfile", "splice", "sync-file",
    ],
    "large files": ["copy-file", "hdd", "seek"],
    "names": ["chdir", "dentry", "dir", "dirdeep", "dirmany", "filename", "getdent", "mknod", "open", "rename", "touch"],
    "attributes": [
        "access", "chattr", "chmod", "chown", "dup", "fcntl", "file-ioctl", "fsize", "fstat", "handle", "inode-flags",
        "utime",
    ],
    "locks and watching": ["dnotify", "flock", "inotify", "lease", "locka", "lockf", "lockofd"],
}
SMALLER = {
    "fallocate": ["--fallocate-bytes", "4M"], "hdd": ["--hdd-bytes", "4M"], "iomix": ["--iomix-bytes", "4M"],
    "mmap": ["--mmap-bytes", "4M", "--mmap-file"], "msync": ["--msync-bytes", "4M"], "seek": ["--seek-size", "4M"],
    "readahead": ["--readahead-bytes", "4M"], "revio": ["--revio-bytes", "4M"], "sendfile": ["--sendfile-size", "4M"],
    "sync-file": ["--sync-file-bytes", "4M"], "copy-file": ["--copy-file-bytes", "128M"],
    # To remove what was made takes longer than the time that it had.
    "chdir": ["--chdir-dirs", "64"], "dir": ["--dir-dirs", "64"], "dentry": ["--dentries", "64"],
    "dirdeep": ["--dirdeep-inodes", "200"],
}


@MODES
@pytest.mark.parametrize("group", STRESSORS)
def test_stress_ng_finds_nothing_wrong_and_leaves_nothing(mount, group):
    command = ["stress-ng", "--temp-path", mount.path, "--verify", "--timeout", "3", "--no-rand-seed"]
    for name in STRESSORS[group]:
        command += [f"--{name}", "2", *SMALLER.get(name, [])]
    result = run(command, cwd="/", timeout=120)
    said = result.stdout + result.stderr
    assert result.returncode == 0 and "fail:" not in said and "skipping" not in said, said
    assert check(["ls", "-A", mount.path]) == ""
    assert mount.unmount().returncode == 0
    assert mount.server.content(mount.filesystem).tree() == {}
