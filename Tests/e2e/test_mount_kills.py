"""Drivers killed at moments that killing at random rarely meets: nothing is lost, and nothing is there twice."""

import os
import subprocess

import pytest

import faultplan
from mountkit import Mount, environment, read, tetherfs, without_uploads, write
from servercalls import pattern
from serverkit import binary

NEW = pattern(120_000, start=9)
# Every name is a temporary one, so that files wait until somebody waits for them.
WAITING = ["--writes", "write-back", "--temporary-names", "*", "--temporary-delay", 600]


@pytest.fixture
def server(deployed):
    """Only this server fails as it is told to, and shows all that is left of uploads."""
    return deployed


@pytest.fixture
def mounts(server, filesystem, cache_dir):
    """Makes mounts one after another, all with one cache directory."""
    return lambda *options: Mount(server, filesystem, *options, cache_dir=cache_dir)


def flush(mount):
    result = tetherfs("flush", mount.path)
    assert result.returncode == 0, result.stderr


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
