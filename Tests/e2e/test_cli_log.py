"""The log of a mount: what is in it at which level, and how that is changed while it runs."""

import os
import re
import shutil

import pytest

import faultplan
from clikit import environment, fails, tetherfs
from mountkit import Mount, read, run, write
from servercalls import pattern
from serverkit import poll

DATA = pattern(200_000)


def log_level(mount, *level):
    """`tetherfs log-level`, which must succeed; what it printed."""
    result = tetherfs("log-level", mount.path, *level, env=environment())
    assert (result.returncode, result.stderr) == (0, ""), result
    return result.stdout


def lines(mount):
    """The log's lines as level and rest."""
    for line in mount.log.splitlines():
        match = re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (\w+) (.+)", line)
        assert match, line
        yield match[1], match[2]


def everyday_work(mount):
    """Some of all that programs do, with what they ask in vain."""
    os.mkdir(mount / "d")
    for number in range(20):
        write(mount / f"d/f{number}", DATA)
        assert read(mount / f"d/f{number}") == DATA
        assert not os.path.exists(mount / f"missing {number}")
    os.rename(mount / "d", mount / "e")
    shutil.rmtree(mount / "e")


def test_at_info_a_mount_logs_its_begin_and_its_end_and_no_operation(server, filesystem):
    with Mount(server, filesystem, "--log-level", "info") as mount:
        everyday_work(mount)
        assert mount.unmount().returncode == 0
        [(level, first), *others] = lines(mount)
        assert level == "info" and first.startswith(f"mounted filesystem={filesystem} mountpoint={mount.path} ")
        assert f" server={server.url} version=" in first
        assert others == [("info", f"ended mountpoint={mount.path}")]


def test_the_level_of_a_running_mount_is_changed_and_back(deployed):
    filesystem = deployed.create_filesystem(f"log {os.urandom(4).hex()}")
    with Mount(deployed, filesystem, "--log-level", "info", "--metadata-ttl", 0) as mount:
        assert log_level(mount) == "info\n"
        assert log_level(mount, "debug") == ""
        assert log_level(mount) == "debug\n"
        deployed.faults.add("list", faultplan.status(503, "later", X_Request_Id="ab-12"))
        assert run(["ls", mount.path]).returncode == 0
        assert "debug a call is repeated" in mount.log and "(request ab-12)" in mount.log
        assert log_level(mount, "WARNING") == ""
        deployed.faults.add("list", faultplan.status(503, "later", X_Request_Id="cd-34"))
        assert run(["ls", mount.path]).returncode == 0
        assert "cd-34" not in mount.log


@pytest.mark.parametrize("level", ["loud", "", "info,debug"])
def test_a_level_that_does_not_exist_is_refused_with_those_that_do(our_server, level):
    filesystem = our_server.create_filesystem(f"log {os.urandom(4).hex()}")
    with Mount(our_server, filesystem) as mount:
        fails(tetherfs("log-level", mount.path, level, env=environment()), "must be one of trace, debug,", status=1)
        assert log_level(mount) == "debug\n"


def test_a_place_without_a_mount_has_no_log_level(tmp_path):
    fails(tetherfs("log-level", tmp_path, env=environment()), "is not a tetherfs mount", status=1)


def test_the_key_is_in_nothing_that_tells_of_a_mount(deployed):
    filesystem = deployed.create_filesystem(f"log {os.urandom(4).hex()}")
    with Mount(deployed, filesystem, "--log-level", "trace", "--metadata-ttl", 0, "--retries", 0) as mount:
        key = deployed.api_key
        deployed.faults.add("list", faultplan.status(500, f"key {key}", X_Request_Id=f"id-{key}"), times=10)
        assert run(["ls", mount.path]).returncode != 0
        for command in (["status", mount.path], ["status", mount.path, "--json"], ["list", "--json"]):
            result = tetherfs(*command, env=environment())
            assert key not in result.stdout + result.stderr
        assert "id-" in mount.log and key not in mount.log


def test_the_log_of_a_running_mount_goes_on_in_a_new_file_when_it_is_full(server, filesystem):
    with Mount(server, filesystem, "--log-level", "info") as mount:
        [log] = (mount.cache_dir / "log").iterdir()
        earlier = log.with_name(log.name + ".1")
        earlier.write_text("of before")
        os.truncate(log, 11 << 20)
        # One line more.
        log_level(mount, "notice")
        assert earlier.stat().st_size > 11 << 20 and log.read_text() == ""
        log_level(mount, "info")
        assert log.read_text().count("\n") == 1 and b"of before" not in earlier.read_bytes()
        # Also of the process beside the driver, which has had the earlier file open.
        mount.crash()
        poll(lambda: "the driver died; its mount was taken away" in log.read_text(), what="line")
