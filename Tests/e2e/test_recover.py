"""`tetherfs recover`: what a crash or a failure left on this machine is listed, restored and discarded."""

import json
import os
import pathlib

import pytest

from clikit import at_terminal, fails, tetherfs
from mountkit import Mount, read
from servercalls import pattern
from serverkit import poll

DATA = pattern(300_000)


@pytest.fixture
def recover(cache_dir):
    """Runs `tetherfs recover ARGUMENTS…` on the test's cache directory."""
    return lambda *arguments: tetherfs("recover", *arguments, "--cache-dir", cache_dir)


@pytest.fixture
def listed(recover):
    """What the list has."""
    def listed(*arguments):
        result = recover("list", "--json", *arguments)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)
    return listed


@pytest.fixture
def killed(server, filesystem, content, cache_dir):
    """A driver that is killed while a new file is open, and one of the server's that was changed in its middle."""
    content.write("big", DATA)
    with Mount(server, filesystem, cache_dir=cache_dir) as mount:
        new = os.open(mount / "new file", os.O_WRONLY | os.O_CREAT)
        os.write(new, DATA)
        big = os.open(mount / "big", os.O_WRONLY)
        os.pwrite(big, b"changed", 100_000)
        yield mount
        for descriptor in (new, big):
            try:
                os.close(descriptor)
            except OSError:
                pass


def number(listed, path):
    [file] = [file for file in listed() if file["path"] == path]
    return file["number"]


def test_an_empty_list_says_so(recover):
    result = recover("list")
    assert result.returncode == 0 and result.stdout == "" and "nothing to recover" in result.stderr


def test_a_file_that_was_open_when_the_driver_was_killed_is_listed_and_restored(
        killed, recover, listed, filesystem, tmp_path):
    killed.kill()
    target = tmp_path / "back"
    # The same before and after the next mount has put it aside.
    for _ in range(2):
        [file] = [file for file in listed() if file["path"] == "new file"]
        assert file["state"] == "kept" and "open" in file["reason"] and file["isWhole"]
        assert file["size"] == len(DATA) and file["filesystem"] == filesystem
        result = recover("restore", file["number"], target)
        assert result.returncode == 0 and "300000 bytes" in result.stderr
        assert target.read_bytes() == DATA
        target.unlink()
        if not killed.pid:
            assert killed.mount().returncode == 0
    text = recover("list").stdout
    assert str(file["number"]) in text and "new file" in text and filesystem in text
    assert listed(filesystem) == listed() == listed(f"{killed.cache_dir}/{filesystem}")


def test_a_file_of_which_parts_are_here_is_restored_over_its_base_or_with_zeros(killed, recover, listed, tmp_path):
    def noted():
        return [file for file in listed() if file["path"] == "big" and file["bytesHere"] == 7]
    poll(noted, what="note of a change in the journal")
    [file] = noted()
    killed.kill()
    target, base = tmp_path / "back", tmp_path / "base"
    fails(recover("restore", file["number"], target), "only 7 of 300000 bytes", "--base", "--partial")
    base.write_bytes(DATA[:1000])
    fails(recover("restore", file["number"], target, "--base", base), "1000")
    assert not target.exists()
    base.write_bytes(DATA)
    assert recover("restore", file["number"], target, "--base", base).returncode == 0
    assert target.read_bytes() == DATA[:100_000] + b"changed" + DATA[100_007:]
    target.unlink()
    result = recover("restore", file["number"], target, "--partial")
    assert result.returncode == 0 and "299993 are zeros" in result.stderr
    assert target.read_bytes() == bytes(100_000) + b"changed" + bytes(199_993)


def test_what_is_discarded_is_gone_and_the_rest_stays(killed, recover, listed):
    killed.kill()
    assert killed.mount().returncode == 0
    new = number(listed, "new file")
    fails(recover("discard", new), "--yes")
    assert recover("discard", new, "--yes").returncode == 0
    assert [file["path"] for file in listed()] == ["big"]
    assert killed.unmount().returncode == 0 and killed.mount().returncode == 0
    assert [file["path"] for file in listed()] == ["big"]
    fails(recover("discard", new, "--yes"), str(new), "recover list")


def test_what_the_last_mount_left_can_be_discarded_before_the_next_one(killed, recover, listed):
    killed.kill()
    for path in ("new file", "big"):
        assert recover("discard", number(listed, path), "--yes").returncode == 0
    assert killed.mount().returncode == 0
    assert listed() == []


def test_a_file_that_a_program_is_writing_is_left_to_it(killed, recover, listed, tmp_path):
    [file] = [file for file in listed() if file["path"] == "new file"]
    assert file["state"] == "being written through the mount"
    fails(recover("restore", file["number"], tmp_path / "back"), "being written")
    fails(recover("discard", file["number"], "--yes"), "unmount")
    assert read(killed / "new file") == DATA


def test_restore_overwrites_nothing(killed, recover, listed, tmp_path):
    killed.kill()
    target = tmp_path / "mine"
    target.write_bytes(b"mine")
    fails(recover("restore", number(listed, "new file"), target), "there already")
    fails(recover("restore", number(listed, "new file"), tmp_path / "none" / "back"), "none/back")
    assert target.read_bytes() == b"mine"


def test_discard_asks_at_a_terminal(killed, recover, listed, cache_dir):
    killed.kill()
    new = number(listed, "new file")
    arguments = ("recover", "discard", new, "--cache-dir", cache_dir)
    status, screen = at_terminal(*arguments, server=killed.server, typed="no\n")
    assert status != 0 and "nothing was deleted" in screen
    assert number(listed, "new file") == new
    status, screen = at_terminal(*arguments, server=killed.server, typed="yes\n")
    assert status == 0 and "discarded" in screen
    assert [file["path"] for file in listed()] == ["big"]


def test_a_filesystem_without_a_cache_is_an_error_that_names_it(recover):
    fails(recover("list", "no-such-id"), "no-such-id")
    fails(recover("restore", 1, "x"), "there is no file 1")


# Two filesystems whose mounts began in one second: their numbers may be the same.


@pytest.fixture
def twins(cache_dir):
    """A file of the number 77 in each of two filesystems' caches, by filesystem."""
    files = {}
    for name in ("one", "two"):
        files[name] = pathlib.Path(cache_dir) / name / "recovered" / f"1-dirty-77-{name}.txt"
        files[name].parent.mkdir(parents=True)
        (pathlib.Path(cache_dir) / name / "FORMAT").write_text("tetherfs cache 1\n")
        files[name].write_bytes(name.encode())
    return files


def test_of_two_files_of_one_number_neither_is_taken_without_saying_whose(recover, twins, tmp_path):
    target = tmp_path / "back"
    fails(recover("discard", 77, "--yes"), "one", "two", "77", "--filesystem")
    fails(recover("restore", 77, target, "--partial"), "one", "two", "77", "--filesystem")
    assert all(file.exists() for file in twins.values()) and not target.exists()


def test_a_file_is_named_by_its_filesystem_and_its_number(recover, twins, tmp_path, cache_dir):
    target = tmp_path / "back"
    fails(recover("restore", 77, target, "--partial", "--filesystem", "three"), "three")
    result = recover("restore", 77, target, "--partial", "--filesystem", "two")
    assert result.returncode == 0 and target.read_bytes() == b"two"
    # Also by the cache directory, as the list takes it.
    assert recover("discard", 77, "--yes", "--filesystem", f"{cache_dir}/one").returncode == 0
    assert not twins["one"].exists() and twins["two"].exists()
    # The other one is alone now.
    assert recover("discard", 77, "--yes").returncode == 0 and not twins["two"].exists()


def test_the_list_has_the_filesystem_beside_a_number_of_several(recover, twins):
    other = twins["two"].with_name("1-dirty-78-other.txt")
    other.write_bytes(b"other")
    lines = recover("list").stdout.splitlines()
    for line in ("77 --filesystem one  one.txt", "77 --filesystem two  two.txt", "78  other.txt"):
        assert line in lines
    assert "77  one.txt" in recover("list", "one").stdout.splitlines()
