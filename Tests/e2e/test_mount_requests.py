"""What each operation costs, counted on the server: the table of requests, over both servers."""

import concurrent.futures
import os

import pytest

import faultplan
from mountkit import Mount, call_name, check, counting, python, read, write
from servercalls import pattern
from serverkit import poll

DEEP = "a/b/c"


@pytest.fixture
def lasting(server, filesystem):
    """A mount that believes what it knows for longer than any test takes."""
    with Mount(server, filesystem, "--metadata-ttl", 600) as mount:
        yield mount


def names(count):
    return [f"file-{index:03}" for index in range(count)]


def fill(content, directory, count):
    for index, name in enumerate(names(count)):
        content.write(f"{directory}/{name}".lstrip("/"), pattern(index + 1))


# Listings.

def test_the_first_ls_costs_one_list_for_each_directory_on_the_path(server, content, lasting):
    fill(content, DEEP, 30)
    with counting(server) as seen:
        assert check(["ls", lasting / DEEP]).split() == names(30)
    assert seen.calls == {"list": 4}


def test_ls_of_names_does_not_wait_for_sizes(deployed, request):
    filesystem = deployed.create_filesystem(request.node.name)
    fill(deployed.content(filesystem), "d", 30)
    deployed.faults.add("size", faultplan.stall(), times=None)
    with Mount(deployed, filesystem) as mount:
        assert check(["ls", mount / "d"]).split() == names(30)


def test_ls_of_a_directory_listed_before_costs_nothing(server, content, lasting):
    fill(content, DEEP, 3)
    check(["ls", lasting / DEEP])
    with counting(server) as seen:
        assert check(["ls", lasting / DEEP]).split() == names(3)
    assert seen.calls == {}


def test_stat_of_a_missing_name_in_a_listed_directory_costs_nothing(server, content, lasting):
    fill(content, DEEP, 3)
    os.listdir(lasting / DEEP)
    with counting(server) as seen:
        for _ in range(2):
            with pytest.raises(FileNotFoundError):
                os.stat(lasting / DEEP + "/missing")
    assert seen.calls == {}


def test_the_first_ls_l_costs_one_size_for_each_file(server, content, lasting):
    fill(content, DEEP, 200)
    content.mkdir(DEEP + "/directory")
    with counting(server) as seen:
        lines = check(["ls", "-l", lasting / DEEP]).splitlines()[1:]
    sizes = {line.split()[8]: int(line.split()[4]) for line in lines if line.startswith("-")}
    assert sizes == {name: index + 1 for index, name in enumerate(names(200))}
    assert seen.calls == {"list": 4, "size": 200}


def test_ls_l_has_16_sizes_under_way_at_once(deployed, request):
    filesystem = deployed.create_filesystem(request.node.name)
    fill(deployed.content(filesystem), "d", 200)
    rule = deployed.faults.add("size", faultplan.until_under_way(deployed.gauge, "size", 16), times=None)
    with Mount(deployed, filesystem) as mount:
        assert len(check(["ls", "-l", mount / "d"]).splitlines()) == 201
    assert deployed.gauge.most["size"] >= 16
    assert rule.hits == 200


def test_ls_l_again_costs_nothing(server, content, lasting):
    fill(content, DEEP, 200)
    check(["ls", "-l", lasting / DEEP])
    with counting(server) as seen:
        check(["ls", "-l", lasting / DEEP])
    assert seen.calls == {}


def test_programs_that_need_a_listing_at_once_share_it(server, content, lasting):
    fill(content, "d", 8)
    with counting(server) as seen, concurrent.futures.ThreadPoolExecutor(8) as pool:
        sizes = list(pool.map(lambda name: os.stat(lasting / "d/" + name).st_size, names(8)))
    assert sizes == list(range(1, 9))
    assert seen.calls == {"list": 2, "size": 8}


# Reading.

def test_cat_of_a_small_file_costs_two_requests_beside_the_lists(server, content, lasting):
    content.write(DEEP + "/f", b"hello")
    with counting(server) as seen:
        assert check(["cat", lasting / DEEP + "/f"]) == "hello"
    assert seen.calls["list"] == 4
    assert sum(seen.calls.values()) <= 6, seen.calls


def test_cat_of_a_small_file_again_costs_nothing(server, content, lasting):
    content.write(DEEP + "/f", b"hello")
    check(["cat", lasting / DEEP + "/f"])
    with counting(server) as seen:
        assert check(["cat", lasting / DEEP + "/f"]) == "hello"
    assert seen.calls == {}


def test_every_byte_of_a_file_is_fetched_once_however_many_read_it(server, content, lasting):
    data = pattern(5_000_001)
    content.write("f", data)
    with counting(server) as seen, concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda _: read(lasting / "f") == data, range(4)))
    assert seen.bytes("read") == len(data)


def test_a_random_read_fetches_what_was_asked_for_rounded_to_blocks(server, content, lasting):
    data = pattern(20_000_000)
    content.write("f", data)
    code = """
descriptor = os.open(sys.argv[1], os.O_RDONLY)
os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
sys.stdout.buffer.write(os.pread(descriptor, 100, 12_345_678))
"""
    with counting(server) as seen:
        assert python(code, lasting / "f", text=False) == data[12_345_678:12_345_778]
    assert seen.bytes("read") <= 2 * 65536


def test_a_new_version_written_here_is_read_without_a_download(server, content, lasting):
    write(lasting / "f", b"hello")
    with counting(server) as seen:
        assert check(["cat", lasting / "f"]) == "hello"
        assert os.stat(lasting / "f").st_size == 5
    assert seen.calls == {}


# Writing.

def test_a_new_small_file_costs_three_requests(server, content, lasting):
    os.listdir(lasting.path)
    with counting(server) as seen:
        check(["sh", "-c", f"echo hello > {lasting / 'f'}"])
    assert [call_name(entry) for entry in seen.entries] == ["post", "put", "post"]
    assert content.read("f") == b"hello\n"


def test_a_new_small_file_in_directories_not_listed_before_costs_their_lists_too(server, content, lasting):
    content.mkdir(DEEP)
    with counting(server) as seen:
        write(lasting / DEEP + "/f", b"hello")
    # An empty listing proves nothing, so that the directory above is asked too; it was, just now.
    assert seen.calls == {"list": 4, "post": 2, "put": 1}


def test_a_file_emptied_as_it_is_opened_is_not_downloaded(server, content, lasting):
    content.write("f", pattern(300_000))
    os.stat(lasting / "f")
    with counting(server) as seen:
        write(lasting / "f", b"new")
    assert seen.calls == {"post": 2, "put": 1}
    assert content.read("f") == b"new"


def test_a_file_overwritten_as_a_whole_is_not_downloaded(server, content, lasting):
    content.write("f", pattern(300_000))
    os.stat(lasting / "f")
    new = pattern(300_000, start=7)
    with counting(server) as seen:
        write(lasting / "f", new, os.O_WRONLY)
    assert seen.calls == {"post": 2, "put": 1}
    assert content.read("f") == new


def test_mkdir_costs_one_request(server, content, lasting):
    os.listdir(lasting.path)
    with counting(server) as seen:
        check(["mkdir", lasting / "d"])
    assert seen.calls == {"mkdir": 1}


@pytest.mark.parametrize("origin", ["written here", "stat before", "listed before"])
def test_rm_costs_one_request(server, content, lasting, origin):
    if origin == "written here":
        write(lasting / "f", b"hello")
    else:
        content.write("f", b"hello")
        (os.stat if origin == "stat before" else os.listdir)(lasting / ("f" if origin == "stat before" else ""))
    with counting(server) as seen:
        os.unlink(lasting / "f")
    assert seen.calls == {"delete": 1}
    assert content.tree() == {}


def test_rm_r_of_a_listed_directory_asks_for_no_sizes(server, content, lasting):
    fill(content, "d", 20)
    os.listdir(lasting / "d")
    with counting(server) as seen:
        check(["rm", "-r", lasting / "d"])
    assert seen.calls == {"delete": 21, "list": 1}
    assert content.tree() == {}


def test_rmdir_costs_a_fresh_listing_and_the_delete(server, content, lasting):
    content.mkdir("d")
    os.listdir(lasting / "d")
    with counting(server) as seen:
        check(["rmdir", lasting / "d"])
    assert [call_name(entry) for entry in seen.entries] == ["list", "delete"]
    assert content.tree() == {}


@pytest.mark.parametrize("origin", ["written", "read"])
def test_mv_of_a_small_file_costs_four_requests_and_no_download(server, content, lasting, origin):
    content.mkdir("d")
    if origin == "written":
        write(lasting / "f", b"hello")
    else:
        content.write("f", b"hello")
        read(lasting / "f")
    os.listdir(lasting.path)
    os.listdir(lasting / "d")
    with counting(server) as seen:
        check(["mv", lasting / "f", lasting / "d/g"])
    assert [call_name(entry) for entry in seen.entries] == ["post", "put", "post", "delete"]
    assert content.tree() == {"d": None, "d/g": b"hello"}


def test_our_own_changes_need_no_new_listing(server, content, lasting):
    fill(content, "d", 3)
    os.listdir(lasting / "d")
    os.mkdir(lasting / "d/sub")
    write(lasting / "d/new", b"hello")
    os.unlink(lasting / "d/file-000")
    os.rename(lasting / "d/file-001", lasting / "d/moved")
    with counting(server) as seen:
        assert sorted(os.listdir(lasting / "d")) == ["file-002", "moved", "new", "sub"]
        assert os.stat(lasting / "d/new").st_size == 5 and os.stat(lasting / "d/moved").st_size == 2
        assert os.listdir(lasting / "d/sub") == []
        for name in ("file-000", "file-001"):
            with pytest.raises(FileNotFoundError):
                os.stat(lasting / "d/" + name)
    assert seen.calls == {}


def test_nothing_is_asked_for_that_merely_does_not_exist_here(server, content, lasting):
    write(lasting / "f", b"hello")
    with counting(server) as seen:
        os.statvfs(lasting.path)
        os.access(lasting / "f", os.W_OK)
        os.chmod(lasting / "f", 0o600)
        os.utime(lasting / "f", (1, 1))
        for call in (lambda: os.getxattr(lasting / "f", "user.x"), lambda: os.symlink("f", lasting / "link")):
            with pytest.raises(OSError):
                call()
    assert seen.calls == {}


# The time to live.

def test_with_a_ttl_of_0_every_change_of_others_shows_at_once(server, filesystem, content):
    content.write("f", b"hello")
    with Mount(server, filesystem, "--metadata-ttl", 0) as mount:
        assert (os.listdir(mount.path), read(mount / "f")) == (["f"], b"hello")
        content.write("f", b"longer than before")
        content.write("g", b"new")
        assert sorted(os.listdir(mount.path)) == ["f", "g"]
        assert os.stat(mount / "f").st_size == 18
        assert (read(mount / "f"), read(mount / "g")) == (b"longer than before", b"new")
        content.remove("f")
        with pytest.raises(FileNotFoundError):
            os.stat(mount / "f")


def test_with_a_ttl_of_0_a_listing_still_costs_one_request(server, filesystem, content):
    fill(content, "", 5)
    with Mount(server, filesystem, "--metadata-ttl", 0) as mount:
        for _ in range(2):
            with counting(server) as seen:
                assert len(os.listdir(mount.path)) == 5
            assert seen.calls == {"list": 1}


def test_within_the_ttl_changes_of_others_do_not_show(server, content, lasting):
    content.write("f", b"hello")
    os.stat(lasting / "f")
    content.write("f", b"longer than before")
    content.write("g", b"new")
    with counting(server) as seen:
        assert os.listdir(lasting.path) == ["f"]
        assert os.stat(lasting / "f").st_size == 5
    assert seen.calls == {}


def test_after_the_ttl_changes_of_others_show(server, filesystem, content):
    content.write("f", b"hello")
    with Mount(server, filesystem, "--metadata-ttl", 1) as mount:
        assert read(mount / "f") == b"hello"
        content.write("f", b"longer than before")
        content.write("g", b"new")
        poll(lambda: os.path.exists(mount / "g"), what="new name")
        poll(lambda: os.stat(mount / "f").st_size == 18, what="new size")
        assert read(mount / "f") == b"longer than before"
