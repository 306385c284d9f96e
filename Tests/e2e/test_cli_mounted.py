"""`tetherfs mount` and `unmount` where there is a mount: their life, and what they say and leave behind."""

import json
import os
import pathlib
import signal
import subprocess
import time

import pytest

import faultplan
from clikit import MOUNT_FAILURE, environment, fails, tetherfs
from mountkit import Mount, check, read, run, write
from serverkit import binary, poll


C_LOCALE = {**os.environ, "LC_ALL": "C"}


@pytest.fixture
def server(our_server):
    """tetherfs-server alone: the command is the same with any other."""
    return our_server


@pytest.fixture
def unmounted(server, filesystem):
    """A mount that is not made yet."""
    mount = Mount(server, filesystem)
    mount.watchdog.start()
    yield mount
    mount.take_away()


def table(path):
    """A mount's line of /proc/self/mounts: source, type and options; none if there is no mount."""
    for line in open("/proc/self/mounts"):
        source, point, kind, options = line.split(" ")[:4]
        if unescaped(point) == str(path):
            return unescaped(source), kind, options.split(",")
    return None


def unescaped(text):
    """What stands for itself in a mount table: blanks and backslashes are three octal digits there."""
    for character in " \t\n#\\":
        text = text.replace(f"\\{ord(character):03o}", character)
    return text


# Mounting.


def test_mount_returns_when_the_mount_answers_and_says_nothing(unmounted, filesystem):
    result = unmounted.mount()
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert table(unmounted.path)[:2] == (filesystem, "fuse.tetherfs")
    write(unmounted / "f", b"data")
    assert read(unmounted / "f") == b"data"


def test_the_driver_holds_nothing_of_who_started_it(unmounted, tmp_path):
    # Were the pipe still open in the driver, `cat` would wait for its end.
    script = 'cd "$0" && "$@" 2>&1 | cat'
    command = ["sh", "-c", script, tmp_path, binary("tetherfs"), *unmounted.arguments]
    assert check(command, env=environment()) == ""
    process = pathlib.Path("/proc", str(unmounted.pid))
    assert os.readlink(process / "cwd") == "/"
    assert (process / "comm").read_text() == "tetherfs\n"
    assert os.readlink(process / "fd" / "0") == os.readlink(process / "fd" / "1") == "/dev/null"
    # A session of its own: Ctrl-C in the terminal that it was started from is not for it.
    assert os.getsid(unmounted.pid) == unmounted.pid


def test_a_second_mount_on_the_same_place_is_busy_and_the_first_goes_on(mount, filesystem):
    write(mount / "f", b"data")
    for place in (mount.path, mount.path + "/", os.path.relpath(mount.path)):
        for flags in ([], ["--foreground"]):
            arguments = [filesystem, place, "--cache-dir", mount.folder / "other cache", *flags]
            result = tetherfs("mount", *arguments, server=mount.server)
            fails(result, f"{mount.path} is busy", filesystem, "fuse.tetherfs", status=MOUNT_FAILURE)
    assert read(mount / "f") == b"data"


def test_a_mount_that_is_taken_away_while_it_is_asked_is_not_in_the_way(mount, tmp_path):
    driver = mount.pid
    os.kill(driver, signal.SIGSTOP)
    arguments = [tmp_path if argument == str(mount.cache_dir) else argument for argument in mount.arguments]
    process = subprocess.Popen(
        [binary("tetherfs"), *arguments], env=environment(), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        # It waits for an answer of a driver that gives none.
        tasks = pathlib.Path("/proc", str(process.pid), "task")
        poll(lambda: any((task / "wchan").read_text() == "request_wait_answer" for task in tasks.iterdir()),
             what="the question")
        check(["umount", "-l", mount.path])
        # What is still in the way is not said to be mounted there.
        assert process.communicate(timeout=30)[1].startswith("tetherfs: another driver answers on ")
    finally:
        os.kill(driver, signal.SIGKILL)
        process.kill()
        process.communicate()


@pytest.mark.parametrize("name", [
    "two  words", "a,b,,c", "ünï-漢字", "back\\slash,\\", "#hash", "tick'\"`$(x)", "-dash", "ro",
])
def test_a_filesystem_is_mounted_by_any_name_and_that_is_the_source_of_the_mount(server, unmounted, name):
    identifier = server.create_filesystem(name)
    server.content(identifier).write("f", b"data")
    unmounted.filesystem = name
    options = unmounted.arguments[3:]
    result = tetherfs("mount", *options, "--", name, unmounted.path, env=environment())
    assert (result.returncode, result.stderr) == (0, "")
    assert table(unmounted.path)[:2] == (name, "fuse.tetherfs")
    assert check(["findmnt", "-n", "-o", "SOURCE,FSTYPE", unmounted.path]).split()[-1] == "fuse.tetherfs"
    if not set(name) & set("\\'\"`$"):
        assert check(["findmnt", "-n", "-r", "-v", "-o", "SOURCE", "-S", name]).count("\n") == 1
    assert read(unmounted / "f") == b"data"
    assert tetherfs("filesystems", "delete", identifier, "--yes", server=server).returncode == 0


def test_an_id_goes_before_a_name(server, unmounted, filesystem):
    server.content(filesystem).write("right", b"")
    decoy = server.create_filesystem(filesystem)
    assert unmounted.mount().returncode == 0
    assert os.listdir(unmounted.path) == ["right"]
    assert unmounted.unmount().returncode == 0
    assert tetherfs("filesystems", "delete", decoy, "--yes", server=server).returncode == 0


@pytest.mark.parametrize("name", ["two words", "ünï", "new\nline", "back\\slash", "a,b", "#", "-", "x" * 255])
def test_a_mount_point_may_have_any_name(unmounted, name):
    unmounted.path = str(unmounted.folder / name)
    os.mkdir(unmounted.path)
    assert unmounted.mount().returncode == 0
    write(unmounted / "f", b"data")
    assert read(unmounted / "f") == b"data"
    result = unmounted.unmount()
    assert (result.returncode, result.stderr) == (0, "")
    assert table(unmounted.path) is None
    assert os.listdir(unmounted.path) == []


def test_a_mount_on_a_directory_with_files_hides_them_until_it_is_gone(unmounted):
    hidden = pathlib.Path(unmounted.path, "hidden")
    hidden.write_text("x")
    assert unmounted.mount().returncode == 0
    assert os.listdir(unmounted.path) == []
    assert unmounted.unmount().returncode == 0
    assert hidden.read_text() == "x"


def test_a_relative_path_and_a_link_are_good_mount_points(unmounted, filesystem):
    (unmounted.folder / "link").symlink_to("mnt")
    for place in ("mnt", "./mnt/", "link", "mnt/../mnt/."):
        arguments = ["mount", filesystem, place, "--api-key-file", "key", "--cache-dir", "cache"]
        env = environment(endpoint=unmounted.server.url)
        result = tetherfs(*arguments, env=env, cwd=unmounted.folder)
        assert (result.returncode, result.stderr) == (0, ""), place
        write(unmounted / "f", b"data")
        result = tetherfs("unmount", place, env=environment(), cwd=unmounted.folder)
        assert (result.returncode, result.stderr) == (0, ""), place
        assert not unmounted.is_mounted


def test_ctrl_c_during_a_mount_that_waits_leaves_nothing(unmounted, deployed):
    rule = deployed.faults.add("filesystems", faultplan.stall())
    unmounted.server = deployed
    unmounted.key_file.write_text(deployed.api_key)
    process = subprocess.Popen([binary("tetherfs"), *unmounted.arguments], env=environment(), stderr=subprocess.PIPE)
    try:
        rule.wait()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode != 0
    assert errors in (b"", b"tetherfs: interrupted: nothing is mounted\n")
    poll(lambda: unmounted.pid is None, what="end of the driver")
    assert not unmounted.is_mounted


# In front.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_in_the_foreground_it_stays_until_a_signal_unmounts_and_ends_it_with_status_0(unmounted, content, number):
    process = foreground(unmounted)
    try:
        write(unmounted / "f", b"data")
        assert process.poll() is None and unmounted.pid == process.pid
        process.send_signal(number)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert not unmounted.is_mounted
    assert content.read("f") == b"data"


def test_in_the_foreground_a_signal_ends_it_with_status_1_if_bytes_are_left(deployed):
    mount = Mount(deployed, deployed.create_filesystem("left"), "--retries", 0)
    mount.watchdog.start()
    process = foreground(mount)
    try:
        deployed.faults.add("put", faultplan.status(503), times=None)
        with pytest.raises(OSError):
            write(mount / "f", b"data")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 1
    finally:
        process.kill()
        process.wait()
        mount.take_away()


def test_in_the_foreground_unmount_ends_it_with_status_0(unmounted):
    process = foreground(unmounted)
    try:
        assert unmounted.unmount().returncode == 0
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def foreground(mount):
    """Starts `tetherfs mount --foreground` and waits until the mount is there."""
    log = open(mount.folder / "stderr", "wb")
    process = subprocess.Popen(
        [binary("tetherfs"), *mount.arguments, "--foreground"], env=environment(), stdout=log, stderr=log
    )
    log.close()
    try:
        poll(lambda: mount.is_mounted or process.poll() is not None, 30, "mount")
        assert mount.is_mounted, (mount.folder / "stderr").read_text()
        # It answers once it listens to commands too.
        os.statvfs(mount.path)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return process


def test_sigterm_to_the_driver_in_the_background_unmounts(mount, content):
    write(mount / "f", b"data")
    os.kill(mount.pid, signal.SIGTERM)
    poll(lambda: mount.pid is None, 30, "end of the driver")
    assert not mount.is_mounted
    assert content.read("f") == b"data"


# Unmounting.


def test_unmount_is_silent_and_leaves_no_driver(mount):
    result = mount.unmount()
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert not mount.is_mounted and mount.pid is None
    fails(mount.unmount(), "is not a tetherfs mount", status=1)
    assert mount.mount().returncode == 0


def test_unmount_of_a_busy_mount_names_who_uses_it_and_leaves_it(mount):
    write(mount / "f", b"data")
    code = "import os, sys; f = open(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    users = {
        "open file": ["python3", "-c", code, mount / "f"],
        "current directory": ["sh", "-c", 'cd "$0" && echo open && cat', mount.path],
    }
    for what, command in users.items():
        user = subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert user.stdout.readline() == b"open\n"
            fails(mount.unmount(), mount.path, "busy", str(user.pid), os.path.basename(command[0]), status=1)
            assert mount.is_mounted and read(mount / "f") == b"data", what
        finally:
            user.communicate(timeout=30)
    assert mount.unmount().returncode == 0


# Secrets.


def test_the_key_is_in_no_mount_table_no_process_list_no_log_and_no_cache(deployed):
    filesystem = deployed.create_filesystem(f"secrets {time.time_ns()}")
    with Mount(deployed, filesystem, "--log-level", "trace", "--retries", 1) as mount:
        write(mount / "f", b"data")
        assert read(mount / "f") == b"data"
        # What a log is most likely to tell of: calls that fail, with what the server said, the key among it.
        deployed.faults.add("mkdir", faultplan.status(500, f"your key is {deployed.api_key}"), times=2)
        assert run(["mkdir", mount / "d"]).returncode != 0
        key = deployed.api_key.encode()
        process = pathlib.Path("/proc", str(mount.pid))
        for path in ("/proc/self/mounts", "/proc/self/mountinfo", process / "cmdline", process / "comm"):
            assert key not in pathlib.Path(path).read_bytes()
        assert "your key is" in mount.log
        assert mount.unmount().returncode == 0
        kept = [path for path in mount.cache_dir.rglob("*") if path.is_file()]
        assert kept and not [path for path in kept if key in path.read_bytes()]


def test_a_key_that_stops_being_good_is_an_error_of_permission_until_its_file_has_a_new_one(server, filesystem):
    other = server.add_user(f"other {filesystem}")
    share = tetherfs("filesystems", "share", filesystem, "--with", other["user_id"], server=server)
    assert share.returncode == 0, share.stderr
    with Mount(server, filesystem, "--metadata-ttl", 0) as mount:
        mount.key_file.write_text(other["api_key"])
        assert check(["ls", mount.path]) == ""
        command = ["tetherfs-server", "user", "rotate-key", other["user_name"], "--data-dir", server.data_dir, "--json"]
        rotated = json.loads(check([binary(command[0]), *command[1:]]))
        # The server takes note of a change beside it within a second.
        result = poll(lambda: (result := run(["ls", mount.path], env=C_LOCALE)).returncode and result, what="refusal")
        assert "Permission denied" in result.stderr
        mount.key_file.write_text(rotated["api_key"])
        assert check(["ls", mount.path]) == ""
