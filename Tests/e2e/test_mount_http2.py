"""A mount over TLS through nginx: HTTP/2 for what is small, connections of their own for what is large."""

import os
import threading

import pytest

from mountkit import Mount, check, read
from nginxkit import Nginx
from servercalls import pattern
from serverkit import poll

MIB = 1 << 20


@pytest.fixture
def proxy(our_server, certificate):
    with Nginx(our_server, certificate) as proxy:
        yield proxy


@pytest.fixture
def stored(our_server, request):
    """A filesystem of our server and what it holds."""
    filesystem = our_server.create_filesystem(request.node.name)
    return filesystem, our_server.content(filesystem)


def test_ls_l_of_500_files_takes_one_connection(proxy, certificate, stored):
    filesystem, content = stored
    for index in range(500):
        content.write(f"d/file-{index:03}", pattern(index + 1))
    with Mount(proxy, filesystem, "--ca-file", certificate[0]) as mount:
        lines = check(["ls", "-l", mount / "d"]).splitlines()[1:]
        assert [int(line.split()[4]) for line in lines] == list(range(1, 501))
    sizes = poll(lambda: found if len(found := proxy.entries("init=true")) >= 500 else None)
    assert len(sizes) == 500
    assert {entry.protocol for entry in sizes} == {"HTTP/2.0"}
    assert len({entry.connection for entry in sizes + proxy.entries("/list/")}) == 1


def test_large_reads_and_parts_have_connections_of_their_own(proxy, certificate, stored):
    filesystem, content = stored
    data = pattern(24 * MIB)
    content.write("big", data)
    with Mount(proxy, filesystem, "--ca-file", certificate[0]) as mount:
        assert read(mount / "big") == data
        assert check(["ls", mount.path]).split() == ["big"]
        check(["cp", mount / "big", mount / "copy"])
    assert content.read("copy") == data
    bulk = [entry for entry in proxy.entries("/files/") if entry.method == "PUT"]
    assert bulk and {entry.protocol for entry in bulk} == {"HTTP/1.1"}
    shared = {entry.connection for entry in proxy.entries() if entry.protocol == "HTTP/2.0"}
    assert len(shared) == 1
    assert not shared & {entry.connection for entry in bulk}


def test_without_http2_small_requests_go_over_the_connections_of_large_ones(our_server, certificate, stored):
    filesystem, content = stored
    data = pattern(3 * MIB)
    content.write("f", data)
    for index in range(20):
        content.write(f"d/file-{index}", pattern(index + 1))
    with Nginx(our_server, certificate, http2=False) as proxy:
        with Mount(proxy, filesystem, "--ca-file", certificate[0]) as mount:
            assert read(mount / "f") == data
            assert [os.stat(mount / f"d/file-{index}").st_size for index in range(20)] == list(range(1, 21))
        # Only the first answer shows what the server speaks.
        first = proxy.entries()[0].connection
        large = {entry.connection for entry in proxy.entries("/files/f$")} - {first}
        small = [entry.connection for entry in proxy.entries("file-")]
        assert len(small) >= 20 and set(small) <= large
        assert {entry.protocol for entry in proxy.entries()} == {"HTTP/1.1"}


def test_a_shared_connection_that_is_dead_fails_one_attempt_and_is_left_alone(proxy, certificate, stored):
    filesystem, content = stored
    for index in range(5):
        content.write(f"d/file-{index}", pattern(index + 1))
    content.write("other/f", b"x")
    options = ["--ca-file", certificate[0], "--request-timeout", 2, "--retries", 1]
    with Mount(proxy, filesystem, *options) as mount:
        assert os.stat(mount / "d/file-0").st_size == 1
        poll(lambda: proxy.entries("file-0"), what="logged answer")
        proxy.freeze_connections()
        assert [os.stat(mount / f"d/file-{index}").st_size for index in range(1, 5)] == [2, 3, 4, 5]
        assert os.listdir(mount / "other") == ["f"]
    assert {entry.protocol for entry in proxy.entries("file-0")} == {"HTTP/2.0"}
    assert {entry.protocol for entry in proxy.entries("file-[1-4]|other")} == {"HTTP/1.1"}


def test_reads_and_stats_survive_a_restart_of_the_proxy(proxy, certificate, stored):
    filesystem, content = stored
    data = pattern(32 * MIB)
    for index in range(200):
        content.write(f"d/file-{index:03}", pattern(index + 1))
    content.write("big", data)
    options = ["--ca-file", certificate[0], "--metadata-ttl", 0, "--retries", 10]
    with Mount(proxy, filesystem, *options) as mount:
        begun = threading.Event()

        def restart():
            begun.wait(60)
            proxy.stop()
            proxy.start()

        thread = threading.Thread(target=restart)
        thread.start()
        with open(mount / "big", "rb", buffering=0) as file:
            parts = [file.read(MIB)]
            begun.set()
            sizes = [os.stat(mount / f"d/file-{index:03}").st_size for index in range(200)]
            while part := file.read(MIB):
                parts.append(part)
        thread.join()
        assert b"".join(parts) == data
        assert sizes == list(range(1, 201))


def test_an_unknown_authority_is_refused(proxy, stored):
    filesystem, _ = stored
    mount = Mount(proxy, filesystem)
    result = mount.mount()
    mount.take_away()
    assert result.returncode != 0 and "certificate" in result.stderr, result.stderr
