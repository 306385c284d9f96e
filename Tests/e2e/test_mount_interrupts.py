"""Whoever waits for a silent server can be ended by a signal, at once and without harm to others or to the file."""

import concurrent.futures
import os
import signal
import subprocess
import sys

import pytest

import faultplan
from mountkit import Mount, read, without_uploads
from servercalls import pattern
from serverkit import poll

FILE = pattern(300_000)


@pytest.fixture
def server(deployed):
    return deployed


@pytest.fixture
def content(server, filesystem):
    content = server.content(filesystem)
    content.write("d/f", FILE)
    return content


STUCK = {
    "listing": ("list", ["ls", "{}/d"]), "stat": ("size", ["stat", "{}/d/f"]), "read": ("read", ["cat", "{}/d/f"]),
    "body": ("body", ["cat", "{}/d/f"]), "mkdir": ("mkdir", ["mkdir", "{}/new"]),
    "delete": ("delete", ["rm", "-f", "{}/d/f"]), "close": ("put", ["cp", "/etc/passwd", "{}/d/new"]),
}


ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]


# SIGQUIT is no fatal signal to the kernel before the core is written: who waits for a page waits on.
@pytest.mark.parametrize("what, sent", [
    *((what, sent) for what in STUCK for sent in ENDING),
    ("read", signal.SIGHUP), ("close", signal.SIGHUP), ("close", signal.SIGQUIT),
], ids=lambda value: getattr(value, "name", value))
def test_a_program_that_waits_for_a_silent_server_ends_at_a_signal(server, filesystem, content, what, sent):
    call, command = STUCK[what]
    with Mount(server, filesystem, "--request-timeout", 100) as mount:
        if what in ("delete", "stat"):
            os.listdir(mount / "d")
        if what == "delete":
            os.stat(mount / "d/f")
        fault = faultplan.stall(after=100_000) if what == "body" else faultplan.stall()
        rule = server.faults.add("read" if what == "body" else call, fault, times=None)
        program = subprocess.Popen(
            [word.format(mount.path) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            rule.wait()
            program.send_signal(sent)
            # Far less than the request's own limit.
            program.wait(20)
        except BaseException:
            mount.abort()
            program.kill()
            raise
        # cp and rm may be told of the interrupted call before they die of the signal.
        assert program.returncode != 0
        server.faults.clear()
        assert read(mount / "d/f") == FILE if what != "delete" else os.listdir(mount.path)


def test_a_read_that_was_given_up_does_not_spoil_it_for_others(server, filesystem, content):
    with Mount(server, filesystem, "--request-timeout", 100) as mount:
        rule = server.faults.add("read", faultplan.stall(), times=1)
        program = subprocess.Popen(["cat", mount / "d/f"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        rule.wait()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            other = pool.submit(read, mount / "d/f")
            program.send_signal(signal.SIGINT)
            program.wait(20)
            server.faults.clear()
            assert other.result(60) == FILE


def test_a_close_that_ctrl_c_ends_does_not_end_the_upload(server, content, filesystem):
    with Mount(server, filesystem, "--request-timeout", 100) as mount:
        rule = server.faults.add("put", faultplan.stall())
        writer = subprocess.Popen(["dd", "if=/etc/passwd", f"of={mount / 'new'}", "status=none"])
        rule.wait()
        writer.send_signal(signal.SIGINT)
        writer.wait(30)
        assert not content.exists("new")
        server.faults.clear()
        with open("/etc/passwd", "rb") as passwords:
            wanted = passwords.read()
        poll(lambda: without_uploads(content).get("new") == wanted, what="upload")


def test_a_write_that_a_signal_ends_is_done_when_the_server_answers(server, content, filesystem):
    code = """
descriptor = os.open(sys.argv[1], os.O_WRONLY)
print(flush=True)
sys.stdin.readline()
os.pwrite(descriptor, b"changed", 0)
"""
    with Mount(server, filesystem, "--request-timeout", 100, "--metadata-ttl", 0) as mount:
        command = [sys.executable, "-c", "import os, sys\n" + code, mount / "d/f"]
        writer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        writer.stdout.readline()
        rule = server.faults.add("size", faultplan.stall(), path="/?d/f", times=None)
        writer.stdin.write(b"\n")
        writer.stdin.flush()
        rule.wait()
        writer.kill()
        # The kernel closes the file: nothing of the write is there yet, for which that would wait.
        writer.communicate(timeout=30)
        server.faults.clear()
        poll(lambda: content.read("d/f") == b"changed" + FILE[7:], what="upload")
        content.write("d/f", b"shorter")
        assert read(mount / "d/f") == b"shorter"


def test_a_timers_signal_does_not_end_a_close_early(server, content, filesystem):
    code = """
import signal
signal.signal(signal.SIGALRM, lambda *_: None)
descriptor = os.open(sys.argv[1], os.O_WRONLY)
os.pwrite(descriptor, b"changed", 0)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
os.close(descriptor)
signal.setitimer(signal.ITIMER_REAL, 0)
"""

    def has_pending_alarm():
        with open(f"/proc/{closer.pid}/status") as status:
            masks = dict(line.split(":\t") for line in status.read().splitlines())
        return int(masks["ShdPnd"], 16) & 1 << signal.SIGALRM - 1

    with Mount(server, filesystem, "--request-timeout", 100) as mount:
        rule = server.faults.add("put", faultplan.stall())
        command = [sys.executable, "-c", "import os, sys\n" + code, mount / "d/f"]
        closer = subprocess.Popen(command, stderr=subprocess.PIPE)
        rule.wait()
        poll(has_pending_alarm, what="signal that waits for the close")
        server.faults.clear()
        assert (closer.communicate(timeout=30)[1], closer.returncode) == (b"", 0)
        assert content.read("d/f") == b"changed" + FILE[7:]
