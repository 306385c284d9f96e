"""What the API does not have, on a mount: modes, owners, times, links, special files, free space, xattrs, read-only."""

import errno
import fcntl
import os
import stat
import subprocess

import pytest

from mountkit import Mount, check, counting, fails, read, run, write


def test_a_mode_is_remembered(content, mount):
    content.write("f", b"x")
    content.mkdir("d")
    os.chmod(mount / "f", 0o751)
    os.chmod(mount / "d", 0o700)
    os.listdir(mount.path)
    assert stat.S_IMODE(os.stat(mount / "f").st_mode) == 0o751
    assert stat.S_IMODE(os.stat(mount / "d").st_mode) == 0o700
    write(mount / "f", b"new")
    os.rename(mount / "f", mount / "g")
    assert stat.S_IMODE(os.stat(mount / "g").st_mode) == 0o751


@pytest.mark.parametrize("change", ["owner", "write", "truncate"])
def test_setuid_and_setgid_do_not_outlive_a_change_of_the_owner_or_of_the_bytes(content, mount, change):
    content.write("f", b"x")
    os.chmod(mount / "f", 0o6755)
    assert stat.S_IMODE(os.stat(mount / "f").st_mode) == 0o6755
    if change == "owner":
        os.chown(mount / "f", 1, 1)
    else:
        command = {"write": "printf y >> f", "truncate": "truncate -s 5 f"}[change]
        # Whoever has this capability keeps them.
        check(["setpriv", "--bounding-set=-fsetid", "sh", "-c", command], cwd=mount.path)
    assert stat.S_IMODE(os.stat(mount / "f").st_mode) == 0o755


def test_a_new_files_mode_is_the_one_asked_for(mount):
    previous = os.umask(0o027)
    try:
        os.close(os.open(mount / "f", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o777))
    except OSError as error:
        # The deployed service takes no empty file: the mode is what is looked at here.
        assert error.errno == errno.EIO
        write(mount / "f", b"x")
    finally:
        os.umask(previous)
    assert stat.S_IMODE(os.stat(mount / "f").st_mode) == 0o750
    write(mount / "f", b"x")


def test_an_owner_is_remembered(content, mount):
    content.write("f", b"x")
    os.chown(mount / "f", 12, 34)
    status = os.stat(mount / "f")
    assert (status.st_uid, status.st_gid) == (12, 34)
    os.chown(mount / "f", -1, 56)
    status = os.stat(mount / "f")
    assert (status.st_uid, status.st_gid) == (12, 56)


def test_times_are_remembered_to_the_nanosecond(content, mount):
    content.write("f", b"x")
    content.mkdir("d")
    for name in "fd":
        os.utime(mount / name, ns=(1_000_000_000_123_456_789, 1_100_000_000_987_654_321))
        status = os.stat(mount / name)
        assert (status.st_atime_ns, status.st_mtime_ns) == (1_000_000_000_123_456_789, 1_100_000_000_987_654_321)
    os.utime(mount / "f", ns=(1, -2_000_000_001))
    assert os.stat(mount / "f").st_mtime_ns == -2_000_000_001


def test_times_set_through_an_open_handle_stay_after_its_close(content, mount):
    descriptor = os.open(mount / "f", os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, b"hello")
    os.utime(descriptor, (1000, 2000))
    os.close(descriptor)
    assert os.stat(mount / "f").st_mtime == 2000


def test_a_write_and_a_change_of_names_renew_the_times(content, mount):
    content.write("d/f", b"x")
    for name in ("d/f", "d"):
        os.utime(mount / name, (1000, 1000))
    write(mount / "d/f", b"new")
    assert os.stat(mount / "d/f").st_mtime > 1000
    assert os.stat(mount / "d").st_mtime == 1000
    write(mount / "d/g", b"new")
    assert os.stat(mount / "d").st_mtime > 1000


def test_cp_p_keeps_mode_and_times(content, mount, tmp_path):
    (tmp_path / "f").write_bytes(b"hello")
    os.chmod(tmp_path / "f", 0o640)
    os.utime(tmp_path / "f", (1000, 2000))
    check(["cp", "-p", tmp_path / "f", mount / "f"])
    status = os.stat(mount / "f")
    assert (stat.S_IMODE(status.st_mode), status.st_mtime) == (0o640, 2000)
    check(["cp", "-a", mount / "f", mount / "g"])
    assert os.stat(mount / "g").st_mtime == 2000


def test_a_script_can_be_executed_after_chmod_x(content, mount):
    write(mount / "script", b"#!/bin/sh\necho it runs with $1\n")
    # By a shell that is not on the mount, see DeployedServer.
    command = ["sh", "-c", f"{mount / 'script'} arguments"]
    assert run(command).returncode == 126
    check(["chmod", "+x", mount / "script"])
    assert check(command) == "it runs with arguments\n"


def test_a_program_can_be_executed(content, mount):
    check(["cp", "/bin/true", mount / "true"])
    check(["sh", "-c", mount / "true"])


# What is not there.

def test_links_and_special_files_are_not_permitted(server, content, mount):
    content.write("f", b"x")
    os.stat(mount / "f")
    with counting(server) as seen:
        fails(errno.EPERM, os.symlink, "f", mount / "link")
        fails(errno.EPERM, os.link, mount / "f", mount / "link")
        fails(errno.EPERM, os.mkfifo, mount / "fifo")
        for kind in (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK):
            fails(errno.EPERM, os.mknod, mount / "special", kind | 0o600, os.makedev(1, 3))
        fails(errno.EINVAL, os.readlink, mount / "f")
    assert seen.calls == {}
    assert content.tree() == {"f": b"x"}


def test_extended_attributes_are_not_supported(content, mount):
    content.write("f", b"x")
    fails(errno.ENOTSUP, os.setxattr, mount / "f", "user.x", b"value")
    fails(errno.ENOTSUP, os.getxattr, mount / "f", "user.x")
    fails(errno.ENOTSUP, os.removexattr, mount / "f", "user.x")


def test_df_shows_room(mount):
    status = os.statvfs(mount.path)
    assert status.f_bavail * status.f_frsize > 1 << 40
    assert status.f_ffree > 1 << 20 and status.f_namemax == 255
    assert mount.path in check(["df", "-h", mount.path])


def test_locks_of_programs_on_this_machine_work(content, mount):
    content.write("f", b"x")
    code = f"import fcntl; fcntl.{{}}(open({mount / 'f'!r}, 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    for lock in ("flock", "lockf"):
        for _ in range(2):
            check(["python3", "-c", code.format(lock)])
        holder = subprocess.Popen(
            ["python3", "-c", f"import fcntl, sys; f = open({mount / 'f'!r}, 'r+'); fcntl.{lock}(f, fcntl.LOCK_EX); "
             "print('held', flush=True); sys.stdin.read()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        assert holder.stdout.readline() == "held\n"
        assert "BlockingIOError" in run(["python3", "-c", code.format(lock)]).stderr
        holder.communicate(timeout=30)


def test_locks_are_not_seen_on_another_mount(server, filesystem, content, mount):
    content.write("f", b"x")
    with Mount(server, filesystem) as other:
        for lock in (fcntl.flock, fcntl.lockf):
            with open(mount / "f", "r+b") as here, open(other / "f", "r+b") as there:
                lock(here, fcntl.LOCK_EX | fcntl.LOCK_NB)
                lock(there, fcntl.LOCK_EX | fcntl.LOCK_NB)


# Options.

def test_a_read_only_mount_changes_nothing(server, filesystem, content):
    content.write("d/f", b"hello")
    with Mount(server, filesystem, "--read-only") as mount:
        assert read(mount / "d/f") == b"hello"
        with counting(server) as seen:
            for call, arguments in {
                write: (mount / "new", b"x"), os.mkdir: (mount / "new",), os.unlink: (mount / "d/f",),
                os.rmdir: (mount / "d",), os.rename: (mount / "d/f", mount / "g"), os.truncate: (mount / "d/f", 1),
                os.chmod: (mount / "d/f", 0o600), os.utime: (mount / "d/f",),
            }.items():
                fails(errno.EROFS, call, *arguments)
        assert not {"post", "put", "mkdir", "delete"} & set(seen.calls)
    assert content.tree() == {"d": None, "d/f": b"hello"}


@pytest.mark.parametrize("options", [("-o", "ro"), ("-o", "read_only,noatime")])
def test_read_only_can_be_said_as_mount_8_says_it(server, filesystem, content, options):
    content.write("f", b"hello")
    with Mount(server, filesystem, *options) as mount:
        fails(errno.EROFS, write, mount / "f", b"x")


def test_owner_and_modes_can_be_chosen(server, filesystem, content):
    content.write("d/f", b"x")
    with Mount(server, filesystem, "--uid", 12, "--gid", 34, "--umask", "027") as mount:
        for name, mode in {"d": "drwxr-x---", "d/f": "-rw-r-----"}.items():
            status = os.stat(mount / name)
            assert (stat.filemode(status.st_mode), status.st_uid, status.st_gid) == (mode, 12, 34)
    with Mount(server, filesystem, "-o", "fmask=022,dmask=077") as mount:
        assert stat.filemode(os.stat(mount / "d").st_mode) == "drwx------"
        assert stat.filemode(os.stat(mount / "d/f").st_mode) == "-rwxr-xr-x"


def test_modes_are_enforced_against_other_users(our_server, request):
    filesystem = our_server.create_filesystem(request.node.name)
    our_server.content(filesystem).write("f", b"secret")
    with Mount(our_server, filesystem, "--allow-other", "-o", "default_permissions") as mount:
        os.chmod(mount.folder, 0o755)
        as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat", mount / "f"]
        assert check(as_nobody) == "secret"
        os.chmod(mount / "f", 0o600)
        assert "Permission denied" in run(as_nobody).stderr
