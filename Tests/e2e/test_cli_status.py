"""`tetherfs status` and `list`: what they tell of mounts that go well, and of those that do not."""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import threading

import pytest

import faultplan
from clikit import as_user, at_terminal, environment, fails, tetherfs
from mountkit import Mount, check, read, run, write
from servercalls import pattern
from serverkit import binary, poll

DATA = pattern(300_000)
# Only this server fails as it is told to.
with_faults = pytest.mark.parametrize("server", ["deployed"], indirect=True)


@pytest.fixture
def server(request):
    """tetherfs-server, unless a test asks for the other: the command is the same with both."""
    return request.getfixturevalue(getattr(request, "param", "our_server"))


def status(mount):
    """What `tetherfs status --json` tells of one mount."""
    result = tetherfs("status", mount.path, "--json", env=environment())
    assert (result.returncode, result.stderr) == (0, ""), result
    return json.loads(result.stdout)


def listed(mount, *prefix):
    """What `tetherfs list --json` tells of one mount."""
    # A driver that is not this test's own may be silent: each waits for it in vain, and for no longer.
    result = tetherfs("list", "--json", env=environment(), prefix=prefix)
    assert (result.returncode, result.stderr) == (0, ""), result
    [entry] = [entry for entry in json.loads(result.stdout) if entry["mountPoint"] == mount.path]
    return entry


def table_row(mount):
    """The cells of a mount's row in what `tetherfs list` prints."""
    output = check([binary("tetherfs"), "list"], env=environment())
    assert output.splitlines()[0].split() == ["MOUNTPOINT", "FILESYSTEM", "SERVER", "STATE", "PENDING"]
    [row] = [line.split(maxsplit=4) for line in output.splitlines() if line.startswith(mount.path + " ")]
    return row


# A mount that goes well.


def test_status_tells_what_was_read_written_and_asked_for(server, filesystem, content):
    content.write("old", DATA)
    with Mount(server, filesystem) as mount:
        before = status(mount)
        assert (before["mountPoint"], before["filesystem"]) == (mount.path, filesystem)
        assert before["server"]["url"] == server.url and "silentSince" not in before["server"]
        write(mount / "new", DATA)
        assert read(mount / "old") == DATA
        after = status(mount)
        assert after["programs"]["writtenBytes"] - before["programs"]["writtenBytes"] == len(DATA)
        # The last read may be one at the file's end, which brings nothing.
        assert after["programs"]["readBytes"] - before["programs"]["readBytes"] == len(DATA)
        assert after["server"]["receivedBytes"] - before["server"]["receivedBytes"] >= len(DATA)
        assert after["server"]["sentBytes"] - before["server"]["sentBytes"] >= len(DATA)
        assert after["server"]["requests"] > before["server"]["requests"]
        assert after["server"]["latency"]["median"] > 0 and after["server"]["latency"]["count"] > 0
        assert after["cache"]["fetched"] == -(-len(DATA) // 65536)
        # The last block takes whole pages, and what is noted of it.
        assert len(DATA) <= after["cache"]["memoryBytes"] < len(DATA) + 8192
        assert "lastError" not in after and "lastFailure" not in after["server"]
        assert set(after["throughput"]) == {"read", "written", "received", "sent"}


def test_status_counts_the_files_that_are_open(server, filesystem, content):
    content.write("f", DATA)
    with Mount(server, filesystem) as mount:
        assert status(mount)["programs"]["openFiles"] == 0
        with open(mount / "f", "rb"), open(mount / "g", "wb"):
            assert status(mount)["programs"]["openFiles"] == 2
        poll(lambda: status(mount)["programs"]["openFiles"] == 0, what="release of the files")


def test_status_of_all_mounts_is_one_after_the_other(server, filesystem):
    other = server.create_filesystem(f"other {filesystem}")
    with Mount(server, filesystem) as one, Mount(server, other) as two:
        result = tetherfs("status", "--json", env=environment())
        told = {entry["mountPoint"]: entry["filesystem"] for entry in json.loads(result.stdout)}
        assert told[one.path] == filesystem and told[two.path] == other
        blocks = tetherfs("status", env=environment()).stdout.split("\n\n")
        assert {f"{filesystem} at {one.path}", f"{other} at {two.path}"} <= {block.splitlines()[0] for block in blocks}


def test_status_goes_on_until_the_mount_is_gone(server, filesystem):
    with Mount(server, filesystem) as mount:
        script = f'"$0" status "$1" --watch --json | while read -r line; do echo "$line"; "$0" unmount "$1"; done'
        result = run(["sh", "-c", script, binary("tetherfs"), mount.path], env=environment())
        told = [json.loads(line) for line in result.stdout.splitlines()]
        assert told and told[0]["mountPoint"] == mount.path
        assert "is not a tetherfs mount" in result.stderr


def test_status_is_drawn_anew_in_its_place_on_a_terminal_of_any_width(server, filesystem):
    with Mount(server, filesystem) as mount:
        # Each time that a screen is drawn; the third time as a person ends it.
        seen = [lambda _: None, lambda _: None, lambda process: process.send_signal(signal.SIGINT)]
        code, screen = at_terminal(
            "status", mount.path, "--watch", typed=seen, asked="\x1b[J", columns=50, env=environment()
        )
        assert code == -signal.SIGINT
        screens = [shown.split("\x1b[K\r\n") for shown in screen.split("\x1b[H")[1:]]
        assert len(screens) >= 3 and len({len(lines) for lines in screens}) == 1
        for lines in screens:
            assert lines[0].startswith(filesystem[:30]) and lines[-1].startswith("\x1b[J")
            assert len(lines) <= 24 and all(len(line) < 50 for line in lines[:-1])


def test_list_shows_a_mount_with_its_server_and_what_waits(server, filesystem):
    waiting = ["--writes", "write-back", "--temporary-names", "*", "--temporary-delay", 600]
    with Mount(server, filesystem, *waiting) as mount:
        assert table_row(mount) == [mount.path, filesystem, server.url, "answers", "0"]
        write(mount / "f", DATA)
        told = listed(mount)
        assert (told["filesystem"], told["server"], told["state"]) == (filesystem, server.url, "answers")
        assert (told["pendingFiles"], told["pendingBytes"], told["failedFiles"]) == (1, len(DATA), 0)
        assert table_row(mount)[4] == "1 (293K)"


# Mounts that do not go well.


def test_a_stopped_driver_is_silent_and_keeps_nobody_waiting(server, filesystem):
    with Mount(server, filesystem) as mount:
        pid = mount.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            # Each waits a while for the driver: all at once.
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                entry, row = pool.submit(listed, mount), pool.submit(table_row, mount)
                one = pool.submit(tetherfs, "status", mount.path, env=environment(), timeout=30)
                every = pool.submit(tetherfs, "status", env=environment(), timeout=30)
            assert entry.result()["state"] == "silent"
            assert row.result()[2:] == ["-", "silent", "-"]
            fails(one.result(), mount.path, "silent", status=1)
            assert every.result().returncode == 1 and "its driver is silent" in every.result().stdout
        finally:
            os.kill(pid, signal.SIGCONT)
        assert listed(mount)["state"] == "answers"


def test_a_dead_driver_is_dead(server, filesystem):
    with Mount(server, filesystem) as mount:
        mount.kill()
        assert listed(mount)["state"] == "dead"
        fails(tetherfs("status", mount.path, env=environment()), "its driver is gone", "tetherfs unmount", status=1)


@with_faults
def test_a_server_that_does_not_answer_shows_in_status_and_list_and_the_log_says_so_once(server, filesystem, content):
    content.write("f", DATA)
    with Mount(server, filesystem, "--retries", 3, "--metadata-ttl", 0, "--log-level", "info") as mount:
        server.faults.add("list", faultplan.status(503, "try later"), times=1000)
        assert run(["ls", mount.path]).returncode != 0
        told = status(mount)
        assert told["server"]["silentSince"] > 0 and told["server"]["retries"] == 3
        assert told["server"]["lastFailure"]["call"] == "list" and "try later" in told["server"]["lastFailure"]["reason"]
        assert told["server"]["givenUp"] == 1 and told["server"]["failures"] == 4
        assert "503" in told["lastError"]["text"] and told["errorCounts"]["warning"] >= 1
        assert listed(mount)["state"] == "server-silent"
        lines = tetherfs("status", mount.path, env=environment()).stdout
        assert "does not answer since" in lines and "last failed request: " in lines and "last error: " in lines
        server.faults.clear()
        assert run(["ls", mount.path]).returncode == 0
        assert listed(mount)["state"] == "answers"
        assert mount.log.count("the service does not answer") == 1
        assert mount.log.count("the service answers again") == 1


@with_faults
def test_bytes_of_an_answer_that_goes_on_show_before_it_is_over(server, filesystem, content):
    content.write("f", DATA)
    with Mount(server, filesystem) as mount:
        before = status(mount)["server"]["receivedBytes"]
        server.faults.add("read", faultplan.within_answer("stall"), times=100)
        reader = subprocess.Popen(["cat", mount / "f"], stdout=subprocess.DEVNULL)
        try:
            poll(lambda: status(mount)["server"]["receivedBytes"] - before > 50_000, what="bytes in the status")
            assert reader.poll() is None
        finally:
            server.faults.clear()
            assert reader.wait(60) == 0


@with_faults
def test_a_failed_upload_shows_with_its_reason_and_the_requests_id(server, filesystem):
    options = ["--writes", "write-back", "--retries", 0]
    with Mount(server, filesystem, *options) as mount:
        server.faults.add("put", faultplan.status(500, "out of order", X_Request_Id="ab-12"), times=1000)
        write(mount / "f", DATA)
        told = poll(lambda: (told := status(mount))["uploads"]["failedCount"] and told, what="failure")
        [failure] = told["uploads"]["failed"]
        assert (failure["path"], failure["bytes"]) == ("f", len(DATA))
        assert "out of order (request ab-12)" in failure["reason"] and "request ab-12" in mount.log
        assert table_row(mount)[4].endswith(", 1 failed)")
        server.faults.clear()
        assert tetherfs("flush", mount.path, env=environment()).returncode == 0


@with_faults
def test_status_tells_how_far_the_rename_of_a_directory_is(server, filesystem, content):
    for name in ("d/a", "d/b"):
        content.write(name, DATA)
    held = threading.Event()

    def hold(exchange):
        held.set()
        exchange.wait()
        exchange.answer()

    with Mount(server, filesystem) as mount:
        assert status(mount)["uploads"]["renames"] == []
        server.faults.add("complete", hold, times=None)
        renaming = threading.Thread(target=os.rename, args=(mount / "d", mount / "x"), daemon=True)
        renaming.start()
        assert held.wait(30)
        told = f"d to x: copying, 0 of 2 files, 0 of {2 * len(DATA)} bytes"
        assert status(mount)["uploads"]["renames"] == [told]
        shown = tetherfs("status", mount.path, env=environment()).stdout
        assert f"renaming: {told}" in [line.strip() for line in shown.splitlines()]
        server.faults.clear()
        renaming.join(30)
        assert not renaming.is_alive() and os.listdir(mount.path) == ["x"]
        assert status(mount)["uploads"]["renames"] == []


def test_another_user_sees_that_there_is_a_mount_and_no_more(server, filesystem):
    with Mount(server, filesystem) as mount:
        told = listed(mount, *as_user())
        assert told == {"mountPoint": mount.path, "filesystem": filesystem, "state": "unknown", "user": os.geteuid()}
        result = tetherfs("status", mount.path, env=environment(), prefix=as_user())
        assert result.returncode == 1
        assert mount.path not in tetherfs("status", env=environment(), prefix=as_user()).stdout


def test_a_driver_that_dies_while_it_is_asked_is_listed_as_dead(server, filesystem):
    with Mount(server, filesystem) as mount:
        # Nobody answers there, so that the kernel is asked.
        [socket] = pathlib.Path("/run/tetherfs").glob(f"*{mount.folder.name.rpartition('-')[2]}*")
        socket.unlink()
        os.kill(mount.pid, signal.SIGSTOP)
        listing = subprocess.Popen(
            [binary("tetherfs"), "list", "--json"], env=environment(), stdout=subprocess.PIPE, text=True
        )
        poll(lambda: waits_for_statfs(listing.pid), what="question")
        mount.kill()
        [entry] = [entry for entry in json.loads(listing.communicate(timeout=30)[0])
                   if entry["mountPoint"] == mount.path]
        assert entry["state"] == "dead", entry
        assert mount.unmount().returncode == 0


def waits_for_statfs(pid):
    """Whether a thread of a process is in statfs(2), which has the number 137 or 43."""
    number = {"x86_64": "137", "aarch64": "43"}[os.uname().machine]
    for thread in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError):
            if pathlib.Path(f"/proc/{pid}/task/{thread}/syscall").read_text().split()[0] == number:
                return True
    return False
