"""A mount from its start to its end: what keeps it from being made, what waits at its end, and what a crash leaves."""

import errno
import os
import pathlib
import signal
import subprocess

import pytest

import faultplan
from deployedserver import DeployedServer
from mountkit import Mount, check, environment, fails, has_ended, poll, read, refused, run, tetherfs, write
from servercalls import pattern
from serverkit import binary

DATA = pattern(50_000)


@pytest.fixture
def server(deployed):
    return deployed


# Starting.

def test_mount_returns_when_the_mount_answers_and_leaves_no_process_behind_at_the_end(server, content, prepared):
    content.write("f", DATA)
    result = prepared.mount()
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert read(prepared / "f") == DATA
    assert prepared.unmount().returncode == 0
    assert prepared.pid is None and not prepared.is_mounted
    assert os.listdir(prepared.path) == []


def test_the_kernel_reads_as_much_ahead_as_one_request_may_have(mount):
    """128 KiB at a time cost a fifth more of the driver's processor time."""
    device = os.stat(mount.path).st_dev
    setting = pathlib.Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")
    assert setting.read_text() == "1024\n"


def test_a_filesystem_can_be_named_or_given_by_id(server, filesystem):
    for text in (filesystem, server.filesystems[filesystem]):
        with Mount(server, text) as mount:
            assert os.listdir(mount.path) == []


def test_a_mount_point_can_be_named_by_a_link(server, filesystem, prepared):
    os.symlink(prepared.path, prepared.folder / "link")
    link = f"{prepared.folder}/link/"
    arguments = [link if argument == prepared.path else argument for argument in prepared.arguments]
    assert tetherfs(*arguments).returncode == 0 and prepared.is_mounted
    assert tetherfs("unmount", prepared.folder / "link").returncode == 0 and not prepared.is_mounted


def test_in_the_foreground_the_driver_stays_and_sigint_ends_it(server, filesystem, content, prepared):
    process = subprocess.Popen(
        [binary("tetherfs"), *prepared.arguments, "--foreground"], env=environment(), stderr=subprocess.PIPE, text=True
    )
    poll(lambda: prepared.is_mounted, what="mount")
    write(prepared / "f", DATA)
    assert process.poll() is None and prepared.pid == process.pid
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=30)[1]
    assert process.returncode == 0, errors
    assert content.read("f") == DATA and not prepared.is_mounted


def test_a_wrong_key_is_told(prepared):
    prepared.key_file.write_text("wrong\n")
    refused(prepared.mount(), "key", str(prepared.key_file))
    assert not prepared.is_mounted and prepared.pid is None


def test_an_unknown_filesystem_is_told_with_those_that_exist():
    with DeployedServer() as server:
        server.create_filesystem("the-one-that-exists")
        mount = Mount(server, "unknown")
        refused(mount.mount(), "unknown", "the-one-that-exists")
        mount.take_away()


def test_an_unreachable_server_is_told(server, prepared):
    prepared.options += ["--endpoint", "http://127.0.0.1:9/v1", "--retries", "0"]
    refused(prepared.mount(), "127.0.0.1:9")


@pytest.mark.parametrize("answer", ["HTML", "wrong types", "503"])
def test_a_server_of_something_else_is_told(server, prepared, answer):
    prepared.options += ["--retries", "0"]
    fault = {
        "HTML": faultplan.html(), "wrong types": faultplan.body(b'[{"filesystem_id": 7}]'),
        "503": faultplan.status(503),
    }[answer]
    server.faults.add("filesystems", fault, times=None)
    refused(prepared.mount(), server.url.split("/")[2])
    assert not prepared.is_mounted and prepared.pid is None


def test_a_missing_mount_point_is_told(prepared):
    os.rmdir(prepared.path)
    refused(prepared.mount(), prepared.path, "mkdir")
    prepared.folder.joinpath("mnt").write_text("a file")
    refused(prepared.mount(), prepared.path, "not a directory")


def test_a_busy_mount_point_is_told(server, filesystem):
    with Mount(server, filesystem) as mount:
        refused(mount.mount(), mount.path, "busy")
        assert os.listdir(mount.path) == []


def test_a_missing_dev_fuse_is_told(prepared):
    # In a mount namespace of its own, where nothing is at that path.
    command = "mount -t tmpfs none /dev && exec \"$@\""
    apart = ["unshare", "-m", "--propagation", "private", "sh", "-c", command, "sh"]
    result = run([*apart, binary("tetherfs"), *prepared.arguments], env=environment())
    refused(result, "/dev/fuse")


# The end.

def test_a_driver_that_is_killed_leaves_no_dead_mount_at_a_path_with_a_line_end(prepared):
    prepared.path += "\nb"
    os.mkdir(prepared.path)
    assert prepared.mount().returncode == 0 and prepared.is_mounted
    os.kill(prepared.pid, signal.SIGKILL)
    poll(lambda: not prepared.is_mounted, what="end of the mount")
    # It is told once it is done.
    poll(lambda: "the driver died; its mount was taken away" in prepared.log, what="a word in the log")


def test_a_crashed_driver_can_be_mounted_again_in_its_place(server, filesystem, content, prepared):
    content.write("f", DATA)
    assert prepared.mount().returncode == 0
    assert read(prepared / "f") == DATA
    prepared.kill()
    fails(errno.ENOTCONN, os.listdir, prepared.path)
    result = prepared.mount()
    assert result.returncode == 0 and "dead" in result.stderr
    assert read(prepared / "f") == DATA
    assert prepared.unmount().returncode == 0 and not prepared.is_mounted


def test_the_mount_of_a_crashed_driver_can_be_unmounted(prepared):
    assert prepared.mount().returncode == 0
    prepared.kill()
    result = prepared.unmount()
    assert result.returncode == 0 and not prepared.is_mounted


def test_a_driver_that_is_killed_leaves_no_dead_mount(prepared, content):
    content.write("f", DATA)
    assert prepared.mount().returncode == 0
    descriptor = os.open(prepared / "f", os.O_RDONLY)
    prepared.crash()
    fails(errno.ENOTCONN, os.read, descriptor, 1)
    fails(errno.ENOTCONN, os.close, descriptor)
    assert os.listdir(prepared.path) == []
    poll(lambda: "the driver died; its mount was taken away" in prepared.log, what="line of the log")
    assert prepared.mount().returncode == 0
    assert read(prepared / "f") == DATA
    watcher = prepared.watcher
    assert prepared.unmount().returncode == 0
    poll(lambda: has_ended(watcher), what="end of the watcher")


def test_unmount_returns_only_when_nobody_has_the_cache_directory_open_any_more(prepared):
    assert prepared.mount().returncode == 0
    watcher = prepared.watcher
    os.kill(watcher, signal.SIGSTOP)
    try:
        command = subprocess.Popen([binary("tetherfs"), "unmount", prepared.path], env=environment())
        poll(lambda: not prepared.is_mounted, what="end of the mount")
        # The watcher still has the log open.
        with pytest.raises(subprocess.TimeoutExpired):
            command.wait(timeout=2)
    finally:
        os.kill(watcher, signal.SIGCONT)
    assert command.wait(timeout=30) == 0
    assert has_ended(watcher)


def test_a_mount_made_where_the_last_driver_died_is_left_alone_by_its_watcher(prepared, content):
    content.write("f", DATA)
    assert prepared.mount().returncode == 0
    first, watcher = prepared.pid, prepared.watcher
    os.kill(watcher, signal.SIGSTOP)
    os.kill(first, signal.SIGKILL)
    poll(lambda: has_ended(first), what="end of the driver")
    assert prepared.mount().returncode == 0
    os.kill(watcher, signal.SIGCONT)
    poll(lambda: has_ended(watcher), what="end of the watcher")
    assert read(prepared / "f") == DATA


def test_bytes_that_a_crashed_driver_had_not_sent_are_kept_and_named_in_the_log(server, filesystem, content, cache_dir):
    with Mount(server, filesystem, cache_dir=cache_dir) as mount:
        descriptor = os.open(mount / "unsent", os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, DATA)
        mount.kill()
        fails(errno.ENOTCONN, os.close, descriptor)
        assert mount.mount().returncode == 0
        folder = os.path.join(cache_dir, filesystem, "recovered")
        [kept] = os.listdir(folder)
        assert "unsent" in kept and kept in mount.log
        with open(os.path.join(folder, kept), "rb") as file:
            assert file.read() == DATA
        assert os.listdir(mount.path) == [] and content.tree() == {}


def test_an_unmount_that_cannot_upload_fails_saying_why_and_a_later_one_succeeds(server, filesystem, content):
    with Mount(server, filesystem, "--retries", 0) as mount:
        server.faults.add("put", faultplan.status(503, "closed for repairs"), times=None)
        fails(errno.EIO, write, mount / "precious", DATA)
        result = mount.unmount()
        refused(result, mount.path, "precious")
        assert mount.is_mounted and mount.pid
        assert read(mount / "precious") == DATA
        server.faults.clear()
        result = mount.unmount()
        assert result.returncode == 0, result.stderr
        assert not mount.is_mounted and mount.pid is None
    assert content.read("precious") == DATA


def test_unmount_waits_for_an_upload(server, filesystem, content):
    with Mount(server, filesystem) as mount:
        descriptor = os.open(mount / "f", os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, DATA)
        rule = server.faults.add("put", faultplan.stall())
        unmount = subprocess.Popen(
            [binary("tetherfs"), "unmount", mount.path], env=environment(), stderr=subprocess.PIPE, text=True
        )
        rule.wait()
        assert unmount.poll() is None and mount.is_mounted
        server.faults.clear()
        # The file is still open: the upload is done, the mount stays.
        errors = unmount.communicate(timeout=60)[1]
        assert unmount.returncode == 1 and "busy" in errors
        assert content.read("f") == DATA
        os.close(descriptor)


def test_an_unmount_of_what_a_signal_takes_away_meanwhile_succeeds_once_all_is_uploaded(server, filesystem, content):
    # Nothing is sent before somebody waits for it.
    options = ["--writes", "write-back", "--temporary-names", "*", "--temporary-delay", 600]
    with Mount(server, filesystem, *options) as mount:
        write(mount / "f", DATA)
        rule = server.faults.add("put", faultplan.stall(), times=None)
        unmount = subprocess.Popen(
            [binary("tetherfs"), "unmount", mount.path], env=environment(), stderr=subprocess.PIPE, text=True
        )
        rule.wait()
        os.kill(mount.pid, signal.SIGTERM)
        poll(lambda: not mount.is_mounted, what="end of the mount")
        server.faults.clear()
        assert (unmount.communicate(timeout=60)[1], unmount.returncode) == ("", 0)
    assert content.read("f") == DATA


def test_an_unmount_while_a_file_is_open_says_who_has_it(server, filesystem, content):
    content.write("f", DATA)
    with Mount(server, filesystem) as mount:
        with subprocess.Popen(["tail", "-f", mount / "f"], stdout=subprocess.PIPE) as holder:
            holder.stdout.read(1)
            refused(mount.unmount(), "busy", f"{holder.pid} tail")
            assert mount.is_mounted and read(mount / "f") == DATA
            holder.kill()


def test_unmount_of_what_is_no_mount_is_told(prepared):
    refused(tetherfs("unmount", prepared.path), prepared.path, "not a tetherfs mount")
    refused(tetherfs("unmount", "/proc"), "/proc", "not a tetherfs mount")


def test_the_kernels_own_unmount_loses_nothing(server, filesystem, content):
    with Mount(server, filesystem, "--retries", 0) as mount:
        server.faults.add("put", faultplan.status(503), times=None)
        fails(errno.EIO, write, mount / "f", DATA)
        server.faults.clear()
        check(["umount", mount.path])
        poll(lambda: mount.pid is None, timeout=30, what="end of the driver")
    assert content.read("f") == DATA


def test_sigterm_with_bytes_that_cannot_be_uploaded_keeps_them(server, filesystem, content, cache_dir):
    with Mount(server, filesystem, "--retries", 0, cache_dir=cache_dir) as mount:
        server.faults.add("put", faultplan.status(503), times=None)
        fails(errno.EIO, write, mount / "f", DATA)
        os.kill(mount.pid, signal.SIGTERM)
        poll(lambda: mount.pid is None, timeout=60, what="end of the driver")
    kept = [
        os.path.join(folder, name)
        for folder, _, names in os.walk(os.path.join(cache_dir, filesystem)) for name in names
        if os.path.getsize(os.path.join(folder, name)) == len(DATA)
    ]
    assert len(kept) == 1
    with open(kept[0], "rb") as file:
        assert file.read() == DATA


def test_a_mount_outlives_a_restart_of_the_server(our_server, request):
    filesystem = our_server.create_filesystem(request.node.name)
    with Mount(our_server, filesystem) as mount:
        write(mount / "f", DATA)
        our_server.restart()
        write(mount / "g", DATA)
        our_server.kill()
        our_server.start()
        assert sorted(os.listdir(mount.path)) == ["f", "g"] and read(mount / "g") == DATA
        write(mount / "f", b"new")
    assert our_server.content(filesystem).tree() == {"f": b"new", "g": DATA}
