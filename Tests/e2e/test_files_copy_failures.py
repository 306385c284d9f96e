"""tetherfs cp: what is left when it fails, and how it goes on."""

import os
import signal

import pytest

import faultplan
from copykit import (  # noqa: F401 (fixtures)
    MIB, cp, done, fails_with_summary, faulty, killed_by_fsync, local_tree, make, started,
)
from mountkit import call_name, counting, small_disk, without_uploads
from servercalls import pattern
from serverkit import poll


def test_a_copy_keeps_the_permissions_of_the_file_it_replaces_and_others_follow_the_umask(cp, content, tmp_path):
    content.write("f", b"new")
    make(tmp_path, {"old": b"old"})
    os.chmod(tmp_path / "old", 0o750)
    done(cp(":/f", "old"))
    done(cp(":/f", "fresh"))
    assert (tmp_path / "old").read_bytes() == b"new"
    umask = os.umask(0)
    os.umask(umask)
    assert os.stat(tmp_path / "old").st_mode & 0o777 == 0o750
    assert os.stat(tmp_path / "fresh").st_mode & 0o777 == 0o666 & ~umask


def test_a_download_that_breaks_leaves_the_old_file_and_nothing_else(faulty, tmp_path):
    server, content, cp = faulty
    content.write("f", pattern(3 * MIB))
    content.write("g", b"fine")
    make(tmp_path, {"f": b"old"})
    server.faults.add("read", faultplan.cut(MIB), path="/?f", times=None)
    result = cp(":/f", ":/g", ".")
    assert result.returncode == 1 and "1 file copied, 1 failed" in result.stderr
    assert local_tree(tmp_path) == {"f": b"old", "g": b"fine"}


def test_an_upload_that_breaks_leaves_the_old_file(faulty, tmp_path):
    server, content, cp = faulty
    content.write("f", b"old")
    make(tmp_path, {"f": pattern(MIB), "g": b"fine"})
    server.faults.add("put", faultplan.status(500), path="/?f", times=None)
    result = cp("f", "g", ":/")
    assert result.returncode == 1 and "f: cannot reach" in result.stderr
    assert without_uploads(content) == {"f": b"old", "g": b"fine"}


def test_a_file_that_is_changed_while_it_is_uploaded_is_not_put_there(faulty, tmp_path):
    server, content, cp = faulty
    make(tmp_path, {"f": b"before"})

    def change(exchange):
        (tmp_path / "f").write_bytes(b"after!")
        exchange.answer()
    server.faults.add("put", change)
    fails_with_summary(cp("f", ":/"), "f: it was changed while it was copied")
    assert without_uploads(content) == {}
    done(cp("f", ":/"))
    assert without_uploads(content) == {"f": b"after!"}


@pytest.mark.parametrize("size", [0, 10, 20 * MIB, 20 * MIB + 5, 20 * MIB + 10])
@pytest.mark.parametrize("target", ["g", ":/g"])
def test_a_file_that_is_replaced_while_it_comes_is_not_kept(faulty, tmp_path, size, target):
    server, content, cp = faulty
    content.write("f", bytes(20 * MIB + 5))

    def replace(exchange):
        exchange.answer()
        content.write("f", pattern(size))
    server.faults.add("read", replace)
    fails_with_summary(cp(":/f", target), "/f: it was changed while it was copied")
    assert local_tree(tmp_path) == {} and without_uploads(content) == {"f": pattern(size)}


@pytest.mark.parametrize("size", [MIB, 60_000])
@pytest.mark.parametrize("target", ["g", ":/g"])
def test_a_small_file_that_is_replaced_while_it_is_taken_up_again_is_not_kept(faulty, tmp_path, size, target):
    server, content, cp = faulty
    content.write("f", bytes(size))

    def replace(exchange):
        broken(exchange)
        content.write("f", pattern(size))
    broken = faultplan.cut(size // 2)
    server.faults.add("read", replace)
    fails_with_summary(cp(":/f", target, retries=2), "/f: it was changed while it was copied")
    assert local_tree(tmp_path) == {} and without_uploads(content) == {"f": pattern(size)}


def test_a_server_that_shows_another_size_after_the_upload_is_not_believed(faulty, tmp_path):
    server, content, cp = faulty
    make(tmp_path, {"f": b"12345"})
    server.faults.add("size", faultplan.body(b'{"size": 4, "download_id": "x"}'))
    fails_with_summary(cp("f", ":/"), "has 4 bytes instead of 5")


def test_a_full_disk_ends_the_copy_and_leaves_nothing_under_the_files_name(faulty, tmp_path):
    server, content, cp = faulty
    for number in range(50):
        content.write(f"d/{number:02}", bytes(MIB))
    (tmp_path / "small").mkdir()
    with small_disk(tmp_path / "small", 4 * MIB), counting(server) as seen:
        result = cp("-r", ":/d", "small")
        left = local_tree(tmp_path / "small/d")
    assert result.returncode == 1 and "No space left on device" in result.stderr and "given up" in result.stderr
    assert all(data == bytes(MIB) and not name.startswith(".") for name, data in left.items())
    assert seen.calls["read"] < 50


def test_a_server_that_is_gone_is_not_asked_for_every_file(faulty, tmp_path):
    server, content, cp = faulty
    make(tmp_path, {f"t/{number}": b"x" for number in range(300)})
    server.faults.add("begin", faultplan.status(503), times=None)
    with counting(server) as seen:
        result = cp("-r", "t", ":/")
    assert result.returncode == 1 and "given up, as the server does not answer" in result.stderr
    assert seen.calls["post"] < 150


def test_resume_leaves_files_of_the_same_size_and_copies_the_others(cp, server, content, tmp_path):
    make(tmp_path, {"t/same": b"abc", "t/other": b"longer", "t/new": b"n"})
    content.write("t/same", b"xyz")
    content.write("t/other", b"short")
    with counting(server) as seen:
        done(cp("-r", "--resume", "t/.", ":/t"))
    assert without_uploads(content) == {"t": None, "t/same": b"xyz", "t/other": b"longer", "t/new": b"n"}
    assert seen.calls["put"] == 2
    with counting(server) as seen:
        done(cp("-r", "--resume", ":/t", "."))
        done(cp("-r", "--resume", "t/.", ":/t"))
    assert seen.calls["put"] == seen.calls["read"] == 0
    done(cp("-r", "t/.", ":/t"))
    assert content.read("t/same") == b"abc"


# What is looked at of the parts that are here, from their end.
SAMPLE = 64 << 10


def first_byte(seen):
    """The first byte that was asked for, but for samples: how much is asked for twice is up to the client."""
    ranges = [entry.content_range.split("/")[0].split("-") for entry in seen.entries if call_name(entry) == "read"]
    return min(int(start) for start, end in ranges if int(end) - int(start) > SAMPLE)


def interrupted_download(faulty, tmp_path, size, lost):
    """A download of several parts, of which one is not to be had."""
    server, content, cp = faulty
    content.write("f", pattern(size))

    def without(exchange):
        if not exchange.headers["Content-Range"].startswith(f"{lost}-"):
            return exchange.answer()
        # The others are here for certain: marked after the file's bytes.
        poll(lambda: part.read_bytes()[size:-32].count(1) == (size - 1) // (8 * MIB), 30, "other parts")
        exchange.send(500, b"no\n")
    part = tmp_path / ".g.tetherfs-part"
    rule = server.faults.add("read", without, times=None)
    fails_with_summary(cp(":/f", "g"), "/f: cannot reach")
    assert rule.hits
    server.faults.clear()
    assert [path.name for path in tmp_path.iterdir()] == [".g.tetherfs-part"]
    return server, content, cp


def test_a_download_goes_on_where_it_was_and_begins_anew_if_it_is_not_asked_to(faulty, tmp_path):
    size = 40 * MIB
    server, content, cp = interrupted_download(faulty, tmp_path, size, lost=32 * MIB)
    (tmp_path / "copy").write_bytes((tmp_path / ".g.tetherfs-part").read_bytes())
    with counting(server) as seen:
        done(cp("--resume", ":/f", "g"))
    assert local_tree(tmp_path).keys() == {"g", "copy"} and (tmp_path / "g").read_bytes() == pattern(size)
    assert first_byte(seen) == 32 * MIB
    os.remove(tmp_path / "g")
    os.rename(tmp_path / "copy", tmp_path / ".g.tetherfs-part")
    with counting(server) as seen:
        done(cp(":/f", "g"))
    assert first_byte(seen) == 0 and (tmp_path / "g").read_bytes() == pattern(size)


@pytest.mark.parametrize("change", ["content", "size"])
def test_what_is_left_of_another_version_is_not_gone_on_with(faulty, tmp_path, change):
    size = 20 * MIB
    server, content, cp = interrupted_download(faulty, tmp_path, size, lost=16 * MIB)
    new = pattern(size + (1 if change == "size" else 0), start=7)
    content.write("f", new)
    done(cp("--resume", ":/f", "g"))
    assert local_tree(tmp_path) == {"g": new}


@pytest.mark.parametrize("size", [5, 20 * MIB])
@pytest.mark.parametrize("arguments", [[], ["--resume"]])
def test_a_file_of_somebody_else_in_the_place_of_a_temporary_is_left_as_it_is(cp, content, tmp_path, arguments, size):
    content.write("f", pattern(size))
    make(tmp_path, {".f.tetherfs-part": b"precious", "f": b"old"})
    fails_with_summary(cp(*arguments, ":/f", "."), "/f: ", ".f.tetherfs-part is there, and no half of a download")
    assert local_tree(tmp_path) == {".f.tetherfs-part": b"precious", "f": b"old"}


def test_a_temporary_that_another_user_owns_is_not_written_to(cp, content, tmp_path):
    content.write("f", bytes(20 * MIB))
    make(tmp_path, {".f.tetherfs-part": b""})
    os.chown(tmp_path / ".f.tetherfs-part", 65534, 65534)
    fails_with_summary(cp(":/f", "."), ".f.tetherfs-part belongs to another user")
    assert local_tree(tmp_path) == {".f.tetherfs-part": b""}


def test_a_file_that_is_named_like_a_temporary_does_not_get_into_the_way_of_another(cp, content, tmp_path):
    content.write("d/a", pattern(20 * MIB))
    content.write("d/.a.tetherfs-part", b"precious")
    result = cp("-r", ":/d", ".")
    assert result.returncode == 1 and "1 file copied, 1 failed" in result.stderr
    assert "/d/.a.tetherfs-part: " in result.stderr and "copy it under another name" in result.stderr
    assert local_tree(tmp_path / "d") == {"a": pattern(20 * MIB)}
    done(cp(":/d/.a.tetherfs-part", "b"))
    assert (tmp_path / "b").read_bytes() == b"precious"


def test_a_temporary_that_was_replaced_meanwhile_is_neither_given_the_name_nor_removed(faulty, tmp_path):
    server, content, cp = faulty
    content.write("f", bytes(20 * MIB))

    def replace(exchange):
        os.rename(tmp_path / ".f.tetherfs-part", tmp_path / "moved")
        make(tmp_path, {".f.tetherfs-part": b"precious"})
        exchange.answer()
    server.faults.add("read", replace)
    fails_with_summary(cp(":/f", "."), ".f.tetherfs-part was replaced")
    assert (tmp_path / ".f.tetherfs-part").read_bytes() == b"precious" and not (tmp_path / "f").exists()


@pytest.mark.parametrize("size", [5, 20 * MIB])
def test_nobody_else_can_read_a_file_that_is_on_its_way(faulty, tmp_path, size):
    server, content, cp = faulty
    content.write("f", pattern(size))
    make(tmp_path, {"f": b"old"})
    os.chmod(tmp_path / "f", 0o640)
    modes = []

    def look(exchange):
        modes.extend(path.stat().st_mode & 0o777 for path in tmp_path.glob(".f.*"))
        exchange.answer()
    server.faults.add("read", look, times=None)
    done(cp(":/f", "."))
    assert modes and set(modes) == {0o600} and os.stat(tmp_path / "f").st_mode & 0o777 == 0o640


def test_a_copy_that_is_killed_goes_on_from_the_parts_that_it_had(faulty, deployed, tmp_path):
    server, content, cp = faulty
    size = 48 * MIB
    content.write("f", pattern(size))
    held = faultplan.Held(lambda exchange: exchange.headers["Content-Range"].startswith(f"{40 * MIB}-"))
    server.faults.add("read", held, times=None)
    process = started(server, "faulty", tmp_path, ":/f", "g")
    try:
        part = tmp_path / ".g.tetherfs-part"
        # Five of six parts, and each of them marked.
        poll(lambda: part.exists() and part.read_bytes()[size:-32] == b"\1\1\1\1\1\0", 30, "five parts")
    finally:
        process.kill()
        process.communicate(timeout=30)
    server.faults.clear()
    assert not (tmp_path / "g").exists()
    with counting(server) as seen:
        done(cp("--resume", ":/f", "g"))
    assert (tmp_path / "g").read_bytes() == pattern(size)
    assert first_byte(seen) == 40 * MIB


@pytest.mark.parametrize("arguments", [[], ["--resume"]])
def test_what_a_killed_copy_of_a_small_file_leaves_is_used_by_the_next(faulty, tmp_path, arguments):
    server, content, cp = faulty
    content.write("f", pattern(MIB))
    server.faults.add("read", faultplan.within_answer("stall"), times=None)
    process = started(server, "faulty", tmp_path, ":/f", "g")
    try:
        poll(lambda: any(path.stat().st_size for path in tmp_path.glob(".g.*")), 30, "beginning of the file")
    finally:
        process.kill()
        process.communicate(timeout=30)
    server.faults.clear()
    done(cp(*arguments, ":/f", "g"))
    assert local_tree(tmp_path) == {"g": pattern(MIB)}


def test_ctrl_c_ends_the_copy_and_says_what_was_done(faulty, tmp_path):
    server, content, cp = faulty
    make(tmp_path, {f"t/{number}": b"x" for number in range(5)})
    held = faultplan.Held(lambda exchange: exchange.path.endswith("3"))
    server.faults.add("put", held, times=None)
    process = started(server, "faulty", tmp_path, "-r", "t", ":/")
    try:
        poll(lambda: held.count and len(set("01234") & set(content.names("t"))) == 4, 30, "four files")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, out) == (130, "")
    assert err.startswith("tetherfs: stopped: ") and "--resume goes on" in err and err.count("\n") == 1
    assert "t/3" not in without_uploads(content)
    server.faults.clear()
    done(cp("-r", "--resume", "t/.", ":/t"))
    assert content.read("t/3") == b"x"


def test_two_copies_to_one_file_do_not_mix(faulty, tmp_path):
    server, content, cp = faulty
    content.write("f", pattern(20 * MIB))
    held = faultplan.Held()
    server.faults.add("read", held, times=1)
    process = started(server, "faulty", tmp_path, ":/f", "g")
    try:
        poll(lambda: held.count, 30, "first copy")
        fails_with_summary(cp(":/f", "g"), "another copy writes it now")
        server.faults.clear()
        assert process.communicate(timeout=30) == ("", "")
    finally:
        process.kill()
    assert local_tree(tmp_path) == {"g": pattern(20 * MIB)}


@pytest.mark.parametrize("arguments", [[], ["--resume"]])
def test_what_a_copy_that_is_killed_as_it_syncs_the_file_leaves_is_used_by_the_next(cp, content, tmp_path, arguments):
    content.write("f", pattern(MIB))
    assert cp(":/f", "g", preexec_fn=killed_by_fsync).returncode == -signal.SIGSYS
    assert [path.name for path in tmp_path.iterdir()] == [".g.tetherfs-part"]
    done(cp(*arguments, ":/f", "g"))
    assert local_tree(tmp_path) == {"g": pattern(MIB)} and os.stat(tmp_path / "g").st_mode & 0o7000 == 0
