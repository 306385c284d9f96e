"""Where a process spends its time: samples by perf, put together by what they are for."""

import collections
import contextlib
import pathlib
import signal
import subprocess
import tempfile
import time

from rig import check

SAMPLES_PER_SECOND = 1999

# Which part of the driver's work a sample belongs to: the first rule that matches. `kernel` ones look for a function
# anywhere in the call chain, the others at the library or function that was running.
KERNEL_PARTS = (
    ("replies into /dev/fuse (kernel)", ("fuse_dev_write", "fuse_dev_do_write")),
    ("requests out of /dev/fuse (kernel)", ("fuse_dev_read", "fuse_dev_do_read")),
    ("page faults of fresh memory (kernel)", ("exc_page_fault", "asm_exc_page_fault")),
    ("recv (kernel)", ("__x64_sys_recvfrom", "tcp_recvmsg", "sock_recvmsg")),
    ("send and connect (kernel)", ("__x64_sys_sendto", "__x64_sys_connect", "tcp_sendmsg")),
    ("making, naming and deleting local files (kernel)", (
        "__x64_sys_openat", "__x64_sys_rename", "__x64_sys_unlink", "__x64_sys_ftruncate")),
    ("syncing local files (kernel)", ("__x64_sys_fdatasync", "__x64_sys_fsync")),
    ("reading and writing local files, the disk cache's, SQLite's and staged ones (kernel)", (
        "do_pwritev", "vfs_writev", "ext4_file_write_iter", "__x64_sys_pwrite64", "__x64_sys_pread64",
        "__x64_sys_fcntl")),
    ("waking and waiting (kernel)", ("__x64_sys_futex", "__x64_sys_poll", "__x64_sys_epoll_wait", "__schedule")),
)
USER_PARTS = (
    ("checksums of blocks (XXH3)", ("libxxhash",)),
    ("SQLite", ("libsqlite3",)),
    ("libcurl", ("libcurl",)),
)


def part_of(chain):
    """The part of a sample, given (function, library) from the innermost outwards."""
    function, library = chain[0]
    if "kernel" in library or library.startswith("["):
        names = {name for name, _ in chain}
        for part, known in KERNEL_PARTS:
            if names & set(known):
                return part
        return "the rest of the kernel"
    for part, known in USER_PARTS:
        if any(name in library for name in known):
            return part
    if "libc.so" in library:
        return "copies out of curl's buffer (memmove)" if "memmove" in function else "malloc and libc"
    if function.startswith("$s4GRDB") or "GRDB" in function:
        return "SQLite"
    return "the driver's own code and Swift's"


@contextlib.contextmanager
def recorded(pid, chains):
    """Records where a process spends its time; adds each sample's call chain to a list."""
    with tempfile.TemporaryDirectory(prefix="tetherfs-profile-") as folder:
        data = pathlib.Path(folder, "perf.data")
        command = ["perf", "record", "-q", "-g", "-e", "cpu-clock", "-F", str(SAMPLES_PER_SECOND), "-o", data]
        perf = subprocess.Popen([*command, "-p", str(pid)], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # It says nothing when it has begun.
        time.sleep(0.5)
        try:
            yield
        finally:
            perf.send_signal(signal.SIGINT)
            perf.wait(60)
        chains += read_chains(data)


def read_chains(data):
    """The call chains of a recording, each (function, library) from the innermost outwards."""
    text = check(["perf", "script", "-i", data, "-F", "comm,ip,sym,dso"], stderr=None)
    chains = []
    for sample in text.split("\n\n"):
        lines = [line.split(maxsplit=1)[1].rpartition(" (") for line in sample.strip().splitlines()[1:] if " (" in line]
        if lines:
            chains.append([(function.split("+")[0], library.rstrip(")")) for function, _, library in lines])
    return chains


def record_program(command, chains):
    """Records a program from its start to its end."""
    with tempfile.TemporaryDirectory(prefix="tetherfs-profile-") as folder:
        data = pathlib.Path(folder, "perf.data")
        perf = ["perf", "record", "-q", "-g", "-e", "cpu-clock", "-F", str(SAMPLES_PER_SECOND), "-o", data, "--"]
        nowhere = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([*perf, *command], check=True, timeout=300, **nowhere)
        chains += read_chains(data)


def top(chains, count):
    """The functions that samples were in most often, with their share."""
    functions = collections.Counter(chain[0][0] for chain in chains)
    return ", ".join(f"{name} {100 * number / len(chains):.0f} %" for name, number in functions.most_common(count))


def parts(chains, seconds, unit="GiB"):
    """The parts of the driver's work as Markdown, in seconds for each unit."""
    counted = collections.Counter(map(part_of, chains))
    lines = [f"|part|CPU s/{unit}|share|", "|---|--:|--:|"]
    lines += [
        f"|{part}|{seconds * number / len(chains):.3f}|{100 * number / len(chains):.0f} %|"
        for part, number in counted.most_common() if number * 200 >= len(chains)
    ]
    return "\n".join(lines)
