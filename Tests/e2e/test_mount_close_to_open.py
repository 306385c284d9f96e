"""Two mounts of one filesystem: what was closed on the one is what is opened on the other, whole, and never a mix."""

import concurrent.futures
import contextlib
import os

import pytest

from mountkit import ONE_SERVER, Mount, counting, read, write
from servercalls import pattern
from serverkit import poll

SIZES = [300_000, 10, 70_000, 1_000_000, 0, 300_001]


def version(number):
    """The number-th content of a file: no two have a size or a byte at its place in common."""
    return pattern(SIZES[number % len(SIZES)] + 3 * number, start=5 * number)


@pytest.fixture
def mounts(server, filesystem):
    """Makes two mounts, with a cache directory each."""
    @contextlib.contextmanager
    def mounts(*options):
        with Mount(server, filesystem, *options) as one, Mount(server, filesystem, *options) as two:
            yield one, two
    return mounts


def test_without_a_time_to_live_the_next_open_shows_what_was_closed_elsewhere(mounts):
    with mounts("--metadata-ttl", 0) as (one, two):
        for number in range(12):
            writer, reader = (one, two) if number % 2 else (two, one)
            write(writer / "f", version(number))
            assert read(reader / "f") == version(number)
            assert os.stat(reader / "f").st_size == len(version(number))


@ONE_SERVER
def test_with_the_default_time_to_live_what_was_closed_elsewhere_is_seen_after_it(mounts):
    with mounts() as (one, two):
        old, new = version(0), version(1)
        write(one / "f", old)
        assert read(two / "f") == old
        write(one / "f", new)
        # The default is 10 seconds; until then the old version may be seen, or an error, but no mix of the two.
        seen = []

        def look():
            with contextlib.suppress(OSError):
                seen.append(read(two / "f"))
            return seen and seen[-1] == new
        poll(look, what="the new version", timeout=30)
        assert all(data in (old, new) for data in seen)


def test_without_a_time_to_live_a_path_costs_its_listings_and_its_sizes(server, filesystem, content):
    content.write("d/f", pattern(1000))
    with Mount(server, filesystem, "--metadata-ttl", 0) as mount:
        with counting(server) as seen:
            os.stat(mount / "d/f")
        assert seen.calls == {"list": 2, "size": 1}
        with counting(server) as seen:
            os.close(os.open(mount / "d/f", os.O_RDONLY))
        assert seen.calls["list"] == 2 and seen.calls["size"] == 2


def test_without_a_time_to_live_reads_of_an_open_file_do_not_each_ask_for_its_size(server, filesystem, content):
    content.write("f", pattern(400_000))
    with Mount(server, filesystem, "--metadata-ttl", 0) as mount:
        descriptor = os.open(mount / "f", os.O_RDONLY)
        try:
            with counting(server) as seen:
                for offset in range(0, 400_000, 4000):
                    assert os.pread(descriptor, 4000, offset) == pattern(4000, start=offset)
        finally:
            os.close(descriptor)
        # One a second; each would be 100.
        assert seen.calls["size"] < 50


def test_without_a_time_to_live_who_reads_on_at_the_end_sees_what_was_added_elsewhere(server, filesystem, content):
    content.write("f", pattern(1000))
    with Mount(server, filesystem, "--metadata-ttl", 0) as mount:
        descriptor = os.open(mount / "f", os.O_RDONLY)
        try:
            assert os.read(descriptor, 5000) == pattern(1000)
            content.write("f", pattern(1500))
            poll(lambda: os.read(descriptor, 5000) == pattern(500, start=1000), what="the bytes that were added")
        finally:
            os.close(descriptor)


def test_what_is_open_already_shows_the_other_version_whole_once_it_is_opened_anew(mounts):
    with mounts("--metadata-ttl", 0) as (one, two):
        write(one / "f", version(0))
        descriptor = os.open(two / "f", os.O_RDONLY)
        assert os.pread(descriptor, 100, 0) == version(0)[:100]
        write(one / "f", version(3))
        assert read(two / "f") == version(3)
        # Both handles show what was opened last.
        assert os.pread(descriptor, 100, 200_000) == version(3)[200_000:200_100]
        os.close(descriptor)


def test_a_version_of_the_same_size_is_seen_where_blocks_are_believed_for_no_time(mounts):
    with mounts("--metadata-ttl", 0, "--block-ttl", 0) as (one, two):
        for start in range(6):
            write(one / "f", pattern(200_000, start=start))
            assert read(two / "f") == pattern(200_000, start=start)


def test_blocks_of_a_size_that_is_past_are_not_read_whatever_is_kept(mounts):
    with mounts("--metadata-ttl", 0) as (one, two):
        write(one / "f", version(3))
        assert read(two / "f") == version(3)
        for number in (0, 2, 5):
            write(one / "f", version(number))
            descriptor = os.open(two / "f", os.O_RDONLY)
            try:
                size = len(version(number))
                for offset in range(0, size, 50_000):
                    assert os.pread(descriptor, 5000, offset) == version(number)[offset:offset + 5000]
                assert os.pread(descriptor, 5000, size) == b""
            finally:
                os.close(descriptor)


def test_names_made_moved_and_taken_on_one_mount_are_so_on_the_other(mounts):
    with mounts("--metadata-ttl", 0) as (one, two):
        os.mkdir(one / "d")
        write(one / "d/f", b"hello")
        assert os.listdir(two / "d") == ["f"] and read(two / "d/f") == b"hello"
        os.rename(two / "d/f", two / "d/g")
        assert os.listdir(one / "d") == ["g"] and not os.path.exists(one / "d/f")
        os.rename(one / "d", one / "e")
        assert os.listdir(two.path) == ["e"] and read(two / "e/g") == b"hello"
        os.unlink(two / "e/g")
        os.rmdir(one / "e")
        assert os.listdir(two.path) == []


def test_of_many_writers_on_two_mounts_each_version_is_seen_whole(content, mounts):
    """Whoever completes last has the file: what one open reads, anywhere, is one version, and nothing else is left."""
    versions = [pattern(20_000 + 1000 * number, start=number) for number in range(16)]
    content.write("f", versions[0])
    with mounts("--metadata-ttl", 0) as (one, two), concurrent.futures.ThreadPoolExecutor(6) as pool:
        def save(number):
            # With a name of its own that is then renamed: the file is never empty for who reads it.
            mount = (one, two)[number % 2]
            write(mount / f"f.{number}", versions[number])
            os.rename(mount / f"f.{number}", mount / "f")

        def look(mount):
            # A single read: between two, another open could let this one see a newer version.
            seen = []
            for _ in range(15):
                with contextlib.suppress(OSError):
                    descriptor = os.open(mount / "f", os.O_RDONLY)
                    try:
                        seen.append(os.pread(descriptor, 100_000, 0))
                    finally:
                        os.close(descriptor)
            return seen

        looked = [pool.submit(look, mount) for mount in (one, two)]
        saved = [pool.submit(save, number) for number in range(1, 16)]
        for future in saved:
            future.result(60)
        for future in looked:
            for got in future.result(60):
                # Replaced between the size that the kernel asks for and the open, a longer one is seen up to that size.
                assert any(data.startswith(got) for data in versions)
        assert list(content.tree()) == ["f"] and content.read("f") in versions
        assert read(one / "f") == read(two / "f") == content.read("f")
