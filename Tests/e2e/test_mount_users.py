"""A mount made by a user who is not root: by fusermount3, for that user alone."""

import contextlib
import fcntl
import os
import pathlib
import shutil
import signal
import subprocess

import pytest

from mountkit import Mount, environment, has_ended, refused, run
from serverkit import binary, poll

NOBODY = 65534


class UsersMount(Mount):
    """A mount of the user `nobody`."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.home = self.folder / "home"
        self.home.mkdir()
        # The build may lie where only its owner can go.
        self.program = shutil.copy(binary("tetherfs"), self.folder)
        for path in (self.folder, self.path, self.key_file, self.home):
            os.chown(path, NOBODY, NOBODY)

    @property
    def prefix(self):
        return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "env", f"HOME={self.home}"]

    def as_user(self, *command):
        return run([*self.prefix, *command], env=environment())

    def start(self):
        """Mounts without waiting for it."""
        command = [*self.prefix, self.program, *self.arguments]
        return subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)

    def mount(self):
        return self.as_user(self.program, *self.arguments)

    def unmount(self):
        return self.as_user(self.program, "unmount", self.path)


@pytest.fixture
def users_mount(server, filesystem, content):
    content.write("f", b"hello")
    with UsersMount(server, filesystem) as mount:
        yield mount


def test_a_user_mounts_uses_and_unmounts(content, users_mount):
    assert users_mount.as_user("cat", users_mount / "f").stdout == "hello"
    users_mount.as_user("mkdir", users_mount / "d")
    users_mount.as_user("sh", "-c", f"echo new > {users_mount / 'd/g'}")
    assert content.read("d/g") == b"new\n"
    listed = users_mount.as_user("stat", "-c", "%u %g %A", users_mount / "f").stdout
    assert listed == f"{NOBODY} {NOBODY} -rw-r--r--\n"
    result = users_mount.unmount()
    assert result.returncode == 0 and not users_mount.is_mounted, result.stderr


@pytest.fixture
def runtime_directory():
    """Makes and removes the directory that is there while the user is logged in."""
    path = pathlib.Path(f"/run/user/{NOBODY}")
    assert not path.exists()

    def log_in():
        path.mkdir(parents=True)
        os.chown(path, NOBODY, NOBODY)
        path.chmod(0o700)

    def log_out():
        shutil.rmtree(path, ignore_errors=True)

    yield log_in, log_out
    log_out()


def test_the_driver_of_a_mount_is_found_by_who_logs_in_after_it_began(runtime_directory, users_mount):
    """As by cron at boot, or `su`: neither is a login."""
    log_in, _ = runtime_directory
    log_in()
    status = users_mount.as_user(users_mount.program, "status", users_mount.path)
    assert status.returncode == 0 and "server" in status.stdout, status
    result = Mount.unmount(users_mount)
    assert result.returncode == 0 and not users_mount.is_mounted, result.stderr


def test_the_driver_of_a_mount_is_found_when_its_user_has_logged_out(
    server, filesystem, runtime_directory
):
    log_in, log_out = runtime_directory
    log_in()
    with UsersMount(server, filesystem) as mount:
        log_out()
        status = mount.as_user(mount.program, "status", mount.path)
        assert status.returncode == 0 and "server" in status.stdout, status


def test_the_driver_of_a_mount_is_found_though_somebody_else_has_its_user_s_name_in_tmp(
    server, filesystem, runtime_directory
):
    place = pathlib.Path(f"/tmp/tetherfs-{NOBODY}")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(0o700)
    try:
        mount = UsersMount(server, filesystem)
        refused(mount.mount(), str(place), "remove it")
        mount.take_away()
        log_in, _ = runtime_directory
        log_in()
        with UsersMount(server, filesystem) as mount:
            status = mount.as_user(mount.program, "status", mount.path)
            assert status.returncode == 0 and "server" in status.stdout, status
    finally:
        place.rmdir()


def test_others_are_kept_out_of_a_users_mount_even_root(users_mount):
    with pytest.raises(PermissionError):
        os.listdir(users_mount.path)


def test_root_can_unmount_a_users_mount(content, users_mount):
    users_mount.as_user("sh", "-c", f"echo new > {users_mount / 'g'}")
    result = Mount.unmount(users_mount)
    assert result.returncode == 0 and not users_mount.is_mounted, result.stderr
    assert content.read("g") == b"new\n"


def test_a_user_cannot_unmount_roots_mount(mount, users_mount):
    os.chmod(mount.folder, 0o755)
    result = users_mount.as_user(users_mount.program, "unmount", mount.path)
    assert result.returncode != 0 and len(result.stderr.splitlines()) == 1
    assert mount.is_mounted and os.listdir(mount.path) == ["f"]


def test_a_users_dead_mount_is_mounted_again(users_mount):
    users_mount.kill()
    result = users_mount.mount()
    assert result.returncode == 0, result.stderr
    assert poll(lambda: users_mount.as_user("cat", users_mount / "f").stdout == "hello", what="mount")


@contextlib.contextmanager
def nobody_may_mount():
    """Has the lock that nobody's processes take to mount; gives who else has it open, and so waits for it."""
    folder = f"/tmp/tetherfs-{NOBODY}"
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)

    def waiting():
        found = set()
        for link in pathlib.Path("/proc").glob("[0-9]*/fd/*"):
            with contextlib.suppress(OSError):
                if os.readlink(link) == folder:
                    found.add(int(link.parts[2]))
        return found - {os.getpid()}

    try:
        yield waiting
    finally:
        os.close(descriptor)


def test_a_users_watcher_takes_nothing_away_while_somebody_mounts_there(users_mount):
    driver, watcher = users_mount.pid, users_mount.watcher
    with nobody_may_mount() as waiting:
        os.kill(driver, signal.SIGKILL)
        poll(lambda: watcher in waiting(), what="watcher that waits")
        # Where it found the dead mount, there is the next one when it goes on.
        run(["umount", "-l", users_mount.path])
        command = users_mount.start()
        poll(lambda: waiting() - {watcher}, what="mount that waits")
        assert not users_mount.is_mounted
    assert command.wait(30) == 0, command.stderr.read()
    poll(lambda: has_ended(watcher), what="end of the watcher")
    assert users_mount.as_user("cat", users_mount / "f").stdout == "hello"
