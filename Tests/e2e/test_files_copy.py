"""tetherfs cp: what goes where, what it asks for, and what it does not copy."""

import contextlib
import os
import pathlib

import pytest

import faultplan
from clikit import at_terminal, environment, fails, tetherfs
from copykit import (  # noqa: F401 (cp and faulty are fixtures)
    MIB, cp, done, fails_with_summary, faulty, local_tree, make, started
)
from mountkit import counting, without_uploads
from servercalls import pattern

TREE = {"a": b"1", "b c": b"", "d": None, "d/e": None, "d/e/ä\n": pattern(70_000), "d/f": b"22", "empty": None}


# What goes where.

def test_a_file_goes_up_and_comes_down_in_few_requests(cp, server, content, tmp_path):
    make(tmp_path, {"f": pattern(100_000)})
    with counting(server) as seen:
        done(cp("f", ":/g"))
    assert without_uploads(content) == {"g": pattern(100_000)}
    # The listing says what is there; the size, that all of it is.
    assert seen.calls == {"filesystems": 1, "list": 1, "post": 2, "put": 1, "size": 1}
    with counting(server) as seen:
        done(cp(":/g", "h"))
    assert (tmp_path / "h").read_bytes() == pattern(100_000)
    assert seen.calls == {"filesystems": 1, "list": 1, "size": 1, "read": 1}


def test_what_goes_to_a_directory_goes_into_it(cp, content, tmp_path):
    make(tmp_path, {"x": b"x", "y": b"y", "in": None})
    content.mkdir("d")
    done(cp("x", "y", ":/d"))
    done(cp("x", ":/"))
    done(cp("x", ":/d/z"))
    assert without_uploads(content) == {"d": None, "d/x": b"x", "d/y": b"y", "d/z": b"x", "x": b"x"}
    done(cp(":/d/z", ":/x", "in/"))
    assert local_tree(tmp_path / "in") == {"z": b"x", "x": b"x"}


@pytest.mark.parametrize("source, target, place", [
    ("tree", "new", "new"), ("tree", "there", "there/tree"), ("tree/.", "there", "there"), ("tree/", "new", "new"),
])
def test_a_directory_becomes_a_new_one_or_goes_into_one_and_its_content_alone_with_a_dot(
    cp, content, tmp_path, source, target, place
):
    make(tmp_path, {"tree/" + name: data for name, data in TREE.items()})
    content.write("there/other", b"o")
    done(cp("-r", source, f":/{target}"))
    found = without_uploads(content)
    assert {name.removeprefix(place + "/"): data for name, data in found.items() if name.startswith(place + "/")} == (
        TREE | ({"other": b"o"} if place == "there" else {})
    )
    make(tmp_path / "down", {"there/other": b"o"})
    done(cp("-r", f":/{place}" + ("/." if source.endswith(".") else ""), "down/" + target))
    expected = "there/" + place.split("/")[-1] if target == "there" and source != "tree/." else target
    got = local_tree(tmp_path / "down" / expected)
    got.pop("other", None)
    assert {name: data for name, data in got.items() if name != "tree" and not name.startswith("tree/")} == TREE


def test_the_whole_filesystem_is_copied_by_its_root(cp, content, tmp_path):
    for name, data in TREE.items():
        content.mkdir(name) if data is None and not content.exists(name) else data is None or content.write(name, data)
    done(cp("-r", ":/", "all"))
    assert local_tree(tmp_path / "all") == without_uploads(content)


def test_a_copy_within_the_service_passes_through_here(cp, server, content):
    content.write("d/f", pattern(20 * MIB))
    content.write("d/g", b"")
    done(cp("-r", ":/d", ":/e"))
    assert content.read("e/f") == pattern(20 * MIB) and content.read("e/g") == b""
    fails(cp("-r", ":/d", ":/d/sub"), "or in it", status=1)
    fails(cp(":/d/f", ":/d/f"), "or in it", status=1)
    other = server.create_filesystem("other-" + str(os.getpid()) + server.url[-5:-3])
    done(cp(":/d/f", f"{other}:/"))
    assert server.content(other).read("f") == pattern(20 * MIB)


def test_a_copy_between_local_files_needs_no_key_to_be_refused():
    fails(tetherfs("cp", "a", "b", env=environment()), "both a and b are local: use cp(1)")


@pytest.mark.parametrize("arguments, words", [
    (["f", "g"], ["both f and g are local", "cp(1)"]),
    (["f"], ["needs a source and a target"]),
    (["f", "d", ":/missing"], ["is no directory"]),
    (["f", "d/f", ":/"], ["would both become"]),
    (["f", ":/missing/f"], ["make it with: tetherfs mkdir -p"]),
    (["f", ":/missing/"], ["no such directory"]),
    ([":/old", "no/where"], ["make it with: mkdir -p no"]),
    (["f", ":/../x"], ["'..'"]),
])
def test_what_cannot_be_is_refused_in_one_line_before_anything_is_copied(cp, content, tmp_path, arguments, words):
    make(tmp_path, {"f": b"1", "d/f": b"2"})
    content.write("old", b"old")
    before = local_tree(tmp_path)
    fails(cp(*arguments), *words)
    assert without_uploads(content) == {"old": b"old"} and local_tree(tmp_path) == before


def test_a_filesystem_is_not_copied_into_itself_by_its_id_and_its_name(server, tmp_path):
    identifier = server.create_filesystem("itself")
    content = server.content(identifier)
    content.write("a/f", b"f")
    result = tetherfs("cp", "-r", "itself:/a", f"{identifier}:/a/b", server=server, cwd=tmp_path, timeout=60)
    fails(result, "or in it", status=1)
    assert without_uploads(content) == {"a": None, "a/f": b"f"}


def test_a_link_to_a_directory_is_a_target_like_the_directory(cp, content, tmp_path):
    content.write("t/f", b"f")
    make(tmp_path, {"real": None})
    os.symlink("real", tmp_path / "link")
    done(cp("-r", ":/t/.", "link"))
    done(cp("-r", ":/t", "link"))
    assert local_tree(tmp_path / "real") == {"f": b"f", "t": None, "t/f": b"f"}
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("options", [[], ["--resume"]])
def test_of_several_contents_that_have_a_file_of_one_name_none_is_lost(cp, content, tmp_path, options):
    make(tmp_path, {"s1/d/f": b"1", "s2/d/f": b"2", "s2/d/g": b"3"})
    result = cp("-r", *options, "s1/.", "s2/.", ":/")
    assert result.returncode == 1 and "2 files copied, 1 failed" in result.stderr
    assert "d/f: " in result.stderr and "was copied there just now" in result.stderr
    assert without_uploads(content) == {"d": None, "d/f": b"1", "d/g": b"3"}


def test_a_name_that_begins_with_a_combining_mark_is_a_name(cp, content, tmp_path):
    mark, letter = "\u0301a", "\u0d4e"  # One joins what stands before it, one what stands after.
    content.write(f"{mark}/{mark}", b"1")
    content.write(f"{letter}/{letter}", b"2")
    tree = {mark: None, f"{mark}/{mark}": b"1", letter: None, f"{letter}/{letter}": b"2"}
    done(cp("-r", ":/", "down"))
    assert local_tree(tmp_path / "down") == tree
    done(cp("-r", f"down/{letter}/.", ":/new"))
    done(cp(f"down/{mark}/{mark}", f":/{letter}/{letter}", f":/{mark}/"))
    assert content.read(f"new/{letter}") == b"2"
    assert content.read(f"{mark}/{letter}") == b"2"
    done(cp(f":/{letter}/{letter}", f"down/{letter}/{mark}"))
    done(cp(f":/{letter}/{letter}", f"down/{mark}/"))
    for place in (f"{letter}/{mark}", f"{mark}/{letter}"):
        assert (tmp_path / "down" / place).read_bytes() == b"2"


# What cannot be copied.

def test_a_file_whose_size_is_not_known_beforehand_is_refused(cp, content):
    fails_with_summary(cp("/proc/self/status", ":/"), "/proc/self/status: its size is not known beforehand")
    assert without_uploads(content) == {}


def test_links_pipes_and_odd_names_are_told_and_left_out_and_the_rest_is_copied(cp, content, tmp_path):
    make(tmp_path, {"t/a": b"a", "t/z/b": b"b"})
    os.symlink("a", tmp_path / "t/link")
    os.symlink("z", tmp_path / "t/loop")
    os.mkfifo(tmp_path / "t/pipe")
    (pathlib.Path(os.fsdecode(os.fsencode(tmp_path) + b"/t/bad\xff"))).write_bytes(b"x")
    result = cp("-r", "t", ":/")
    assert (result.returncode, result.stdout) == (1, "")
    lines = result.stderr.splitlines()
    assert len(lines) == 5 and lines[-1] == "tetherfs: 2 files copied, 4 failed"
    for word in ("t/link: it is a symbolic link", "t/loop: it is a symbolic link", "t/pipe: it is a pipe", "not UTF-8"):
        assert any(word in line for line in lines), result.stderr
    assert without_uploads(content) == {"t": None, "t/a": b"a", "t/z": None, "t/z/b": b"b"}


def test_a_directory_needs_r_and_what_is_missing_does_not_stop_the_others(cp, content, tmp_path):
    make(tmp_path, {"d/f": b"f", "a": b"a", "b": b"b"})
    result = cp("a", "d", "missing", "b", ":/")
    assert result.returncode == 1 and without_uploads(content) == {"a": b"a", "b": b"b"}
    assert "d: it is a directory; -r" in result.stderr and "missing: no such file or directory" in result.stderr
    result = cp(":/a", ":/nothing", ":/b", "d")
    assert result.returncode == 1 and local_tree(tmp_path / "d") == {"f": b"f", "a": b"a", "b": b"b"}


def test_a_file_is_not_copied_over_a_directory_nor_a_directory_over_a_file(cp, content, tmp_path):
    make(tmp_path, {"t/x/f": b"1", "t/y": b"2", "t/z": b"3"})
    content.write("t/x", b"file")
    content.write("t/y/f", b"in a directory")
    result = cp("-r", "t", ":/")
    assert result.returncode == 1 and "1 file copied, 2 failed" in result.stderr
    assert "is there and no directory" in result.stderr and "/t/y is a directory" in result.stderr
    assert without_uploads(content) == {
        "t": None, "t/x": b"file", "t/y": None, "t/y/f": b"in a directory", "t/z": b"3"
    }
    result = cp("-r", ":/t", ".")
    assert result.returncode == 1 and local_tree(tmp_path / "t") == {
        "x": None, "x/f": b"1", "y": b"2", "z": b"3"
    }


def test_nothing_is_written_through_a_link_in_the_target(cp, content, tmp_path):
    make(tmp_path, {"outside/keep": b"k", "down/t": None})
    os.symlink("../../outside", tmp_path / "down/t/d")
    os.symlink("../../outside/keep", tmp_path / "down/t/f")
    content.write("t/d/x", b"x")
    content.write("t/f", b"new")
    result = cp("-r", ":/t", "down")
    assert result.returncode == 1 and "t/d is there and no directory" in result.stderr
    assert local_tree(tmp_path / "outside") == {"keep": b"k"}
    assert (tmp_path / "down/t/f").read_bytes() == b"new" and not (tmp_path / "down/t/f").is_symlink()


# How it goes.

def test_files_and_parts_are_on_their_way_at_once(faulty, tmp_path):
    server, content, cp = faulty
    content.write("large", pattern(64 * MIB))
    for number in range(64):
        content.write(f"small/{number}", b"x")
    server.faults.add("read", faultplan.until_under_way(server.gauge, "read", 8), path=".*large", times=None)
    done(cp(":/large", "large"))
    assert server.gauge.most["read"] == 8
    server.gauge.most.clear()
    server.faults.clear()
    server.faults.add("size", faultplan.until_under_way(server.gauge, "size", 30), path=".*small.*", times=30)
    done(cp("-r", ":/small", "small"))
    assert 30 <= server.gauge.most["size"] <= 32
    server.faults.clear()
    server.faults.add("begin", faultplan.until_under_way(server.gauge, "begin", 30), times=30)
    done(cp("-r", "small", ":/up"))
    assert 30 <= server.gauge.most["begin"] <= 32


def test_memory_stays_small_however_large_a_file_is(our_server, tmp_path):
    filesystem = our_server.create_filesystem("memory")
    with open(tmp_path / "f", "wb") as file:
        for _ in range(16):
            file.write(pattern(32 * MIB))
    place = f"{filesystem}:/f"
    for arguments in (["f", place], [place, f"{filesystem}:/g"], [f"{filesystem}:/g", "g"]):
        process = started(our_server, filesystem, tmp_path, *arguments)
        most = 0
        while process.poll() is None:
            with contextlib.suppress(OSError, StopIteration):
                lines = pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines()
                most = int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
        assert (process.returncode, *process.communicate()) == (0, "", "")
        assert 0 < most < 160 << 10, arguments
    assert (tmp_path / "f").read_bytes() == (tmp_path / "g").read_bytes()


def test_a_terminal_shows_how_far_it_is_and_what_became_of_it(faulty, tmp_path):
    server, content, cp = faulty
    content.write("f", pattern(24 * MIB))
    server.faults.add("read", faultplan.late(1), times=None)
    status, screen = at_terminal("cp", "faulty:/f", tmp_path / "f", server=server, typed="")
    assert status == 0
    lines = [line.replace("\x1b[K", "") for line in screen.replace("\r\n", "\r").split("\r")]
    assert any("0/1 files" in line and "/24M " in line for line in lines), lines
    assert max(map(len, lines)) < 80
    assert lines[-2].startswith("tetherfs: 1 file copied: 24M in 0:0"), lines
