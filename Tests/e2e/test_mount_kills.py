"""Drivers killed at moments that killing at random rarely meets: nothing is lost, and nothing is there twice."""

import contextlib
import os
import subprocess

import pytest

import faultplan
from mountkit import MODES, UPLOAD, Mount, environment, read, tetherfs, without_uploads, write
from servercalls import pattern
from serverkit import binary, poll

OLD, NEW, THEIRS = pattern(100_000), pattern(120_000, start=9), b"of somebody else"
# Every name is a temporary one, so that files wait until somebody waits for them.
WAITING = ["--writes", "write-back", "--temporary-names", "*", "--temporary-delay", 600]
# As the request arrives, or when the server has done what it asks for and nobody has heard of that.
ARRIVED, DONE = False, True


@pytest.fixture
def server(deployed):
    """Only this server fails as it is told to, and shows all that is left of uploads."""
    return deployed


@pytest.fixture
def mounts(server, filesystem, cache_dir):
    """Makes mounts one after another, all with one cache directory."""
    return lambda *options: Mount(server, filesystem, *options, cache_dir=cache_dir)


def written_until_killed(mount, rule, path, data):
    """Writes a file; in sync mode the close is told that the driver is gone."""
    with contextlib.suppress(OSError):
        write(mount / path, data)
    rule.wait()
    poll(lambda: mount.pid is None, what="end of the driver")


def flush(mount):
    result = tetherfs("flush", mount.path)
    assert result.returncode == 0, result.stderr


@MODES
@pytest.mark.parametrize("before", [None, OLD, bytes(len(NEW))], ids=["new", "another size", "the same size"])
def test_a_completion_whose_answer_the_driver_did_not_live_to_hear_is_no_conflict(
        server, content, mounts, mode, before):
    if before is not None:
        content.write("f", before)
    with mounts(*mode) as mount:
        rule = server.faults.add("complete", faultplan.killing(mount, acts=DONE))
        written_until_killed(mount, rule, "f", NEW)
        assert content.tree() == {"f": NEW}
    with mounts(*mode) as mount:
        assert os.listdir(mount.path) == ["f"] and read(mount / "f") == NEW
        flush(mount)
        assert read(mount / "f") == NEW
    assert content.tree() == {"f": NEW}


# The id of an upload that the server refused to begin has to be found in a listing: before, nobody can note it.
UNKNOWN = [("begin", ARRIVED), ("begin", DONE), ("list", DONE), ("size", DONE)]
KNOWN = [("complete", ARRIVED), ("complete", DONE)]


@MODES
@pytest.mark.parametrize("call, acts", UNKNOWN + KNOWN)
def test_an_empty_file_on_a_server_that_refuses_it_is_there_after_a_kill(server, content, mounts, mode, call, acts):
    def uploads():
        return [name for name in content.names("d") if UPLOAD.fullmatch(name)]

    def is_meant(exchange):
        # Of listings and sizes those that look for what the refused call left.
        return call not in ("list", "size") or uploads() != []

    content.mkdir("d")
    with mounts(*mode) as mount:
        rule = server.faults.add(call, faultplan.killing(mount, acts=acts, is_meant=is_meant), times=None)
        written_until_killed(mount, rule, "d/empty", b"")
        left = uploads()
    with mounts(*mode) as mount:
        flush(mount)
        shown = os.listdir(mount / "d")
    is_there = content.exists("d/empty")
    # In sync mode no close had said that it is safe.
    assert is_there or not mode
    assert without_uploads(content) == {"d": None, **({"d/empty": b""} if is_there else {})}
    # Nothing is added to what nobody could note; of the rest nothing is left, nor shown.
    assert uploads() == (left if (call, acts) in UNKNOWN else [])
    assert sorted(shown) == content.names("d")


@pytest.mark.parametrize("how", ["kill", "crash"])
def test_an_unmount_whose_driver_is_killed_over_it_fails_and_the_next_mount_uploads(server, content, mounts, how):
    """crash: the watcher takes the mount away; kill: it stays there, dead."""
    with mounts(*WAITING) as mount:
        write(mount / "f", NEW)
        rule = server.faults.add("put", faultplan.stall(), times=None)
        unmount = subprocess.Popen(
            [binary("tetherfs"), "unmount", mount.path], env=environment(), stderr=subprocess.PIPE, text=True
        )
        rule.wait()
        getattr(mount, how)()
        errors = unmount.communicate(timeout=60)[1]
        assert unmount.returncode == 1 and errors.count("\n") == 1
        assert "ended before it said that all is uploaded" in errors and mount.path in errors
        assert not mount.is_mounted
    server.faults.clear()
    assert without_uploads(content) == {}
    with mounts(*WAITING) as mount:
        assert read(mount / "f") == NEW
        flush(mount)
    assert without_uploads(content) == {"f": NEW}


COPYING = [(call, acts) for call in ("begin", "put", "complete") for acts in (ARRIVED, DONE)]


@pytest.mark.parametrize("theirs, call, acts", [
    *(("changed", call, acts) for call, acts in COPYING),
    ("deleted", "complete", ARRIVED), ("deleted", "complete", DONE),
])
def test_a_conflict_copy_over_whose_upload_the_driver_is_killed_is_made_once(
        server, content, mounts, filesystem, theirs, call, acts):
    content.write("f", OLD)
    with mounts(*WAITING) as mount:
        write(mount / "f", NEW)
        if theirs == "changed":
            content.write("f", THEIRS)
        else:
            content.remove("f")
        server.faults.add(call, faultplan.killing(mount, acts=acts), path=r"f\.conflict-.*", times=None)
        assert tetherfs("flush", mount.path).returncode == 1
        assert mount.pid is None
    with mounts(*WAITING) as mount:
        flush(mount)
        names = os.listdir(mount.path)
        kept = os.listdir(mount.cache_dir / filesystem / "recovered")
    there = without_uploads(content)
    [copy] = [name for name in there if name.startswith("f.conflict-")]
    assert there.pop(copy) == NEW and kept == []
    assert there == ({"f": THEIRS} if theirs == "changed" else {})
    assert sorted(name for name in names if not UPLOAD.fullmatch(name)) == sorted([copy, *there])
