"""Directories of many names: what they cost, and what POSIX says of reading them while they change."""

import os
import random

import pytest

from directorystream import Stream
from mountkit import ONE_SERVER, Mount, check, counting, write

COUNT = 100_000


@pytest.fixture
def mount(server, filesystem):
    """A mount that believes what it knows for longer than any test takes."""
    with Mount(server, filesystem, "--metadata-ttl", 600) as mount:
        yield mount


def fill(content, directory, count):
    """Makes that many empty files; returns their names."""
    names = [f"name-{index:06}" for index in range(count)]
    for name in names:
        content.write(f"{directory}/{name}", b"")
    return names


def test_100_000_names_are_listed_once_for_reading_them_from_any_place_and_for_stat(server, content, mount):
    names = fill(content, "d", COUNT)
    os.stat(mount / "d")
    with counting(server) as seen:
        stream = Stream(mount / "d")
        found = []
        while name := stream.read(1):
            found.append((name[0], stream.tell()))
        wanted = {".", "..", *names}
        assert len(found) == len(wanted) and {name for name, _ in found} == wanted
        following = {place: found[index + 1:index + 3] for index, (_, place) in enumerate(found)}
        for name, place in random.sample(found, 300):
            stream.seek(place)
            assert stream.read(2) == [name for name, _ in following[place]], (name, place)
        stream.close()
        assert check(["ls", "-f", mount / "d"]).count("\n") == COUNT + 2
    assert seen.calls == {"list": 1}
    with counting(server) as seen:
        for name in names[::1000]:
            assert os.stat(mount / f"d/{name}").st_size == 0
        assert not os.path.exists(mount / "d/name-")
    assert set(seen.calls) == {"size"}


def test_a_place_near_the_start_keeps_the_meaning_of_all_others(content, mount):
    names = sorted(fill(content, "d", 200))
    stream = Stream(mount / "d")
    places = []
    for count in (1, 1, 50):
        assert len(stream.read(count)) == count
        places.append(stream.tell())
    stream.read()
    for name in names[:10]:
        os.unlink(mount / f"d/{name}")
    # Only rewinddir(3) shows what changed.
    for place in places[:2]:
        stream.seek(place)
        stream.read(1)
        stream.seek(places[2])
        assert stream.read(1) == [names[50]]
    stream.rewind()
    assert stream.read() == [".", "..", *names[10:]]
    stream.close()


@ONE_SERVER
def test_rm_r_takes_a_directory_of_many_names_away(content, mount):
    fill(content, "d", 5000)
    check(["rm", "-r", mount / "d"], timeout=100)
    assert content.tree() == {} and os.listdir(mount.path) == []


def test_names_that_come_and_go_while_a_directory_is_read_neither_repeat_nor_hide_others(content, mount):
    names = fill(content, "d", 3000)
    stream = Stream(mount / "d")
    seen, gone = [], set()
    while batch := stream.read(500):
        seen += batch
        # One that was read, one that was not, and new ones before and behind where the reader is.
        for index in range(10):
            for name in (seen[-1 - index], names[-1 - len(gone)]):
                if name not in gone and name in names:
                    os.unlink(mount / f"d/{name}")
                    gone.add(name)
            for new in (f"a-{len(seen)}-{index}", f"z-{len(seen)}-{index}"):
                write(mount / f"d/{new}", b"new")
    assert len(seen) == len(set(seen))
    assert set(names) - gone <= set(seen)
    stream.rewind()
    again = stream.read()
    stream.close()
    assert len(again) == len(set(again)) and not gone & set(again)
    assert set(again) == {".", "..", *content.names("d")}
