"""Names on a mount: looking them up, listing them, making and removing them, over both servers."""

import errno
import os
import shutil
import stat
import unicodedata

from directorystream import Stream
from mountkit import Mount, check, counting, fails, read, write
from servercalls import pattern
from serverkit import poll


def test_files_and_directories_show_as_what_they_are(content, mount):
    content.write("f", pattern(1000))
    content.mkdir("d")
    file, directory = os.stat(mount / "f"), os.stat(mount / "d")
    assert (stat.filemode(file.st_mode), file.st_size, file.st_nlink) == ("-rw-r--r--", 1000, 1)
    assert stat.filemode(directory.st_mode) == "drwxr-xr-x"
    assert {(status.st_uid, status.st_gid) for status in (file, directory)} == {(os.getuid(), os.getgid())}
    kinds = {entry.name: entry.is_dir(follow_symlinks=False) for entry in os.scandir(mount.path)}
    assert kinds == {"f": False, "d": True}


def test_the_root_of_an_empty_filesystem_is_an_empty_directory(mount):
    assert os.listdir(mount.path) == []
    assert stat.S_ISDIR(os.stat(mount.path).st_mode)


def test_inode_numbers_stay_while_names_are_listed_and_stat(content, mount):
    for name in "abc":
        content.write(name, b"x")
    listed = {entry.name: entry.inode() for entry in os.scandir(mount.path)}
    assert listed == {name: os.stat(mount / name).st_ino for name in "abc"}
    assert len(set(listed.values())) == 3


def test_what_is_not_there_is_not_found(content, mount):
    content.write("f", b"x")
    for name in ("missing", "missing/deeper"):
        fails(errno.ENOENT, os.stat, mount / name)
        fails(errno.ENOENT, os.listdir, mount / name)
    fails(errno.ENOENT, os.open, mount / "missing", os.O_RDONLY)
    fails(errno.ENOTDIR, os.stat, mount / "f/below")
    fails(errno.ENOTDIR, os.listdir, mount / "f")
    fails(errno.EISDIR, os.open, mount.path, os.O_WRONLY)


# Listing.

def test_3000_names_are_listed_each_once(content, mount):
    wanted = sorted(f"name-{index}" for index in range(3000))
    for name in wanted:
        content.write("d/" + name, b"x")
    assert sorted(os.listdir(mount / "d")) == wanted
    assert sorted(check(["ls", "-f", mount / "d"]).split()) == sorted([*wanted, ".", ".."])
    assert check(["find", mount / "d", "-type", "f"]).count("\n") == 3000


def test_seekdir_goes_back_to_where_telldir_was(content, mount):
    for index in range(3000):
        content.write(f"name-{index}", b"x")
    stream = Stream(mount.path)
    first = stream.read(1500)
    position = stream.tell()
    rest = stream.read()
    assert len(set(first + rest)) == len(first + rest) == 3002
    stream.seek(position)
    assert stream.read() == rest
    stream.rewind()
    assert stream.read() == first + rest
    stream.close()


def test_names_removed_while_a_directory_is_listed_hide_no_others(content, mount):
    wanted = {f"name-{index}" for index in range(500)}
    for name in wanted:
        content.write("d/" + name, b"x")
    stream = Stream(mount / "d")
    seen = []
    while batch := stream.read(100):
        seen += batch
        for name in set(batch) - {".", ".."}:
            os.unlink(mount / "d/" + name)
    stream.close()
    assert sorted(seen) == sorted([*wanted, ".", ".."])
    os.rmdir(mount / "d")
    assert content.tree() == {}


def test_rewinddir_shows_what_came_meanwhile(content, mount):
    content.write("a", b"x")
    stream = Stream(mount.path)
    assert sorted(stream.read()) == [".", "..", "a"]
    write(mount / "b", b"x")
    stream.rewind()
    assert sorted(stream.read()) == [".", "..", "a", "b"]
    stream.close()


# Making and removing.

def test_a_directory_read_again_through_its_descriptor_shows_what_others_did(server, filesystem, content):
    content.write("d/a", b"x")
    with Mount(server, filesystem, "--metadata-ttl", 1) as mount:
        descriptor = os.open(mount / "d", os.O_RDONLY)
        assert os.listdir(descriptor) == ["a"]
        content.write("d/b", b"x")
        poll(lambda: os.listdir(descriptor) == ["a", "b"], what="the other client's name")
        os.close(descriptor)


def test_directories_made_here_are_on_the_server(content, mount):
    os.makedirs(mount / "a/b/c")
    assert content.tree() == {"a": None, "a/b": None, "a/b/c": None}
    assert os.listdir(mount / "a") == ["b"] and os.listdir(mount / "a/b/c") == []
    fails(errno.EEXIST, os.mkdir, mount / "a")
    fails(errno.ENOENT, os.mkdir, mount / "missing/d")


def test_mkdir_where_another_client_was_faster_says_that_it_exists(content, mount):
    os.listdir(mount.path)
    content.mkdir("d")
    fails(errno.EEXIST, os.mkdir, mount / "d")
    assert os.listdir(mount.path) == ["d"]


def test_rmdir_removes_only_empty_directories(server, content, mount):
    content.write("d/f", b"x")
    with counting(server) as seen:
        fails(errno.ENOTEMPTY, os.rmdir, mount / "d")
        fails(errno.ENOTDIR, os.rmdir, mount / "d/f")
        fails(errno.ENOENT, os.rmdir, mount / "missing")
    assert "delete" not in seen.calls
    assert content.tree() == {"d": None, "d/f": b"x"}
    os.unlink(mount / "d/f")
    os.rmdir(mount / "d")
    assert content.tree() == {} and os.listdir(mount.path) == []


def test_rmdir_deletes_nothing_that_another_client_put_there(server, content, mount):
    os.mkdir(mount / "d")
    assert os.listdir(mount / "d") == []
    content.write("d/theirs", b"x")
    with counting(server) as seen:
        fails(errno.ENOTEMPTY, os.rmdir, mount / "d")
    assert "delete" not in seen.calls
    assert content.tree() == {"d": None, "d/theirs": b"x"}
    assert os.listdir(mount / "d") == ["theirs"]


def test_unlink_removes_only_files(server, content, mount):
    content.write("d/f", b"x")
    with counting(server) as seen:
        fails(errno.EISDIR, os.unlink, mount / "d")
        fails(errno.ENOENT, os.unlink, mount / "missing")
    assert "delete" not in seen.calls
    os.unlink(mount / "d/f")
    fails(errno.ENOENT, os.stat, mount / "d/f")
    assert content.tree() == {"d": None}


def test_unlink_deletes_no_tree_that_took_the_files_place(server, filesystem, content):
    content.write("f", b"x")
    with Mount(server, filesystem, "--metadata-ttl", 0) as mount:
        assert read(mount / "f") == b"x"
        content.remove("f")
        content.write("f/precious", b"x")
        with counting(server) as seen:
            fails(errno.EISDIR, os.unlink, mount / "f")
    assert "delete" not in seen.calls
    assert content.tree() == {"f": None, "f/precious": b"x"}


def test_a_file_can_be_written_where_a_tree_was_just_removed(content, mount):
    content.write("d/e/f", b"x")
    shutil.rmtree(mount / "d")
    write(mount / "d", b"a file now")
    assert content.tree() == {"d": b"a file now"}
    assert read(mount / "d") == b"a file now"


def test_a_tree_can_be_made_where_a_file_was_just_removed(content, mount):
    write(mount / "d", b"a file")
    os.unlink(mount / "d")
    os.mkdir(mount / "d")
    write(mount / "d/f", b"x")
    assert content.tree() == {"d": None, "d/f": b"x"}


def test_names_and_files_of_others_appear_in_directories_made_here(server, filesystem, content):
    with Mount(server, filesystem, "--metadata-ttl", 0) as mount:
        os.mkdir(mount / "d")
        content.write("d/theirs", b"x")
        assert os.listdir(mount / "d") == ["theirs"]


# Odd names.

ODD = [
    "with space", "per%cent", "%2e%2e", "%00", "question?mark", "hash#tag", "a&b=c", "plus+", "semi;colon", "new\nline",
    "tab\t", "back\\slash", '"quoted"', "[brackets]", "-dash", "~tilde", ".hidden", "...", "a..b", "\x01",
    "\x7f", "日本語", "😀", "init=true", "trailing ", "report.ABCDEFGHIJKLMNOPQRST", "x" * 255, "é" * 127, ".fuse_hidden0001",
]


def test_odd_names_are_names_like_others(content, mount):
    os.mkdir(mount / "from")
    os.mkdir(mount / "to")
    for name in ODD:
        write(mount / "from/" + name, name.encode())
        os.rename(mount / "from/" + name, mount / "to/" + name)
        os.mkdir(mount / "from/" + name)
    directories, files = {"from/" + name: None for name in ODD}, {"to/" + name: name.encode() for name in ODD}
    assert content.tree() == {"from": None, "to": None, **directories, **files}
    for folder in ("from", "to"):
        assert sorted(os.listdir(mount / folder)) == sorted(ODD)
    for name in ODD:
        assert read(mount / "to/" + name) == name.encode()
        os.unlink(mount / "to/" + name)
        os.rmdir(mount / "from/" + name)
    assert content.tree() == {"from": None, "to": None}


def test_odd_names_on_the_server_are_shown(content, mount):
    for name in ODD:
        content.write(name, name.encode())
        content.mkdir("d/" + name)
    assert sorted(os.listdir(mount.path)) == sorted([*ODD, "d"])
    assert sorted(os.listdir(mount / "d")) == sorted(ODD)
    for name in ODD:
        assert read(mount / name) == name.encode()
        assert os.listdir(mount / "d/" + name) == []


def test_two_spellings_of_one_letter_are_two_names(content, mount):
    composed, decomposed = unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")
    write(mount / composed, b"composed")
    write(mount / decomposed, b"decomposed")
    assert content.tree() == {composed: b"composed", decomposed: b"decomposed"}
    assert sorted(os.listdir(mount.path)) == sorted([composed, decomposed])
    assert (read(mount / composed), read(mount / decomposed)) == (b"composed", b"decomposed")


def test_a_name_of_256_bytes_is_too_long(server, mount):
    with counting(server) as seen:
        for name in ("x" * 256, "é" * 128):
            fails(errno.ENAMETOOLONG, write, mount / name, b"x")
            fails(errno.ENAMETOOLONG, os.mkdir, mount / name)
            fails(errno.ENAMETOOLONG, os.stat, mount / name)
    assert set(seen.calls) <= {"list"}


def test_a_name_that_is_not_utf8_cannot_be_made_and_does_not_exist(server, content, mount):
    name = os.fsdecode(b"caf\xe9")
    write(mount / "f", b"x")
    with counting(server) as seen:
        fails(errno.ENOENT, os.stat, mount / name)
        fails(errno.EILSEQ, write, mount / name, b"x")
        fails(errno.EILSEQ, os.mkdir, mount / name)
        fails(errno.EILSEQ, os.rename, mount / "f", mount / name)
    assert seen.calls == {}
    assert content.tree() == {"f": b"x"}
