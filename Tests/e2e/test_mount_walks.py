"""Programs that go through trees: listings and sizes come ahead of them, each once, and no more than they use."""

import os

import pytest

import faultplan
from mountkit import Mount, check, counting, python, run
from serverkit import poll


@pytest.fixture
def lasting(server, filesystem):
    """A mount that believes what it knows for longer than any test takes."""
    with Mount(server, filesystem, "--metadata-ttl", 600) as mount:
        yield mount


@pytest.fixture
def slow(deployed, request):
    """A filesystem of the second server, whose counts of what is under way are known."""
    filesystem = deployed.create_filesystem(request.node.name)
    return deployed.content(filesystem), lambda *options: Mount(deployed, filesystem, *options)


def flat(content, count, files=1):
    """Makes directories side by side; returns their names."""
    names = [f"d-{index:04}" for index in range(count)]
    for name in names:
        for number in range(files):
            content.write(f"tree/{name}/f-{number}", b"x" * (number + 1))
    return names


def deep(content, path, depth):
    """Makes a tree with two directories in each; returns how many."""
    content.write(f"{path}/file", b"x")
    return 1 + (sum(deep(content, f"{path}/{name}", depth - 1) for name in "ab") if depth else 0)


def find(path, *arguments):
    return check(["find", path, *arguments]).splitlines()


def settled(server):
    """How many requests came, once no more do."""
    counts = []

    def stands():
        counts.append(len(server.requests_log()))
        return len(counts) > 5 and len(set(counts[-5:])) == 1

    poll(stands, what="no more requests")
    return counts[-1]


def test_find_has_32_listings_under_way_at_once(deployed, slow):
    content, mounted = slow
    flat(content, 200)
    deployed.faults.add("list", faultplan.until_under_way(deployed.gauge, "list", 32), "tree/d-01.*", times=None)
    with mounted() as mount, counting(deployed) as seen:
        assert len(find(mount / "tree")) == 401
    assert deployed.gauge.most["list"] >= 32
    # The root, the tree, and each directory in it.
    assert seen.calls["list"] == 202 and seen.calls["size"] == 0


def test_find_lists_each_directory_once(server, content, lasting):
    flat(content, 200)
    os.stat(lasting / "tree")
    with counting(server) as seen:
        assert len(find(lasting / "tree")) == 401
    assert seen.calls == {"list": 201}


def test_find_in_a_deep_tree_lists_each_directory_once(server, content, lasting):
    count = deep(content, "tree", 7)
    os.stat(lasting / "tree")
    with counting(server) as seen:
        assert len(find(lasting / "tree", "-type", "d")) == count
    assert seen.calls == {"list": count}


def test_find_over_empty_directories_lists_each_once(server, content, lasting):
    for index in range(100):
        content.mkdir(f"tree/d-{index:03}")
    os.stat(lasting / "tree")
    with counting(server) as seen:
        assert len(find(lasting / "tree")) == 101
    assert seen.calls == {"list": 101}


@pytest.mark.parametrize("command", [["ls", "-R"], ["du", "--apparent-size"], ["rm", "-r"]])
def test_other_programs_that_go_through_a_tree_list_each_directory_once(server, content, lasting, command):
    flat(content, 60)
    os.stat(lasting / "tree")
    with counting(server) as seen:
        check([*command, lasting / "tree"])
    # rmdir lists once more, as nothing is deleted otherwise.
    assert seen.calls["list"] == (122 if command[0] == "rm" else 61)
    assert seen.calls["size"] == (60 if command[0] == "du" else 0)


def test_os_walk_lists_each_directory_once(server, content, lasting):
    count = deep(content, "tree", 5)
    os.stat(lasting / "tree")
    with counting(server) as seen:
        assert int(python("print(sum(1 for _ in os.walk(sys.argv[1])))", lasting / "tree")) == count
    assert seen.calls == {"list": count}


def test_du_has_32_sizes_under_way_at_once_in_directories_of_one_file(deployed, slow):
    content, mounted = slow
    flat(content, 300)
    deployed.faults.add("size", faultplan.until_under_way(deployed.gauge, "size", 32), "tree/d-02.*", times=None)
    with mounted() as mount, counting(deployed) as seen:
        check(["du", "--apparent-size", mount / "tree"])
    assert deployed.gauge.most["size"] >= 32
    assert seen.calls["list"] == 302 and seen.calls["size"] == 300


@pytest.mark.parametrize("command", [["ls", "-l"], ["find", "-maxdepth", "1"], ["ls", "-la"]])
def test_looking_at_one_directory_lists_none_in_it(server, content, lasting, command):
    flat(content, 50)
    os.stat(lasting / "tree")
    with counting(server) as seen:
        check([command[0], lasting / "tree", *command[1:]])
        settled(server)
    assert seen.calls == {"list": 1}


def test_opening_one_directory_of_many_lists_no_other(server, content, lasting):
    flat(content, 50)
    os.listdir(lasting / "tree")
    with counting(server) as seen:
        os.listdir(lasting / "tree/d-0020")
        settled(server)
    assert seen.calls == {"list": 1}


def test_opening_the_first_directory_lists_one_more_at_most(server, content, lasting):
    flat(content, 50)
    os.listdir(lasting / "tree")
    with counting(server) as seen:
        os.listdir(lasting / "tree/d-0000")
        settled(server)
    assert seen.calls["list"] <= 2 and set(seen.calls) == {"list"}


def test_a_walk_that_stops_has_no_more_than_128_listings_too_many(server, content, lasting):
    names = flat(content, 400)
    os.listdir(lasting / "tree")
    with counting(server) as seen:
        for name in names[:40]:
            os.listdir(lasting / f"tree/{name}")
        settled(server)
    assert 41 <= seen.calls["list"] <= 40 + 128, seen.calls


def test_a_directory_that_may_not_be_listed_hides_no_other(deployed, slow):
    content, mounted = slow
    flat(content, 60)
    deployed.faults.add("list", faultplan.status(403), "tree/d-0030", times=None)
    with mounted() as mount:
        result = run(["find", mount / "tree", "-type", "f"])
    assert len(result.stdout.splitlines()) == 59
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1 and "d-0030" in result.stderr


def test_a_directory_whose_listing_fails_once_is_seen_all_the_same(deployed, slow):
    content, mounted = slow
    flat(content, 60)
    deployed.faults.add("list", faultplan.status(500), "tree/d-0030", times=1)
    with mounted() as mount:
        assert len(find(mount / "tree", "-type", "f")) == 60


def test_changes_while_a_walk_goes_on_are_seen(server, content, lasting):
    names = flat(content, 60)
    seen = []
    os.listdir(lasting / "tree")
    for name in names[:20]:
        seen += os.listdir(lasting / f"tree/{name}")
    settled(server)
    # All the rest is listed by now.
    os.mkdir(lasting / "tree/d-0040/new")
    os.unlink(lasting / "tree/d-0041/f-0")
    os.rmdir(lasting / "tree/d-0041")
    os.rename(lasting / "tree/d-0042/f-0", lasting / "tree/d-0043/moved")
    assert sorted(os.listdir(lasting / "tree/d-0040")) == ["f-0", "new"]
    assert os.listdir(lasting / "tree/d-0042") == []
    assert sorted(os.listdir(lasting / "tree/d-0043")) == ["f-0", "moved"]
    with pytest.raises(FileNotFoundError):
        os.listdir(lasting / "tree/d-0041")
    assert os.listdir(lasting / "tree/d-0059") == ["f-0"]


def test_changes_of_others_show_after_the_ttl_also_where_a_walk_listed_ahead(server, filesystem, content):
    names = flat(content, 30)
    with Mount(server, filesystem, "--metadata-ttl", 1) as mount:
        os.listdir(mount / "tree")
        for name in names[:10]:
            os.listdir(mount / f"tree/{name}")
        content.write("tree/d-0012/new", b"x")
        poll(lambda: "new" in os.listdir(mount / "tree/d-0012"), what="new name")
