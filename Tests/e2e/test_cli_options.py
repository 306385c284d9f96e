"""The options of `tetherfs mount` by their effect: as flags, in `-o`, as root and as another user."""

import contextlib
import errno
import os
import stat
import subprocess

import pytest

from clikit import MOUNT_FAILURE, as_user, environment, fails, open_directory, private, public_binary, tetherfs
from mountkit import Mount, check, read, run, write
from serverkit import binary, poll

C_LOCALE = {**os.environ, "LC_ALL": "C"}
NOBODY = 65534


@pytest.fixture
def server(our_server):
    """tetherfs-server alone: the options are the same with any other."""
    return our_server


@pytest.fixture
def mounted(server, filesystem, content):
    """Mounts a filesystem that has a file `f` and a directory `d`, with options."""
    content.write("f", b"data")
    content.mkdir("d")
    with contextlib.ExitStack() as stack:
        yield lambda *options: stack.enter_context(Mount(server, filesystem, *options))


def shown(mount, *names):
    """Owner, group and permissions of things on a mount."""
    statuses = [os.stat(mount / name) for name in names]
    return [(status.st_uid, status.st_gid, oct(stat.S_IMODE(status.st_mode))) for status in statuses]


def mount_options(mount):
    """The options that the kernel has for a mount: its own and the filesystem's."""
    output = check(["findmnt", "-n", "-o", "VFS-OPTIONS,FS-OPTIONS", mount.path])
    return set(output.replace(" ", ",").strip().split(","))


# Owners and modes.


def test_without_options_all_is_of_who_mounts_and_modes_are_0755_and_0644(mounted):
    us = (os.geteuid(), os.getegid())
    assert shown(mounted(), "", "d", "f") == [(*us, "0o755"), (*us, "0o755"), (*us, "0o644")]


@pytest.mark.parametrize("options, directory, file", [
    (["--uid", "1234", "--gid", "2345"], (1234, 2345, "0o755"), (1234, 2345, "0o644")),
    (["-o", "uid=1234,gid=2345"], (1234, 2345, "0o755"), (1234, 2345, "0o644")),
    (["--umask", "027"], (None, None, "0o750"), (None, None, "0o640")),
    (["-o", "umask=027"], (None, None, "0o750"), (None, None, "0o640")),
    (["-o", "umask=0"], (None, None, "0o777"), (None, None, "0o666")),
    (["--fmask", "022", "--dmask", "077"], (None, None, "0o700"), (None, None, "0o755")),
    (["-o", "fmask=022", "-o", "dmask=077"], (None, None, "0o700"), (None, None, "0o755")),
    (["-o", "umask=077,fmask=133"], (None, None, "0o700"), (None, None, "0o644")),
    (["-o", "uid=1,umask=077", "--uid", "1234", "--umask", "022"], (1234, None, "0o755"), (1234, None, "0o644")),
], ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_owners_and_masks_are_shown(mounted, options, directory, file):
    us = (os.geteuid(), os.getegid())
    directory, file = [
        (us[0] if uid is None else uid, us[1] if gid is None else gid, mode) for uid, gid, mode in (directory, file)
    ]
    assert shown(mounted(*options), "", "d", "f") == [directory, directory, file]


@pytest.mark.parametrize("options, modes", [
    ([], ["0o751", "0o640"]), (["--umask", "027"], ["0o750", "0o640"]), (["--dmask", "77"], ["0o700", "0o640"]),
    (["-o", "fmask=177"], ["0o751", "0o600"]),
], ids=lambda value: " ".join(value))
def test_what_is_made_has_the_mode_that_was_asked_for_less_the_masks(mounted, options, modes):
    mount = mounted(*options)
    old = os.umask(0)
    try:
        os.mkdir(mount / "made d", 0o751)
        os.close(os.open(mount / "made", os.O_CREAT | os.O_WRONLY, 0o640))
    finally:
        os.umask(old)
    assert [mode for _, _, mode in shown(mount, "made d", "made")] == modes


def test_fmask_lets_programs_of_the_server_be_executed(mounted, content):
    content.write("script", b"#!/bin/sh\necho ran\n")
    assert run([mounted("--fmask", "022") / "script"]).stdout == "ran\n"


# Read-only and the kernel's own options.


@pytest.mark.parametrize("options", [["--read-only"], ["-o", "ro"], ["-o", "read_only"], ["-o", "rw,ro"]])
def test_a_read_only_mount_is_so_for_the_kernel_too(mounted, options):
    mount = mounted(*options)
    assert "ro" in mount_options(mount)
    with pytest.raises(OSError) as caught:
        write(mount / "f", b"new")
    assert caught.value.errno == errno.EROFS


@pytest.mark.parametrize("options", [["-o", "rw"], ["-o", "ro,rw"], []])
def test_a_mount_is_writable_unless_told_otherwise(mounted, options):
    mount = mounted(*options)
    assert "rw" in mount_options(mount)
    write(mount / "f", b"new")


def test_options_for_the_kernel_reach_it(mounted, content):
    content.write("script", b"#!/bin/sh\necho ran\n")
    mount = mounted("-o", "nodev,nosuid,noexec,noatime,_netdev,x-systemd.automount,nofail,defaults", "--fmask", "022")
    assert {"nodev", "nosuid", "noexec", "noatime"} <= mount_options(mount)
    assert run(["sh", "-c", '"$0"', mount / "script"]).returncode == 126


def test_o_takes_what_flags_take(server, filesystem):
    with open_directory() as folder:
        private(folder / "key").write_text(server.api_key)
        (folder / "mnt").mkdir()
        options = (f"endpoint={server.url},api_key_file={folder}/key,cache-dir={folder}/a\\,b,request_timeout=20,"
                   "retries=1,metadata_ttl=0,log_level=debug,foreground")
        process = subprocess.Popen(
            [binary("tetherfs"), "mount", filesystem, folder / "mnt", "-o", options], env=environment(),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        try:
            mount = Mount(server, filesystem)
            mount.path = str(folder / "mnt")
            poll(lambda: mount.is_mounted or process.poll() is not None, what="mount")
            assert mount.is_mounted, process.stderr.read()
            # It answers once it listens to commands too.
            os.statvfs(mount.path)
            assert os.path.isdir(folder / "a,b")
            result = tetherfs("unmount", folder / "mnt", env=environment())
            assert (result.returncode, result.stderr) == (0, "")
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.communicate(timeout=30)
            mount.take_away()


# Other users.


def as_nobody(*command, **options):
    """Runs a command as `nobody`."""
    return run([*as_user(), *command], env=C_LOCALE, **options)


def test_others_are_kept_out(mounted):
    mount = mounted()
    os.chmod(mount.folder, 0o755)
    result = as_nobody("ls", mount.path)
    assert result.returncode != 0 and "Permission denied" in result.stderr


@pytest.mark.parametrize("options", [["--allow-other"], ["-o", "allow_other"]])
def test_with_allow_other_others_may_do_what_the_modes_say(mounted, options):
    mount = mounted(*options)
    os.chmod(mount.folder, 0o755)
    assert as_nobody("cat", mount / "f").stdout == "data"
    for command in (["touch", mount / "new"], ["rm", "-f", mount / "f"], ["sh", "-c", 'echo x > "$0"', mount / "f"],
                    ["mkdir", mount / "e"], ["chmod", "777", mount / "f"], ["mv", mount / "f", mount / "g"]):
        result = as_nobody(*command)
        assert result.returncode != 0
        assert "Permission denied" in result.stderr or "not permitted" in result.stderr
    os.chmod(mount / "f", 0o600)
    assert "Permission denied" in as_nobody("cat", mount / "f").stderr
    os.chmod(mount / "d", 0o777)
    assert as_nobody("sh", "-c", 'echo theirs > "$0"', mount / "d/new").returncode == 0
    assert read(mount / "d/new") == b"theirs\n"


# A mount by a user who is not root.


class UserMount(Mount):
    """A mount that `nobody` makes."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        os.chmod(self.folder, 0o755)
        self.cache_dir.mkdir()
        self.prefix = as_user(self.path, self.cache_dir, self.key_file)

    def run(self, *command):
        """Runs a command as that user, in an environment of theirs."""
        return run([*self.prefix, *command], env=environment(HOME="/nonexistent", LC_ALL="C"))

    def mount(self):
        return self.run(public_binary(), *self.arguments)

    def unmount(self):
        return self.run(public_binary(), "unmount", self.path)


@pytest.fixture
def own(server, filesystem, content):
    """A user's mount, not made yet, of a filesystem with a file."""
    content.write("f", b"data")
    mount = UserMount(server, filesystem)
    mount.watchdog.start()
    yield mount
    mount.take_away()


def test_a_users_mount_is_for_that_user_alone_without_devices_and_suid(own):
    result = own.mount()
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    options = mount_options(own)
    assert {"nosuid", "nodev", f"user_id={NOBODY}", f"group_id={NOBODY}"} <= options and "allow_other" not in options
    result = own.unmount()
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert not own.is_mounted and own.pid is None


def test_a_mount_of_a_user_is_busy_while_they_use_it(own):
    assert own.mount().returncode == 0
    holder = subprocess.Popen(
        [*as_user(), "sh", "-c", 'cd "$0" && echo in && cat', own.path],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout.readline() == b"in\n"
        fails(own.unmount(), "busy", str(holder.pid), status=1)
        assert own.is_mounted
    finally:
        holder.communicate(timeout=30)
    assert own.unmount().returncode == 0


def test_a_user_does_not_unmount_what_another_user_mounted(own):
    assert own.mount().returncode == 0
    other = [*as_user(user=NOBODY - 1), public_binary()]
    fails(run([*other, "unmount", own.path], env=environment()), own.path, f"user {NOBODY}", status=1)
    assert own.is_mounted
    assert own.unmount().returncode == 0


@pytest.mark.parametrize("name", ["two  words", "a,b,,c", "ünï-漢字", "back\\slash,\\", "#hash"])
def test_the_source_of_a_users_mount_is_the_name_too(own, server, name):
    identifier = server.create_filesystem(name)
    own.filesystem = name
    result = own.mount()
    assert (result.returncode, result.stderr) == (0, "")
    with open("/proc/self/mountinfo", encoding="unicode_escape") as table:
        (line,) = [line for line in table if f" {own.path} " in line]
    source = line.split(" - ")[1].removeprefix("fuse.tetherfs ").rsplit(" ", 1)[0]
    assert source.encode("latin-1").decode() == name
    assert own.unmount().returncode == 0
    assert tetherfs("filesystems", "delete", identifier, "--yes", server=server).returncode == 0


def test_a_user_shares_a_mount_where_fuse_conf_allows_it(own):
    conf = own.folder / "fuse.conf"
    conf.write_text("# a comment\nuser_allow_other\n")
    conf.chmod(0o644)
    script = """
        set -e
        mount --bind "$1" /etc/fuse.conf
        as_nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
        mountpoint=$2; tetherfs=$3
        shift 3
        as_nobody "$tetherfs" "$@" --allow-other
        cat "$mountpoint/f"
        as_nobody "$tetherfs" unmount "$mountpoint"
    """
    command = ["unshare", "--mount", "sh", "-c", script, "sh", conf, own.path, public_binary(), *own.arguments]
    result = run(command, env=environment(HOME="/nonexistent"))
    assert (result.returncode, result.stdout, result.stderr) == (0, "data", "")


def test_a_user_who_may_not_use_fusermount3_is_told_what_it_said(own):
    script = 'mount --bind "$1" /bin/fusermount3 && shift && exec "$@"'
    refusing = own.folder / "fusermount3"
    refusing.write_text("#!/bin/sh\necho 'fusermount3: not today' >&2\nexit 1\n")
    refusing.chmod(0o755)
    command = ["unshare", "--mount", "sh", "-c", script, "sh", refusing, *as_user(), public_binary(), *own.arguments]
    fails(run(command, env=environment(HOME="/nonexistent")), own.path, status=MOUNT_FAILURE)
    assert not own.is_mounted
