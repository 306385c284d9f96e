"""Files held open on a mount: several handles, duplicated and inherited ones, threads, unlinked files, fsync."""

import concurrent.futures
import os
import subprocess
import sys
import threading

import pytest

from mountkit import Mount, check, counting, read, run, write
from servercalls import pattern
from serverkit import poll


def test_all_handles_see_one_content(content, mount):
    content.write("f", pattern(200_000))
    writer, reader = os.open(mount / "f", os.O_RDWR), os.open(mount / "f", os.O_RDONLY)
    assert os.pread(reader, 10, 100_000) == pattern(10, start=100_000)
    os.pwrite(writer, b"changed", 100_000)
    assert os.pread(reader, 10, 100_000) == b"changed" + pattern(3, start=100_007)
    os.ftruncate(writer, 100_003)
    assert os.fstat(reader).st_size == 100_003 and os.pread(reader, 10, 100_000) == b"cha"
    assert read(mount / "f") == pattern(100_000) + b"cha"
    os.close(writer)
    assert os.pread(reader, 10, 100_000) == b"cha"
    os.close(reader)
    assert content.read("f") == pattern(100_000) + b"cha"


def test_what_two_handles_wrote_is_all_there(content, mount):
    first, second = os.open(mount / "f", os.O_RDWR | os.O_CREAT), os.open(mount / "f", os.O_RDWR)
    os.pwrite(first, b"11111", 0)
    os.pwrite(second, b"22222", 3)
    os.close(first)
    os.pwrite(second, b"3", 8)
    os.close(second)
    assert content.read("f") == b"111222223" and read(mount / "f") == b"111222223"


# Duplicates and children.

def test_a_duplicate_that_is_closed_does_not_end_the_file(content, mount):
    descriptor = os.open(mount / "f", os.O_RDWR | os.O_CREAT)
    os.write(descriptor, b"one ")
    os.close(os.dup(descriptor))
    os.write(descriptor, b"two")
    assert os.pread(descriptor, 10, 0) == b"one two"
    os.close(descriptor)
    assert content.read("f") == b"one two"


def test_a_writers_close_waits_although_the_program_reads_the_file_too(content, mount):
    content.write("f", b"old")
    reader = os.open(mount / "f", os.O_RDONLY)
    os.close(os.open(mount / "f", os.O_WRONLY | os.O_TRUNC))
    assert content.read("f") == b""
    os.close(reader)


def test_a_child_that_only_inherited_a_file_does_not_upload_it(server, content, mount):
    code = """
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.write(descriptor, b"one ")
child = os.fork()
if child == 0:
    os.close(descriptor)
    os._exit(0)
os.waitpid(child, 0)
print("child ended", flush=True)
sys.stdin.readline()
os.write(descriptor, b"two")
os.close(descriptor)
"""
    with counting(server) as seen, Program(code, mount / "f") as program:
        assert program.line() == "child ended"
        assert not content.exists("f")
        program.go_on()
    assert content.read("f") == b"one two"
    assert seen.calls["put"] == 1


def test_what_a_child_wrote_is_on_the_server_when_it_has_closed(content, mount):
    code = """
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
child = os.fork()
if child == 0:
    os.write(descriptor, b"the child's")
    os.close(descriptor)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print("child ended", flush=True)
sys.stdin.readline()
os._exit(0)
"""
    with Program(code, mount / "f") as program:
        assert program.line() == "child ended"
        assert content.read("f") == b"the child's"
        program.go_on()


def test_what_the_parent_wrote_is_on_the_server_although_a_child_holds_the_file(content, mount):
    code = """
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
gate = os.pipe()
if os.fork() == 0:
    os.close(gate[1])
    os.read(gate[0], 1)
    os._exit(0)
os.write(descriptor, b"the parent's")
os.close(descriptor)
print("closed", flush=True)
sys.stdin.readline()
"""
    with Program(code, mount / "f") as program:
        assert program.line() == "closed"
        assert content.read("f") == b"the parent's"
        program.go_on()


def test_a_shells_redirection_of_several_programs_is_whole(content, mount):
    check(["sh", "-c", f"{{ /bin/echo one; echo two; /bin/echo three; }} > {mount / 'f'}"])
    assert content.read("f") == b"one\ntwo\nthree\n"
    check(["sh", "-c", f"(/bin/echo four; cat) >> {mount / 'f'} < /dev/null"])
    assert content.read("f") == b"one\ntwo\nthree\nfour\n"


def test_a_redirection_over_a_file_never_shows_it_empty(server, content, mount):
    content.write("f", b"the old content")
    command = f"echo the new content > {mount / 'f'}"
    with counting(server) as seen:
        check(["sh", "-c", command])
    assert content.read("f") == b"the new content\n"
    # One upload: that of an empty file first would lose the old content if anything ended in between.
    assert seen.calls["post"] == 2


def test_what_a_killed_program_wrote_reaches_the_server(content, mount):
    content.write("g", pattern(100_000))
    code = """
new, old = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT), os.open(sys.argv[2], os.O_RDWR)
os.write(new, b"written ")
os.pwrite(old, b"changed", 0)
print("written", flush=True)
os.kill(os.getpid(), 9)
"""
    killed = run([sys.executable, "-c", "import os, sys\n" + code, mount / "f", mount / "g"])
    assert (killed.returncode, killed.stdout) == (-9, "written\n")
    poll(lambda: content.exists("f") and content.read("f") == b"written ", what="upload of the new file")
    poll(lambda: content.read("g") == b"changed" + pattern(99_993, start=7), what="upload of the old file")


def test_threads_may_open_write_and_close_a_file_between_them(content, mount):
    def on_a_thread(call, *arguments):
        result = []
        thread = threading.Thread(target=lambda: result.append(call(*arguments)))
        thread.start()
        thread.join()
        return result[0]

    for index in range(5):
        descriptor = on_a_thread(os.open, mount / f"f{index}", os.O_RDWR | os.O_CREAT)
        assert on_a_thread(os.write, descriptor, b"hello") == 5
        on_a_thread(os.close, descriptor)
        assert content.read(f"f{index}") == b"hello"


def test_many_threads_write_one_file_through_one_handle(content, mount):
    data = pattern(4_000_000)
    descriptor = os.open(mount / "f", os.O_RDWR | os.O_CREAT)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda at: os.pwrite(descriptor, data[at:at + 50_000], at), range(0, len(data), 50_000)))
    os.close(descriptor)
    assert content.read("f") == data


class Program:
    """Python code in a process beside the test: says where it is line by line, and waits to be told to go on."""

    def __init__(self, code, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-c", "import os, sys\n" + code, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )

    def line(self):
        # The mount's watchdog ends the wait for a program that hangs on it.
        return self.process.stdout.readline().strip()

    def go_on(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        errors = self.process.communicate(timeout=60)[1]
        if kind is None:
            assert (self.process.returncode, errors) == (0, "")


# Unlinked.

def test_an_unlinked_open_file_reads_and_writes_on_and_is_not_uploaded(server, content, mount):
    content.write("f", pattern(200_000))
    descriptor = os.open(mount / "f", os.O_RDWR)
    os.unlink(mount / "f")
    assert os.listdir(mount.path) == [] and content.tree() == {}
    with counting(server) as seen:
        assert os.pread(descriptor, 300_000, 0) == pattern(200_000)
        os.pwrite(descriptor, b"more", 200_000)
        assert os.fstat(descriptor).st_size == 200_004
        assert os.pread(descriptor, 10, 199_999) == pattern(1, start=199_999) + b"more"
        os.fsync(descriptor)
        os.close(descriptor)
    assert seen.calls == {}
    assert content.tree() == {}


def test_an_unlinked_open_file_has_no_links(content, mount):
    content.write("f", b"x")
    descriptor = os.open(mount / "f", os.O_RDONLY)
    os.unlink(mount / "f")
    assert os.fstat(descriptor).st_nlink == 0
    os.close(descriptor)


def test_a_new_file_unlinked_before_its_close_never_reaches_the_server(server, content, mount):
    os.listdir(mount.path)
    with counting(server) as seen:
        descriptor = os.open(mount / "f", os.O_RDWR | os.O_CREAT)
        os.write(descriptor, b"hello")
        os.unlink(mount / "f")
        assert os.pread(descriptor, 10, 0) == b"hello"
        os.close(descriptor)
    assert seen.calls == {}
    assert content.tree() == {} and os.listdir(mount.path) == []


def test_a_new_file_of_the_name_of_an_unlinked_open_one_is_another(content, mount):
    content.write("f", b"old")
    descriptor = os.open(mount / "f", os.O_RDWR)
    os.unlink(mount / "f")
    write(mount / "f", b"the new file")
    os.pwrite(descriptor, b"OLD", 0)
    assert os.pread(descriptor, 100, 0) == b"OLD" and read(mount / "f") == b"the new file"
    os.close(descriptor)
    assert content.tree() == {"f": b"the new file"}


def test_the_directory_of_an_unlinked_open_file_can_be_removed(content, mount):
    content.write("d/f", b"hello")
    descriptor = os.open(mount / "d/f", os.O_RDONLY)
    os.unlink(mount / "d/f")
    os.rmdir(mount / "d")
    assert os.read(descriptor, 10) == b"hello"
    os.close(descriptor)
    assert content.tree() == {}


# Synchronizing.

@pytest.mark.parametrize("sync", [os.fsync, os.fdatasync])
def test_what_was_written_is_on_the_server_when_fsync_returns(content, mount, sync):
    descriptor = os.open(mount / "f", os.O_RDWR | os.O_CREAT)
    for text in (b"one ", b"two"):
        os.write(descriptor, text)
        sync(descriptor)
        assert content.read("f") == os.pread(descriptor, 100, 0)
    os.close(descriptor)
    assert content.read("f") == b"one two"


def test_fsync_and_close_of_what_is_on_the_server_cost_nothing(server, mount):
    descriptor = os.open(mount / "f", os.O_RDWR | os.O_CREAT)
    os.write(descriptor, b"hello")
    os.fsync(descriptor)
    with counting(server) as seen:
        os.fsync(descriptor)
        os.close(descriptor)
    assert seen.calls == {}


def test_a_directory_can_be_synced(mount):
    os.mkdir(mount / "d")
    for path in (mount.path, mount / "d"):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(descriptor)
        os.close(descriptor)


def test_a_version_that_another_client_put_is_read_whole_at_the_next_open(server, filesystem, content):
    content.write("f", pattern(300_000))
    with Mount(server, filesystem, "--metadata-ttl", 0) as mount:
        assert read(mount / "f") == pattern(300_000)
        content.write("f", pattern(200_000, start=100))
        assert read(mount / "f") == pattern(200_000, start=100)
