"""rename(2) on a mount, which the API does not have: files, directories, open ones, and what is refused."""

import errno
import os

import pytest

import faultplan
from mountkit import EXCHANGE, NOREPLACE, Mount, check, counting, fails, read, renameat2, write
from servercalls import pattern
from serverkit import poll


def names(mount, directory=""):
    return sorted(os.listdir(mount / directory))


# Files.

@pytest.mark.parametrize("origin", ["never read", "read", "written here"])
def test_a_file_moves_with_its_bytes(content, mount, origin):
    data = pattern(3_000_000)
    content.mkdir("d")
    if origin == "written here":
        write(mount / "f", data)
    else:
        content.write("f", data)
    if origin == "read":
        read(mount / "f")
    inode = os.stat(mount / "f").st_ino
    os.rename(mount / "f", mount / "d/g")
    assert content.tree() == {"d": None, "d/g": data}
    assert (names(mount), names(mount, "d")) == (["d"], ["g"])
    assert os.stat(mount / "d/g").st_ino == inode
    assert read(mount / "d/g") == data
    fails(errno.ENOENT, os.stat, mount / "f")


def test_an_empty_file_moves_on_our_server(our_server, request):
    filesystem = our_server.create_filesystem(request.node.name)
    content = our_server.content(filesystem)
    content.write("f", b"")
    with Mount(our_server, filesystem) as mount:
        os.rename(mount / "f", mount / "g")
        assert content.tree() == {"g": b""}


def test_a_file_takes_the_place_of_another(content, mount):
    content.write("f", b"new")
    content.write("g", b"the old one")
    os.rename(mount / "f", mount / "g")
    assert content.tree() == {"g": b"new"}
    assert names(mount) == ["g"] and read(mount / "g") == b"new"


def test_who_has_the_replaced_file_open_goes_on_with_it(content, mount):
    content.write("f", b"new")
    content.write("g", pattern(200_000))
    descriptor = os.open(mount / "g", os.O_RDWR)
    os.rename(mount / "f", mount / "g")
    os.pwrite(descriptor, b"changed", 0)
    assert os.pread(descriptor, 300_000, 0) == b"changed" + pattern(199_993, start=7)
    os.close(descriptor)
    assert content.tree() == {"g": b"new"} and read(mount / "g") == b"new"


def test_a_file_moved_onto_itself_stays(server, content, mount):
    content.write("f", b"hello")
    os.stat(mount / "f")
    with counting(server) as seen:
        os.rename(mount / "f", mount / "f")
    assert seen.calls == {}
    assert content.tree() == {"f": b"hello"}


def test_a_handle_goes_on_with_the_file_under_its_new_name(content, mount):
    content.write("f", pattern(200_000))
    descriptor = os.open(mount / "f", os.O_RDWR)
    os.pwrite(descriptor, b"before", 0)
    os.rename(mount / "f", mount / "g")
    os.pwrite(descriptor, b"after", 100_000)
    wanted = bytearray(pattern(200_000))
    wanted[:6], wanted[100_000:100_005] = b"before", b"after"
    assert os.pread(descriptor, 300_000, 0) == wanted
    os.close(descriptor)
    assert content.tree() == {"g": wanted} and read(mount / "g") == wanted


def test_a_new_file_moved_before_its_first_close_goes_to_its_new_name_only(server, content, mount):
    os.listdir(mount.path)
    descriptor = os.open(mount / "f", os.O_RDWR | os.O_CREAT)
    os.write(descriptor, b"hel")
    with counting(server) as seen:
        os.rename(mount / "f", mount / "g")
        os.write(descriptor, b"lo")
        os.close(descriptor)
    assert content.tree() == {"g": b"hello"}
    assert "delete" not in seen.calls


def test_what_editors_do_to_save_a_file_works(content, mount):
    content.write("f", b"version 1")
    for version in (b"version 2", b"version 3"):
        descriptor = os.open(mount / ".f.swp", os.O_RDWR | os.O_CREAT | os.O_EXCL)
        os.write(descriptor, version)
        os.fsync(descriptor)
        os.close(descriptor)
        os.rename(mount / "f", mount / "f~")
        os.rename(mount / ".f.swp", mount / "f")
        os.unlink(mount / "f~")
        assert content.tree() == {"f": version} and read(mount / "f") == version


def test_a_file_cannot_take_a_directorys_place_nor_the_reverse(server, content, mount):
    content.write("f", b"hello")
    content.write("d/g", b"x")
    content.mkdir("empty")
    before = content.tree()
    with counting(server) as seen:
        fails(errno.EISDIR, os.rename, mount / "f", mount / "empty")
        fails(errno.ENOTDIR, os.rename, mount / "d", mount / "f")
        fails(errno.ENOENT, os.rename, mount / "missing", mount / "g")
        fails(errno.ENOENT, os.rename, mount / "f", mount / "missing/f")
    assert not {"delete", "post", "mkdir"} & set(seen.calls)
    assert content.tree() == before


def test_noreplace_takes_no_name_that_exists(content, mount):
    content.write("f", b"hello")
    content.write("g", b"x")
    content.mkdir("d")
    for target in "gd":
        fails(errno.EEXIST, renameat2, mount / "f", mount / target, NOREPLACE)
    fails(errno.EEXIST, renameat2, mount / "d", mount / "g", NOREPLACE)
    assert content.tree() == {"f": b"hello", "g": b"x", "d": None}
    renameat2(mount / "f", mount / "h", NOREPLACE)
    assert content.tree() == {"h": b"hello", "g": b"x", "d": None}


def test_an_exchange_is_refused(server, content, mount):
    content.write("f", b"hello")
    content.write("g", b"x")
    os.listdir(mount.path)
    with counting(server) as seen:
        fails(errno.EINVAL, renameat2, mount / "f", mount / "g", EXCHANGE)
    assert not {"delete", "post", "put"} & set(seen.calls)
    assert content.tree() == {"f": b"hello", "g": b"x"}


def test_after_a_deletion_that_failed_each_name_is_its_own_file(deployed, request):
    filesystem = deployed.create_filesystem(request.node.name)
    content = deployed.content(filesystem)
    content.write("f", b"old")
    with Mount(deployed, filesystem, "--metadata-ttl", 600) as mount:
        deployed.faults.add("delete", faultplan.status(403), times=None)
        fails(errno.EACCES, os.rename, mount / "f", mount / "g")
        deployed.faults.clear()
        # The kernel hears it some moments after the program did: until then it has no g, or takes f for that.
        poll(lambda: os.path.exists(mount / "g"), what="new name")
        poll(lambda: os.stat(mount / "f").st_ino != os.stat(mount / "g").st_ino, what="another file under the old name")
        write(mount / "f", b"new!")
        assert content.tree() == {"f": b"new!", "g": b"old"}


# Directories.

TREE = {
    "d/f": pattern(70_000), "d/g": b"x", "d/empty": None, "d/sub/f": pattern(1000), "d/sub/deeper/f": b"deep",
}


def build(content, tree):
    for path, data in tree.items():
        if data is None:
            content.mkdir(path)
        else:
            content.write(path, data)


def moved(tree, source, target):
    """A tree, with the directories that its paths go through, under another name."""
    found = {}
    for path, data in tree.items():
        path = path.replace(source, target, 1)
        for index, letter in enumerate(path):
            if letter == "/":
                found[path[:index]] = None
        found[path] = data
    return found


def test_an_empty_directory_moves(content, mount):
    content.mkdir("d")
    os.rename(mount / "d", mount / "e")
    assert content.tree() == {"e": None}
    assert names(mount) == ["e"] and names(mount, "e") == []


def test_a_directory_moves_with_all_that_is_in_it(content, mount):
    build(content, TREE)
    content.mkdir("to")
    os.rename(mount / "d", mount / "to/e")
    assert content.tree() == {"to": None, **moved(TREE, "d", "to/e")}
    assert names(mount) == ["to"] and names(mount, "to/e") == ["empty", "f", "g", "sub"]
    assert read(mount / "to/e/f") == TREE["d/f"] and read(mount / "to/e/sub/deeper/f") == b"deep"
    write(mount / "to/e/sub/new", b"x")
    assert content.read("to/e/sub/new") == b"x"


def test_a_directory_moves_while_a_file_in_it_is_open_and_unsent(content, mount):
    build(content, TREE)
    old, new = os.open(mount / "d/f", os.O_RDWR), os.open(mount / "d/sub/new", os.O_RDWR | os.O_CREAT)
    os.pwrite(old, b"changed", 0)
    os.write(new, b"not sent ")
    os.rename(mount / "d", mount / "e")
    os.write(new, b"yet")
    assert os.pread(old, 10, 0) == b"changed" + pattern(3, start=7)
    for descriptor in (old, new):
        os.close(descriptor)
    wanted = {**TREE, "d/f": b"changed" + pattern(69_993, start=7), "d/sub/new": b"not sent yet"}
    assert content.tree() == moved(wanted, "d", "e")
    assert read(mount / "e/f") == wanted["d/f"] and read(mount / "e/sub/new") == b"not sent yet"
    fails(errno.ENOENT, os.stat, mount / "d")


def test_a_directory_takes_an_empty_ones_place_and_no_other(server, content, mount):
    build(content, TREE)
    content.mkdir("empty")
    content.write("full/x", b"x")
    with counting(server) as seen:
        fails(errno.ENOTEMPTY, os.rename, mount / "d", mount / "full")
    assert not {"delete", "post", "mkdir"} & set(seen.calls)
    os.rename(mount / "d", mount / "empty")
    assert content.tree() == {**moved(TREE, "d", "empty"), "full": None, "full/x": b"x"}
    assert names(mount) == ["empty", "full"]


def test_a_directory_takes_no_place_that_another_client_filled(content, mount):
    build(content, TREE)
    content.mkdir("empty")
    assert names(mount, "empty") == []
    content.write("empty/theirs", b"x")
    fails(errno.ENOTEMPTY, os.rename, mount / "d", mount / "empty")
    assert content.tree() == {**moved(TREE, "d", "d"), "empty": None, "empty/theirs": b"x"}


def test_a_directory_cannot_go_into_itself(content, mount):
    build(content, TREE)
    for target in ("d/sub/e", "d/e"):
        fails(errno.EINVAL, os.rename, mount / "d", mount / target)
    assert content.tree() == moved(TREE, "d", "d")


def test_what_is_where_the_old_directory_was_is_new(content, mount):
    build(content, TREE)
    os.rename(mount / "d", mount / "e")
    os.mkdir(mount / "d")
    write(mount / "d/f", b"another")
    assert content.tree() == {**moved(TREE, "d", "e"), "d": None, "d/f": b"another"}
    assert read(mount / "e/f") == TREE["d/f"] and read(mount / "d/f") == b"another"


def test_mv_moves_a_tree_onto_and_off_the_mount(content, mount, tmp_path):
    build(content, TREE)
    check(["mv", mount / "d", tmp_path / "d"])
    assert content.tree() == {}
    assert (tmp_path / "d/sub/deeper/f").read_bytes() == b"deep"
    check(["rm", tmp_path / "d/empty", "-r"])
    check(["mv", tmp_path / "d", mount / "back"])
    del (wanted := dict(TREE))["d/empty"]
    assert content.tree() == moved(wanted, "d", "back")
