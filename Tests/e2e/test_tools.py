"""What people run on a mount: cp, mv, rm, rsync, tar, sed, find and others, against both servers.

Sources have no empty files, which the deployed service refuses: two tests say what happens with those.
"""

import os
import re

import pytest

from deployedserver import DeployedServer
from mountkit import Mount, check, counting, python, run
from servercalls import pattern
from sources import LONG_AGO, described, tree


@pytest.fixture
def source(tmp_path):
    """A folder of many kinds of files."""
    return tree(tmp_path / "source")


@pytest.fixture
def remounted(server, filesystem):
    """Mounts the same filesystem another time, with nothing known of it."""
    return lambda: Mount(server, filesystem)


def same(folder, copy, **options):
    assert described(copy, **options) == described(folder, **options)


# cp, ls.


def test_cp_copies_a_file_in_out_and_onto_another(mount, source, tmp_path):
    check(["cp", source / "size-1048577", mount / "f"])
    check(["cp", mount / "f", tmp_path / "back"])
    assert (tmp_path / "back").read_bytes() == (source / "size-1048577").read_bytes()
    check(["cp", source / "size-17", mount / "f"])
    check(["cp", mount / "f", mount / "g"])
    assert check(["cat", mount / "g"]) == (source / "size-17").read_text()


def test_cp_a_of_a_folder_keeps_contents_modes_and_times(mount, remounted, source, content):
    check(["cp", "-a", source, mount / "copy"])
    same(source, mount / "copy", modes=True, times=True)
    assert os.stat(mount / "copy").st_mtime == LONG_AGO
    check(["diff", "-r", source, mount / "copy"])
    mount.unmount()
    with remounted() as again:
        same(source, again / "copy")
    assert content.read("copy/b/c/d/file.ö") == (source / "b/c/d/file.ö").read_bytes()


def test_cp_a_of_a_folder_with_links_copies_all_else_and_says_what_it_could_not(mount, source):
    os.symlink("size-17", source / "symbolic")
    os.link(source / "size-17", source / "a" / "hard")
    result = run(["cp", "-a", source, mount / "copy"], env={**os.environ, "LC_ALL": "C"})
    assert result.returncode == 1
    # cp keeps two names of one file as such, where it can: the second of them is missing as well.
    symbolic, hard = sorted(result.stderr.splitlines(), key=lambda line: "hard link" in line)
    assert symbolic == f"cp: cannot create symbolic link '{mount.path}/copy/symbolic': Operation not permitted"
    assert re.fullmatch("cp: cannot create hard link '.*' to '.*': Operation not permitted", hard)
    copied, expected = described(mount / "copy"), described(source)
    (missing,) = set(expected) - set(copied) - {"symbolic"}
    assert missing in ("a/hard", "size-17")
    assert copied == {name: entry for name, entry in expected.items() if name not in (missing, "symbolic")}


def test_ls_l_shows_sizes_modes_owners_and_names(mount, source):
    check(["cp", "-a", source / "a", source / "size-4097", mount.path])
    lines = check(["ls", "-ln", mount.path]).splitlines()[1:]
    fields = {line.split()[-1]: line.split() for line in lines}
    assert sorted(fields) == ["a", "size-4097"]
    assert fields["a"][0] == "drwxr-xr-x" and fields["size-4097"][0] == "-rw-r--r--"
    assert fields["size-4097"][2:5] == [str(os.getuid()), str(os.getgid()), "4097"]
    lines = check(["ls", "-ln", mount / "a"]).splitlines()[1:]
    modes = {line.split(maxsplit=8)[8]: line.split()[0] for line in lines}
    assert modes == {
        "file.txt": "-rw-------", "file.x y": "-rw-r--r--", "file.ö": "-rw-r--r--", "script": "-rwxr-xr-x",
    }


# mv, rm.


def test_mv_of_a_file_to_another_name_directory_and_onto_a_file(mount, source, content):
    data = (source / "size-131073").read_bytes()
    check(["cp", source / "size-131073", source / "size-17", mount.path])
    os.mkdir(mount / "d")
    check(["mv", mount / "size-131073", mount / "renamed"])
    check(["mv", mount / "renamed", mount / "d"])
    check(["mv", mount / "d/renamed", mount / "size-17"])
    assert described(mount.path) == {"d": ["directory"], "size-17": [data]}
    assert content.tree() == {"d": None, "size-17": data}


def test_mv_n_onto_a_file_leaves_both(mount, source):
    check(["cp", source / "size-1", source / "size-17", mount.path])
    run(["mv", "-n", mount / "size-1", mount / "size-17"])
    assert sorted(os.listdir(mount.path)) == ["size-1", "size-17"]
    assert os.stat(mount / "size-17").st_size == 17


def test_mv_of_a_directory_takes_everything_along(mount, source, content):
    check(["cp", "-a", source, mount / "old"])
    os.mkdir(mount / "into")
    check(["mv", mount / "old", mount / "new"])
    check(["mv", mount / "new", mount / "into"])
    assert os.listdir(mount.path) == ["into"]
    same(source, mount / "into/new")
    assert content.names() == ["into"]
    assert content.read("into/new/b/c/d/file.txt") == (source / "b/c/d/file.txt").read_bytes()


def test_mv_between_the_mount_and_another_filesystem(mount, source, tmp_path):
    expected = described(source, modes=True, times=True)
    check(["mv", source, mount / "moved"])
    assert not source.exists()
    assert described(mount / "moved", modes=True, times=True) == expected
    check(["mv", mount / "moved", tmp_path / "back"])
    assert described(tmp_path / "back", modes=True, times=True) == expected
    assert os.listdir(mount.path) == []


def test_rm_rf_of_a_tree_leaves_nothing_of_it_and_all_else(mount, source, content):
    check(["cp", "-a", source, mount / "tree"])
    check(["cp", "-a", source / "a", mount / "kept"])
    check(["rm", "-rf", mount / "tree"])
    assert os.listdir(mount.path) == ["kept"]
    assert content.names() == ["kept"]
    same(source / "a", mount / "kept")
    check(["cp", "-a", source, mount / "tree"])
    same(source, mount / "tree")


# rsync, tar, copytree.


def test_rsync_a_a_second_time_transfers_nothing(server, mount, source):
    rsync = ["rsync", "-a", "--itemize-changes", f"{source}/", mount / "copy/"]
    assert check(rsync).count(">f") == 25
    same(source, mount / "copy", modes=True, times=True)
    with counting(server) as seen:
        assert check(rsync) == ""
    assert seen.calls["put"] == seen.calls["post"] == seen.calls["read"] == 0
    (source / "a" / "file.txt").write_text("changed\n")
    assert [line.split()[1] for line in check(rsync).splitlines() if line.startswith(">f")] == ["a/file.txt"]
    same(source, mount / "copy", modes=True, times=True)


def test_rsync_with_delete_and_checksums_back_to_a_folder(mount, source, tmp_path):
    check(["rsync", "-a", f"{source}/", mount / "copy/"])
    check(["rsync", "-a", mount / "copy/", tmp_path / "back/"])
    same(source, tmp_path / "back", modes=True, times=True)
    os.unlink(source / "size-17")
    check(["rsync", "-ac", "--delete", "--inplace", f"{source}/", mount / "copy/"])
    same(source, mount / "copy")
    assert check(["rsync", "-acn", "--itemize-changes", f"{source}/", mount / "copy/"]) == ""


def test_tar_onto_the_mount_and_from_it(mount, source, tmp_path):
    check(["tar", "-C", source, "-cf", mount / "out.tar", "."])
    os.mkdir(mount / "x")
    check(["tar", "-C", mount / "x", "-xpf", mount / "out.tar"])
    same(source, mount / "x", modes=True, times=True)
    assert check(["tar", "-C", mount / "x", "--compare", "-f", mount / "out.tar"]) == ""
    check(["tar", "-C", mount / "x", "-czf", tmp_path / "in.tar.gz", "."])
    os.mkdir(tmp_path / "x")
    check(["tar", "-C", tmp_path / "x", "-xpf", tmp_path / "in.tar.gz"])
    same(source, tmp_path / "x", modes=True, times=True)


def test_python_copytree_and_filecmp(mount, source):
    code = """
import filecmp, shutil
shutil.copytree(sys.argv[1], sys.argv[2])
def differing(pair):
    # Not shallow: by the bytes, not by size and time.
    match, differ, failed = filecmp.cmpfiles(pair.left, pair.right, pair.common_files, shallow=False)
    return pair.left_only + pair.right_only + differ + failed + sum(map(differing, pair.subdirs.values()), [])
print(differing(filecmp.dircmp(sys.argv[1], sys.argv[2])))
shutil.rmtree(sys.argv[2])
print(os.listdir(os.path.dirname(sys.argv[2])))
"""
    assert python(code, source, mount / "copy") == "[]\n[]\n"


# Editing in place.


def test_dd_into_the_middle_of_a_file_changes_just_that(mount, remounted, content):
    data = bytearray(pattern(3_000_000))
    content.write("f", data)
    check(["dd", "if=/dev/zero", f"of={mount / 'f'}", "bs=1000", "seek=1500", "count=7", "conv=notrunc"])
    data[1_500_000:1_507_000] = bytes(7000)
    assert content.read("f") == data
    check(["dd", "if=/dev/zero", f"of={mount / 'f'}", "bs=1000", "seek=1500", "count=7"])
    assert content.read("f") == data[:1_507_000]


def test_sed_i_replaces_a_file_and_leaves_no_other(mount, content):
    content.write("d/f", b"one two\n" * 1000)
    check(["sed", "-i", "s/two/three/", mount / "d/f"])
    assert content.tree() == {"d": None, "d/f": b"one three\n" * 1000}
    check(["sed", "-i.old", "s/one/two/", mount / "d/f"])
    assert content.tree() == {"d": None, "d/f": b"two three\n" * 1000, "d/f.old": b"one three\n" * 1000}


def test_an_editor_that_writes_a_new_file_and_renames_it_onto_the_old_one(mount, remounted, content):
    content.write("f", b"old\n")
    python("""
for generation in range(5):
    path = sys.argv[1]
    with open(path + ".new~", "x") as file:
        file.write(open(path).read() + f"line {generation}\\n")
        file.flush()
        os.fsync(file.fileno())
    os.rename(path, path + "~")
    os.rename(path + ".new~", path)
    directory = os.open(os.path.dirname(path), os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)
""", mount / "f")
    lines = b"old\n" + b"".join(b"line %d\n" % generation for generation in range(5))
    assert content.tree() == {"f": lines, "f~": lines[:-7]}
    mount.unmount()
    with remounted() as again:
        assert check(["cat", again / "f"]) == lines.decode()


def test_append_by_a_shell(mount, content):
    content.write("log", b"0\n")
    check(["sh", "-c", 'for i in 1 2 3; do echo $i >> "$0"; done; (echo 4; echo 5) | tee -a "$0"', mount / "log"])
    assert content.read("log") == b"".join(b"%d\n" % number for number in range(6))


def test_a_redirect_of_a_shell_uploads_once_and_never_an_empty_file(server, mount, content):
    """A shell opens the file, makes a second descriptor of it and closes the first before anything is written."""
    content.write("old", b"old content\n")
    os.listdir(mount.path)
    for name in ("old", "new"):
        with counting(server) as seen:
            check(["sh", "-c", 'echo new content > "$0"', mount / name])
        assert content.read(name) == b"new content\n"
        assert (seen.calls["post"], seen.calls["put"]) == (2, 1)


# Looking.


def test_checksums_of_a_tree_are_the_same_after_another_mount(mount, remounted, source):
    check(["cp", "-a", f"{source}/.", mount.path])
    sums = 'cd "$0" && find . -type f -print0 | sort -z | xargs -0 sha256sum'
    expected = check(["sh", "-c", sums, source])
    assert expected.count("\n") == 25
    assert check(["sh", "-c", sums, mount.path]) == expected
    mount.unmount()
    with remounted() as again:
        assert check(["sh", "-c", sums, again.path]) == expected


def test_find_and_grep_r(mount, source):
    check(["cp", "-a", f"{source}/.", mount.path])
    for command in (["find", ".", "-type", "d"], ["find", ".", "-size", "+60k"], ["find", ".", "-perm", "-100"],
                    ["grep", "-r", "needle 3", "."], ["grep", "-rl", "needle", "."]):
        results = [check(["env", "-C", place, *command]) for place in (source, mount.path)]
        assert sorted(results[0].splitlines()) == sorted(results[1].splitlines())
        assert results[0] != ""


def test_df_and_du(mount, source, filesystem):
    check(["cp", source / "size-1048576", mount.path])
    device, blocks, used, available, percent, point = check(["df", "-P", mount.path]).splitlines()[1].split()
    assert (device, point) == (filesystem, mount.path)
    # Programs look here before they write: there must be room, and none must be wasted on asking.
    assert int(blocks) > 1 << 30 and int(available) > 1 << 30
    assert check(["stat", "-f", "-c", "%l", mount.path]) == "255\n"
    assert int(check(["du", "-s", "--apparent-size", "-B1", mount / "size-1048576"]).split()[0]) == 1 << 20
    assert int(check(["du", "-s", "-B1", mount / "size-1048576"]).split()[0]) == 1 << 20


def test_head_c_of_a_large_file_does_not_download_it(server, mount, content):
    content.write("large", pattern(32 << 20))
    with counting(server) as seen:
        assert run(["head", "-c", "1000", mount / "large"], text=False).stdout == pattern(1000)
    assert seen.bytes("read") < 4 << 20
    assert run(["tail", "-c", "1000", mount / "large"], text=False).stdout == pattern(32 << 20)[-1000:]


def test_touch_changes_the_time_and_not_the_content(mount, content):
    content.write("f", b"data")
    check(["touch", "-d", "2001-02-03 04:05:06 UTC", mount / "f"])
    assert check(["stat", "-c", "%Y %s", mount / "f"]) == "981173106 4\n"
    check(["touch", "-r", mount / "f", mount.path])
    assert check(["stat", "-c", "%Y", mount.path]) == "981173106\n"
    check(["touch", mount / "f"])
    assert int(check(["stat", "-c", "%Y", mount / "f"])) > 1_700_000_000
    assert content.read("f") == b"data"


def test_an_installed_program_can_be_executed(mount, source):
    check(["install", "-m", "755", source / "a/script", mount / "script"])
    assert check(["sh", "-c", '"$0" one', mount / "script"]) == "ran with one\n"
    check(["install", "-m", "644", source / "a/script", mount / "other"])
    assert run(["sh", "-c", '"$0" one', mount / "other"]).returncode == 126
    check(["chmod", "+x", mount / "other"])
    assert check(["sh", "-c", '"$0" two', mount / "other"]) == "ran with two\n"
    check(["cp", "/bin/true", mount / "true"])
    check(["sh", "-c", '"$0"', mount / "true"])


# Empty files.


def test_empty_files_can_be_made_and_are_found_again(server, filesystem, mount, content, remounted):
    """Also on the server that answers 500 to them: its refusal leaves something that can be completed."""
    names = ["copied", "made empty", "redirected", "touched", "truncated"]
    content.write("made empty", b"data")
    check(["cp", "/dev/null", mount / "copied"])
    check(["sh", "-c", ': > "$0" && : > "$1"', mount / "redirected", mount / "made empty"])
    check(["touch", mount / "touched"])
    check(["truncate", "-s", "0", mount / "truncated"])
    assert sorted(os.listdir(mount.path)) == names
    assert mount.unmount().returncode == 0
    # Nor does a refusal leave anything else.
    assert sorted(content.names()) == names
    with remounted() as again:
        assert sorted(os.listdir(again.path)) == names
        assert check(["cat", *[again / name for name in names]]) == ""


def test_an_empty_file_that_cannot_be_made_is_an_error_of_close_and_of_unmount():
    """Where the name that a refusal leaves does not tell the upload's id, nothing can be completed."""
    with DeployedServer(staging_is_id=False) as server:
        filesystem = server.create_filesystem("empty files")
        with Mount(server, filesystem) as mount:
            for name in ("filled", "removed"):
                result = run(["cp", "/dev/null", mount / name], env={**os.environ, "LC_ALL": "C"})
                assert result.returncode == 1
                assert re.fullmatch(rf"cp: .*'.*/{name}': Input/output error\n", result.stderr)
            # It is not forgotten, and cannot be left behind unseen.
            assert sorted(os.listdir(mount.path)) == ["filled", "removed"]
            result = mount.unmount()
            assert result.returncode == 1 and mount.is_mounted
            assert "stays mounted" in result.stderr and "empty file" in result.stderr
            # In words, not as the program has it.
            assert "RemoteError" not in result.stderr and "rejected" not in result.stderr
            # With bytes in it, it is a file as any other.
            check(["sh", "-c", 'echo data > "$0"', mount / "filled"])
            assert server.content(filesystem).read("filled") == b"data\n"
            os.unlink(mount / "removed")
            assert mount.unmount().returncode == 0
