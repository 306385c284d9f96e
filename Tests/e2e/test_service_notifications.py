"""What a mount tells systemd, as a service of Type=notify, and whoever waits for its end, while a large file is uploaded."""

import os
import pathlib
import pty
import re
import select
import signal
import socket
import subprocess

import pytest

import faultplan
from deployedserver import DeployedServer
from mountkit import Mount, await_end, environment, write
from servercalls import pattern
from serverkit import binary, poll

LARGE = pattern(64 << 20)
# The uploads of a large file wait in the background, so that its close is no part of a test.
IN_BACKGROUND = ["--writes", "write-back", "--temporary-names", "*", "--temporary-delay", 600]


@pytest.fixture
def server():
    """One that holds little of what it has not taken, so that what is sent follows what it takes."""
    with DeployedServer() as server:
        server.listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
        yield server


class Manager:
    """The socket that systemd listens on, and all that was said there: messages as {name: value}."""

    def __init__(self, folder):
        self.path = str(folder / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.messages = []

    def hear(self):
        """All messages so far."""
        while select.select([self.socket], [], [], 0)[0]:
            lines = self.socket.recv(65536).decode().split("\n")
            self.messages.append(dict(line.split("=", 1) for line in lines))
        return self.messages

    def wait(self, condition, what):
        return poll(lambda: condition(self.hear()), timeout=30, what=what)

    @property
    def extensions(self):
        return [message for message in self.hear() if "EXTEND_TIMEOUT_USEC" in message]


@pytest.fixture
def manager(prepared):
    manager = Manager(prepared.folder)
    yield manager
    manager.socket.close()


@pytest.fixture
def service(prepared, manager):
    """The driver of `prepared` as systemd would start it; it is to say every fifth of a second that it lives."""
    prepared.options += ["--foreground", *map(str, IN_BACKGROUND)]
    with open(prepared.folder / "log", "wb") as log:
        process = subprocess.Popen(
            [binary("tetherfs"), *prepared.arguments], stderr=log,
            env=environment(NOTIFY_SOCKET=manager.path, WATCHDOG_USEC="400000"),
        )
    try:
        manager.wait(lambda messages: any("READY" in message for message in messages), "readiness")
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_stop_has_more_time_for_as_long_as_a_large_file_goes_on_being_sent(
    server, content, prepared, manager, service
):
    rationed = faultplan.Rationed()
    server.faults.add("put", rationed, times=None)
    write(prepared / "f", LARGE)
    assert manager.extensions == []
    service.send_signal(signal.SIGTERM)
    manager.wait(lambda messages: any("STOPPING" in message for message in messages), "word of the end")
    for count in (1, 2, 3, 4):
        manager.wait(lambda _: len(manager.extensions) >= count, f"word that asks for more time, number {count}")
        rationed.allow()
    texts = [message["STATUS"] for message in manager.extensions]
    assert all(re.match(r"ending: 1 file, 67108864 bytes to upload", text) for text in texts), texts
    assert len(set(texts)) == len(texts)
    server.faults.clear()
    assert service.wait(60) == 0
    assert content.read("f") == LARGE


def test_a_stop_has_no_more_time_once_nothing_is_sent_any_more(server, prepared, manager, service):
    server.faults.add("put", faultplan.Rationed(), times=None)
    write(prepared / "f", LARGE)
    service.send_signal(signal.SIGTERM)
    manager.wait(lambda messages: len(messages) > 5 and all(
        "EXTEND_TIMEOUT_USEC" not in message for message in messages[-5:]
    ) and manager.extensions, "silence about more time")
    assert service.poll() is None
    server.faults.clear()
    assert service.wait(60) == 0
    # The log has nothing twice either.
    log = (prepared.folder / "log").read_text()
    texts = re.findall(r" info (ending: .* to upload.*)", log)
    assert texts and len(set(texts)) == len(texts), log


def test_a_driver_that_is_killed_while_it_asks_its_own_mount_for_a_sign_of_life_ends(prepared, service, manager):
    """A thread that waits for an answer of its own process cannot be killed, and must not keep the mount served."""
    tracer = subprocess.Popen(
        ["strace", "-f", "-p", str(service.pid), "-P", "/dev/fuse", "-e", "trace=writev",
         "-e", "inject=writev:delay_enter=60000000"], stderr=subprocess.DEVNULL,
    )

    def is_asking():
        """Whether the question is taken, and the thread that answers it is held."""
        stacks = [(task / "stack").read_text() for task in pathlib.Path(f"/proc/{service.pid}/task").iterdir()]
        return all(any(name in stack for stack in stacks) for name in ("fuse_statfs", "ptrace_stop"))

    try:
        manager.wait(lambda _: is_asking(), "question of the driver to its own mount")
        service.kill()
        tracer.kill()
        tracer.wait()
        await_end(service.pid)
    finally:
        tracer.kill()
        tracer.wait()
        prepared.abort()


def test_who_waits_for_a_large_file_sees_that_it_goes_on(server, filesystem):
    rationed = faultplan.Rationed()
    server.faults.add("put", rationed, times=None)
    screen, terminal = pty.openpty()
    with Mount(server, filesystem, *IN_BACKGROUND) as mount, open(screen, "rb", buffering=0) as screen:
        write(mount / "f", LARGE)
        flush = subprocess.Popen([binary("tetherfs"), "flush", mount.path], env=environment(), stderr=terminal)
        os.close(terminal)
        seen = b""

        def counts():
            nonlocal seen
            while select.select([screen], [], [], 0)[0]:
                seen += screen.read(4096)
            return len(set(re.findall(rb"1 file, 67108864 bytes to upload; (\d+) bytes sent so far", seen)))

        for count in (1, 2, 3):
            poll(lambda: counts() >= count, timeout=30, what=f"progress, number {count}")
            rationed.allow()
        server.faults.clear()
        assert flush.wait(60) == 0
