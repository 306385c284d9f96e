"""`tetherfs mount` and `unmount` where there cannot be a mount: one line, status 32, and nothing is left behind."""

import contextlib
import os
import pathlib
import subprocess

import pytest

from clikit import MOUNT_FAILURE, as_user, environment, fails, needs_root, open_directory, tetherfs
from mountkit import run
from serverkit import Server, binary


@pytest.fixture(scope="module")
def server():
    with Server() as server:
        server.create_filesystem("data")
        yield server


@pytest.fixture
def folder():
    """The test's own directory."""
    with open_directory() as folder:
        yield folder


@pytest.fixture
def place(folder):
    """A directory to mount on. Afterwards nothing may be mounted in the test's own directory."""
    directory = folder / "mnt"
    directory.mkdir()
    yield directory
    left = mounts_below(folder)
    for path in reversed(left):
        subprocess.run(["umount", "-l", path], timeout=30, check=True)
    assert left == [], "the test left mounts"


@pytest.fixture
def tmpfs(place):
    """The directory, with something else mounted on it."""
    needs_root("mounts a tmpfs")
    subprocess.run(["mount", "-t", "tmpfs", "somebody's", place], timeout=30, check=True)
    yield place
    subprocess.run(["umount", place], timeout=30, check=True)


def mounts_below(directory):
    """The mount points in a directory, in the order in which they were made."""
    found = []
    for line in open("/proc/self/mountinfo"):
        point = line.split(" ")[4].encode().decode("unicode_escape")
        if (point + "/").startswith(f"{directory}/"):
            found.append(point)
    return found


def drivers(folder):
    """The ids of the processes that were given a path in a directory."""
    found = set()
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{folder}/".encode() in (process / "cmdline").read_bytes():
                found.add(process.name)
    return found


def mount(filesystem, directory, *flags, cache, **options):
    return tetherfs("mount", filesystem, directory, "--cache-dir", cache, *flags, **options)


@pytest.fixture
def refused(server, place, folder):
    """Tries a mount that must be refused with status 32, in the background and in front; nothing may be left."""
    def refused(filesystem, directory, *words, **options):
        before = mounts_below(folder)
        for flags in ([], ["--foreground"]):
            result = mount(filesystem, directory, *flags, cache=folder / "cache", server=server, **options)
            fails(result, *words, status=MOUNT_FAILURE)
            assert (drivers(folder), mounts_below(folder)) == (set(), before)
    return refused


# The mount point.


def test_a_missing_mount_point_comes_with_the_command_that_makes_it(refused, folder):
    refused("data", folder / "a b" / "c", f"{folder}/a b/c does not exist", "mkdir -p")
    refused("data", "", "MOUNTPOINT is empty")
    (folder / "dangling").symlink_to("nowhere")
    refused("data", folder / "dangling", "does not exist")
    assert sorted(os.listdir(folder)) == ["dangling", "mnt"]


def test_a_mount_point_that_is_a_file_is_refused(refused, folder):
    (folder / "file").write_text("x")
    refused("data", folder / "file", "is not a directory")
    refused("data", folder / "file" / "below", "Not a directory")
    (folder / "link").symlink_to("file")
    refused("data", folder / "link", "is not a directory")


def test_a_mount_point_where_something_else_is_mounted_is_busy(refused, tmpfs, folder):
    (tmpfs / "kept").write_text("x")
    refused("data", tmpfs, f"{tmpfs} is busy: somebody's (tmpfs)")
    (folder / "link").symlink_to(tmpfs)
    refused("data", folder / "link", f"{tmpfs} is busy: somebody's (tmpfs)")
    assert (tmpfs / "kept").read_text() == "x"


def test_an_unknown_filesystem_comes_with_the_names_that_exist(refused, server, place):
    with Server() as own:
        refused("data", place, "no filesystem 'data': there are none", "filesystems create data",
                env=environment(own))
        for name in ("two words", "b,c"):
            own.create_filesystem(name)
        refused("data", place, "no filesystem 'data'; there are: b,c, two words", env=environment(own))
        refused("Two words", place, "no filesystem 'Two words'", "there are: b,c, two words", env=environment(own))
    fails(mount("", place, cache=place.parent / "cache", server=server), "FILESYSTEM is empty")


def test_two_filesystems_of_one_name_are_not_chosen_from(refused, place):
    with Server() as own:
        other = own.add_user("other")
        mine, theirs = own.create_filesystem("a"), own.create_filesystem("a", other["api_key"])
        share = tetherfs("filesystems", "share", "a", "--with", own.user_id, server=own, api_key=other["api_key"])
        assert share.returncode == 0, share.stderr
        refused("a", place, "several", mine, theirs, env=environment(own))


# The machine.


def test_without_dev_fuse_there_is_a_line_on_how_to_get_it(refused, place):
    needs_root("hides /dev/fuse")
    hidden = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /dev && exec "$@"', "sh"]
    refused("data", place, "there is no /dev/fuse", "modprobe fuse", prefix=hidden)


def test_without_fusermount3_a_user_is_told_the_package(refused, place, folder):
    script = 'mount --bind /dev/null /bin/fusermount3 && exec "$@"'
    hidden = ["unshare", "--mount", "sh", "-c", script, "sh", *as_user(place, folder)]
    refused("data", place, "fusermount3 is missing", "fuse3", prefix=hidden)


def test_a_user_may_not_mount_where_they_may_not_write(refused, place):
    prefix = as_user(place.parent)
    refused("data", place, f"{place} must be a directory that you may write to", prefix=prefix)


def test_allow_other_of_a_user_needs_a_line_in_fuse_conf(server, place, folder):
    conf = folder / "fuse.conf"
    # What stands behind a # is no setting, nor is a line that only begins like it.
    conf.write_text("# user_allow_other\nuser_allow_other_x\n#user_allow_other\n")
    script = f'mount --bind {conf} /etc/fuse.conf && exec "$@"'
    prefix = ["unshare", "--mount", "sh", "-c", script, "sh", *as_user(place, folder)]
    for flags in (["--allow-other"], ["-o", "allow_other"]):
        result = mount("data", place, *flags, cache=folder / "cache", server=server, prefix=prefix)
        fails(result, "--allow-other", "user_allow_other in /etc/fuse.conf", status=MOUNT_FAILURE)


def test_a_cache_directory_that_cannot_be_is_named(server, place, folder):
    (folder / "file").write_text("x")
    for cache in (folder / "file", folder / "file" / "below", "/proc/nowhere"):
        for flags in ([], ["--foreground"]):
            result = mount("data", place, *flags, cache=cache, server=server)
            fails(result, str(cache), "--cache-dir", status=MOUNT_FAILURE)


# Options.


@pytest.mark.parametrize("options, words", [
    ("bogus", ["-o bogus"]), ("ro,bogus=1,rw", ["-o bogus"]), ("api_key=secret", ["-o api_key"]),
    ("ro=1", ["-o ro"]), ("read_only=1", ["-o read_only", "no value"]), ("uid", ["-o uid", "needs a value"]),
    ("endpoint=", ["-o endpoint", "needs a value"]), ("uid=joe", ["-o uid", "'joe'"]), ("uid=-1", ["-o uid"]),
    ("gid=4294967295", ["-o gid"]), ("umask=999", ["-o umask", "octal"]), ("fmask=0o22", ["-o fmask"]),
    ("dmask=7777", ["-o dmask"]), ("retries=many", ["-o retries", "'many'"]), ("request_timeout=0", ["above 0"]),
    ("request-timeout=0", ["-o request-timeout"]), ("metadata_ttl=-1", ["-o metadata_ttl"]),
    ("log_level=loud", ["-o log_level", "'loud'"]), ("endpoint=garbage", ["-o endpoint", "URL"]),
    ("api_key_file=/no/such/file", ["/no/such/file"]), ("remount", ["-o remount", "unmount"]),
    ("suid=1", ["-o suid"]), ("Ro", ["-o Ro"]), ("ro;bogus", ["-o ro;bogus"]),
])
def test_a_bad_option_of_o_is_named(server, place, folder, options, words):
    for flags in (["-o", options], ["-o", "nodev", "-o", options]):
        result = fails(mount("data", place, *flags, cache=folder / "cache", server=server), *words)
        assert "secret" not in result.stderr
    assert mounts_below(folder) == []


@pytest.mark.parametrize("options, words", [
    ("bogus", ["-o bogus"]), ("ro,bogus", ["-o bogus"]), ("umask=999", ["-o umask", "octal"]),
    ("ro,umask=999", ["-o umask", "octal"]),
])
def test_options_may_stand_right_behind_the_o(server, place, folder, options, words):
    fails(mount("data", place, "-o" + options, cache=folder / "cache", server=server), *words)


@pytest.mark.parametrize("flag, value, words", [
    ("--uid", "joe", ["--uid", "'joe'"]), ("--gid", "-2", ["--gid"]), ("--umask", "999", ["--umask", "octal"]),
    ("--umask", "", ["--umask"]), ("--fmask", "x", ["--fmask"]), ("--dmask", "1000", ["--dmask"]),
    ("--metadata-ttl", "x", ["--metadata-ttl"]), ("--metadata-ttl", "-1", ["--metadata-ttl"]),
    ("--metadata-ttl", "inf", ["--metadata-ttl"]),
])
def test_a_bad_value_of_a_flag_is_named(server, place, folder, flag, value, words):
    fails(mount("data", place, f"{flag}={value}", cache=folder / "cache", server=server), *words)
    assert mounts_below(folder) == []


# Unmounting what is none.


def test_unmount_of_what_is_no_mount_of_ours_fails_and_leaves_it(tmpfs, folder):
    (folder / "plain").mkdir()
    (folder / "file").write_text("x")
    env = environment()
    fails(tetherfs("unmount", folder / "plain", env=env), f"{folder}/plain is not a tetherfs mount", status=1)
    fails(tetherfs("unmount", folder / "file", env=env), f"{folder}/file", status=1)
    fails(tetherfs("unmount", tmpfs, env=env), f"{tmpfs} is not a tetherfs mount", "tmpfs", status=1)
    assert mounts_below(folder) == [str(tmpfs)]
    result = fails(tetherfs("unmount", folder / "missing", env=env), f"{folder}/missing", "does not exist", status=1)
    assert "mkdir" not in result.stderr
    fails(tetherfs("unmount", "", env=env), status=1)


def test_drop_privileges_of_mount_fuse3_is_refused_by_name(server, place):
    needs_root("lets mount.fuse3 mount")
    env = environment(server)
    env["PATH"] = f"{os.path.dirname(binary('tetherfs'))}:{env['PATH']}"
    command = ["/sbin/mount.fuse3", "data", place, "-t", "fuse.tetherfs", "-o", "drop_privileges"]
    result = run(command, env=env)
    # It has made the mount before it starts the driver, and leaves it.
    subprocess.run(["umount", place], timeout=30, check=True)
    assert result.returncode == MOUNT_FAILURE
    assert "tetherfs: -o drop_privileges is not possible" in result.stderr
