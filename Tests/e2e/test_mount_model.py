"""Random operations on a mount against a model: results, errors and bytes must be the same. See modelkit."""

import concurrent.futures
import contextlib
import os
import random
import sys
import threading

import pytest

import faultplan
import modelkit
import stripes
from contentmodel import Contents
from modelkit import Difference, drop_caches, must_be, new_seed
from mountkit import MODES, Mount, check, without_uploads, write
from namespacemodel import CHANGING, Names, tree
from servercalls import Calls

TESTERS = 4


@contextlib.contextmanager
def forgetting():
    """Lets the kernel forget its caches now and then while the block runs."""
    done = threading.Event()

    def forget():
        kind = 0
        while not done.wait(0.5):
            kind = kind % 3 + 1
            drop_caches(kind)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        forgetting = pool.submit(forget)
        try:
            yield
        finally:
            done.set()
        forgetting.result()


def unmount(mount):
    """Unmounts, and checks that nothing waits to be uploaded then, or was set aside."""
    result = mount.unmount()
    must_be((result.returncode, result.stderr), (0, ""), "unmount")
    must_be([path.name for path in mount.cache_dir.rglob("*dirty-*")], [], "what is left to be uploaded")


def remounting(mount):
    """What is done between rounds: from the middle on, caches are dropped or the mount is made anew."""
    def between(number):
        if number >= 5:
            drop_caches()
        if number > 5:
            unmount(mount)
            result = mount.mount()
            must_be((result.returncode, result.stderr), (0, ""), "mount")
    return between


def pairs(folder, local, count=TESTERS, **options):
    """Testers of names, each in a directory of its own on the mount and on the local disk."""
    for index in range(count):
        os.mkdir(f"{folder}/{index}")
        os.mkdir(f"{local}/{index}")
    return [Names(f"{folder}/{index}", f"{local}/{index}", **options) for index in range(count)]


def same_everywhere(mount, expected):
    """Asserts that there is just this tree: on the mount, for the server's API, and for another mount."""
    assert tree(mount.path) == expected
    unmount(mount)
    calls = Calls(mount.server, mount.filesystem)
    for name, data in expected.items():
        if data is not None:
            assert calls.content(name) == data
    assert without_uploads(mount.server.content(mount.filesystem)) == expected
    with Mount(mount.server, mount.filesystem) as other:
        assert tree(other.path) == expected


# Many operations on tetherfs-server, a process of its own: some wait for the mount inside of Python.

@pytest.fixture
def mount(our_server, request, mode):
    """A mount of a new filesystem in one of the modes of writing, for as long as many operations take."""
    filesystem = our_server.create_filesystem(request.node.name)
    with Mount(our_server, filesystem, *mode, limit=900) as mount:
        yield mount


@MODES
def test_100000_random_operations_on_contents_come_to_what_a_model_in_memory_has(mount):
    testers = [Contents(mount / index) for index in range(TESTERS)]
    with forgetting():
        modelkit.run(testers, new_seed(), modelkit.OPERATIONS, between=remounting(mount))
    expected = {str(index): None for index in range(TESTERS)}
    for index, tester in enumerate(testers):
        expected |= {f"{index}/{name}": data for name, data in tester.expected().items()}
    same_everywhere(mount, expected)


@MODES
def test_100000_random_operations_on_names_do_what_they_do_on_a_local_disk(mount, tmp_path):
    testers = pairs(mount.path, tmp_path, modes=False)
    modelkit.run(testers, new_seed(), modelkit.OPERATIONS, between=remounting(mount))
    same_everywhere(mount, tree(tmp_path))


@MODES
def test_processes_that_change_parts_of_one_file_at_once_do_not_disturb_one_another(mount):
    seed, count = new_seed(), 4
    path = mount / "f"
    write(path, bytes(stripes.SIZE))
    command = [sys.executable, stripes.__file__, path, seed, count]
    with forgetting(), concurrent.futures.ThreadPoolExecutor(count) as pool:
        workers = [pool.submit(check, [*command, index, 3000], text=False) for index in range(count)]
        parts = [worker.result() for worker in workers]
    same_everywhere(mount, {"f": bytes(map(sum, zip(*parts)))})


# Fewer, on both servers and in other circumstances.

@pytest.mark.parametrize("ttl", [0, 0.05, 600])
def test_random_operations_do_what_they_do_on_a_local_disk(server, filesystem, content, tmp_path, ttl):
    def compare(_):
        must_be(without_uploads(content), tree(tmp_path), "on the server")

    with Mount(server, filesystem, "--metadata-ttl", ttl) as mount:
        modelkit.run(pairs(mount.path, tmp_path, 1, weights=CHANGING), new_seed(), 1000, 20, compare)


@pytest.mark.parametrize("ttl", [0, 0.05, 600])
def test_random_operations_of_many_at_once_do_not_disturb_one_another(server, filesystem, content, tmp_path, ttl):
    with Mount(server, filesystem, "--metadata-ttl", ttl) as mount, forgetting():
        modelkit.run(pairs(mount.path, tmp_path, 6, weights=CHANGING), new_seed(), 1800, 1)
        assert tree(mount.path) == tree(tmp_path) == without_uploads(content)


def test_random_operations_through_two_mounts_are_seen_by_both_at_once(server, filesystem, content, tmp_path):
    options = "--metadata-ttl", 0
    with Mount(server, filesystem, *options) as one, Mount(server, filesystem, *options) as two:
        modelkit.run([Names(one.path, tmp_path, others=[two.path], modes=False)], new_seed(), 300, 1)
    assert without_uploads(content) == tree(tmp_path)


def test_a_service_that_fails_now_and_then_is_not_noticed(deployed, request, tmp_path):
    filesystem = deployed.create_filesystem(request.node.name)
    seed = new_seed()
    chance = random.Random(seed)
    refusals = [faultplan.status(500), faultplan.status(503), faultplan.status(429), faultplan.reset()]
    losses = [faultplan.lost(), faultplan.acted_status(502), faultplan.acted_status(504), faultplan.cut(1)]

    def sometimes(exchange):
        if chance.random() < 0.9:
            exchange.answer()
        else:
            # An upload whose id was lost leaves its staging name in sight, as anybody's would be.
            chance.choice(refusals if exchange.call == "begin" else refusals + losses)(exchange)

    with Mount(deployed, filesystem, "--retries", 9, "--metadata-ttl", 0.05) as mount:
        rule = deployed.faults.add("any", sometimes, times=None)
        modelkit.run(pairs(mount.path, tmp_path, 1, weights=CHANGING), seed, 600, 1)
        assert rule.hits > 20
        assert without_uploads(deployed.content(filesystem)) == tree(tmp_path)


# The testers themselves: they must be able to fail.

def test_a_byte_that_is_not_the_models_is_found(our_server, request):
    filesystem = our_server.create_filesystem(request.node.name)
    content = our_server.content(filesystem)
    with Mount(our_server, filesystem) as mount:
        tester = Contents(mount / "d")
        tester.do_open(0, "a", os.O_WRONLY, os.O_CREAT)
        tester.do_pwrite(0, 0, 200_000, 7)
        tester.settle()
        mount.unmount()
        content.write("d/a", content.read("d/a")[:150_000] + b"\0" + content.read("d/a")[150_001:])
        mount.mount()
        with pytest.raises(Difference, match="the first that differs is 150000"):
            tester.settle()


def test_a_difference_is_shown_with_its_seed_and_the_few_operations_that_it_takes():
    class Breaking:
        """Fails at a 7 that comes after a 3."""

        root, has_three = "", False

        def choose(self, chance):
            return ("number", chance.randrange(100))

        def apply(self, operation):
            self.has_three |= operation[1] == 3
            if operation[1] == 7 and self.has_three:
                raise Difference("broken")

        def settle(self):
            pass

        def again(self, _):
            return Breaking()

    with pytest.raises(Difference) as caught:
        modelkit.run([Breaking()], 1, 10_000)
    text = str(caught.value)
    assert "TETHERFS_TEST_SEED=1, " in text and "2 operations come to: broken" in text
    assert text.endswith("('number', 3)\n('number', 7)")
