"""What the kernel keeps and how it asks for the rest, counted by the driver's own figures."""

import concurrent.futures
import os
import re

import pytest

import faultplan
from clikit import environment, tetherfs
from modelkit import drop_caches
from mountkit import Mount, check, read, write
from servercalls import pattern
from serverkit import poll

MIB = 1 << 20
DATA = pattern(32 * MIB)


@pytest.fixture
def server(our_server):
    """tetherfs-server alone: the kernel asks the same with any other."""
    return our_server


def reads(mount):
    """How many reads the kernel has sent to the driver."""
    text = tetherfs("stats", mount.path, env=environment()).stdout
    values = re.findall(r'^tetherfs_reads_total\{mountpoint="([^"]*)"\} (\d+)$', text, re.MULTILINE)
    return int(dict(values)[mount.path])


@pytest.mark.parametrize("ttl", [600, 0])
def test_a_file_read_again_does_not_reach_the_driver(server, filesystem, content, ttl):
    content.write("f", DATA)
    with Mount(server, filesystem, "--metadata-ttl", ttl) as mount:
        assert read(mount / "f") == DATA
        assert reads(mount) > 0

        def nothing_is_asked():
            before = reads(mount)
            check(["cmp", mount / "f", mount / "f"])
            assert read(mount / "f") == DATA
            return reads(mount) == before

        # Not each time where a test that runs beside this one has the kernel drop its pages.
        poll(nothing_is_asked, what="a file that is read again from memory")


def test_a_file_that_is_another_one_reaches_the_driver(server, filesystem, content):
    content.write("f", DATA)
    with Mount(server, filesystem, "--metadata-ttl", 0) as mount:
        assert read(mount / "f") == DATA
        before = reads(mount)
        content.write("f", DATA[1:])
        assert read(mount / "f") == DATA[1:]
        assert reads(mount) > before


def test_the_kernel_asks_for_a_mebibyte_at_once(server, filesystem, content):
    content.write("f", DATA)

    def count():
        with Mount(server, filesystem) as mount:
            check(["sh", "-c", f"cat {mount.path}/f > /dev/null"])
            return reads(mount)

    # Its first ones are shorter. Where another test has the kernel drop its pages meanwhile, it asks for them again.
    poll(lambda: count() <= 32 + 8, what="requests of a mebibyte")


def test_directories_come_with_the_listing_that_they_are_in(server, filesystem, content):
    for index in range(100):
        content.mkdir(f"d/{index}")
    with Mount(server, filesystem) as mount:
        def all_are_known():
            drop_caches()
            assert len(os.listdir(mount / "d")) == 100
            return mount.known_names >= 100

        # Not at once where a test that runs beside this one has the kernel forget names, too.
        poll(all_are_known, what="the names of all")


def test_a_slow_lookup_does_not_hold_up_others_in_the_same_directory(deployed, request):
    filesystem = deployed.create_filesystem(request.node.name)
    deployed.content(filesystem).write("d/other", b"12")
    with (
        Mount(deployed, filesystem, "--metadata-ttl", 0, "--writes", "write-back") as mount,
        concurrent.futures.ThreadPoolExecutor(1) as pool,
    ):
        # What waits to be uploaded is there, whatever a listing says.
        deployed.faults.add("begin", faultplan.stall(), times=None)
        write(mount / "d/new", b"123")
        drop_caches(2)
        rule = deployed.faults.add("list", faultplan.stall(), path="d", times=None)
        slow = pool.submit(os.stat, mount / "d/other")
        rule.wait()
        assert os.stat(mount / "d/new").st_size == 3
        assert not slow.done()
        deployed.faults.clear()
        assert slow.result(60).st_size == 2
