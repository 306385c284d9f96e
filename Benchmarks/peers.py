"""The peers that Debian has, on the same bytes over the same network: rclone over WebDAV, and sshfs.

Both without encryption, which tetherfs does not have here either; sshfs speaks to its server with no ssh in between.
"""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import threading
import time

from measuring import Row, Sample, cat, milliseconds, per_second, shell
from names import long_paths
from reading import BLOCK, big_file, small_paths
from rig import LIMIT, MIB, Network, cpu_of, drop_kernel_caches, end, memory_of

SFTP_SERVER = "/usr/lib/openssh/sftp-server"


class Rclone:
    """`rclone serve webdav` of a folder, and its mount."""

    name = "rclone"

    def __init__(self, folder):
        self.address = f"127.0.0.1:{free_port()}"
        self.process = subprocess.Popen(
            ["rclone", "serve", "webdav", folder, "--addr", self.address, "--config", "/dev/null"],
            stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        wait_until(lambda: is_open(self.address))

    def mount(self, address, path, cache):
        """The command that mounts what is found at an address, and stays in front."""
        return ["rclone", "mount", ":webdav:", path, "--webdav-url", f"http://{address}", "--config", "/dev/null",
                "--cache-dir", cache]

    def stop(self):
        end(self.process)


class Sshfs:
    """An sftp-server for each connection to a port, and sshfs."""

    name = "sshfs"

    def __init__(self, folder):
        self.folder, self.servers = folder, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        """Accepts until the listener is closed."""
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with connection:
                    self.servers.append(subprocess.Popen([SFTP_SERVER], stdin=connection, stdout=connection))

    def mount(self, address, path, cache):
        """The command that mounts what is found at an address, and stays in front."""
        return ["sshfs", "-f", "-o", f"directport={address.split(':')[1]}", f"127.0.0.1:{self.folder}", path]

    def stop(self):
        # Wakes the thread that accepts, which closing alone does not.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for server in self.servers:
            end(server)


def free_port():
    """A port of loopback that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def is_open(address):
    """Whether somebody listens."""
    host, port = address.split(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
        return True
    return False


def wait_until(condition):
    """Waits for a condition; fails after 20 s."""
    deadline = time.monotonic() + 20
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("a peer does not start")
        time.sleep(0.05)


@contextlib.contextmanager
def mounted(peer, address):
    """A fresh mount of a peer; gives its path and its process."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tetherfs-bench-peer-"))
    path = folder / "mnt"
    path.mkdir()
    drop_kernel_caches()
    process = subprocess.Popen(
        peer.mount(address, path, folder / "cache"), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    watchdog = threading.Timer(LIMIT, process.kill)
    watchdog.start()
    try:
        wait_until(lambda: os.path.ismount(path))
        yield path, process
    finally:
        watchdog.cancel()
        subprocess.run(["fusermount3", "-uz", path], capture_output=True, timeout=30)
        end(process)
        shutil.rmtree(folder / "cache", ignore_errors=True)
        path.rmdir()
        folder.rmdir()


def peers(server, sizes):
    """What reads and listings take with the peers, one repetition each; only those that are installed."""
    big_file(server, sizes.big_mib * MIB)
    small = small_paths(server, sizes)
    long_paths(server, sizes)
    tasks = [
        (f"cat {sizes.big_mib} MiB cold", "MiB/s", per_second(sizes.big_mib), lambda path: cat(path / "big/file")),
        (f"tar c, {len(small)} x 4 KiB", "files/s", per_second(len(small)),
         lambda path: shell("tar c small | cat", path) and len(small) * BLOCK),
        (f"ls -l of {sizes.long_listing}", "ms", milliseconds, lambda path: shell("ls -l long", path)),
    ]
    for kind in (Rclone, Sshfs):
        if not shutil.which(kind.name):
            continue
        peer = kind(server.tree)
        try:
            with Network(server, 20, peer.address) as network:
                for name, unit, rate, action in tasks:
                    with mounted(peer, network.address) as (path, process):
                        idle, cpu, begin = memory_of(process.pid, "VmRSS"), cpu_of(process.pid), time.monotonic()
                        read = action(path)
                        seconds, peak = time.monotonic() - begin, memory_of(process.pid, "VmHWM")
                        sample = Sample(seconds, None, None, read, cpu_of(process.pid) - cpu, peak, peak - idle)
                    yield Row(f"{kind.name}: {name}", [sample], [], "", unit, rate, None)
        finally:
            peer.stop()
