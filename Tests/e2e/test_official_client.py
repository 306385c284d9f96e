"""The service's own client for Python against tetherfs-server, while the driver has the same filesystem mounted."""

import json
import os
import pathlib
import subprocess
import sys
import uuid

import pytest

from mountkit import Mount, read, write
from servercalls import Calls, pattern

MIB = 1 << 20
# The client's parts are of 8 MiB, five at a time.
SIZES = [1, 1 << 10, MIB + 1, 8 * MIB, 8 * MIB + 1, 100 * MIB]


class Client:
    """The official client on one filesystem, by its name."""

    def __init__(self, server, filesystem):
        self.server, self.filesystem = server, filesystem

    def __call__(self, call, *arguments):
        """Makes a call that must succeed, and returns what the client returned."""
        script = pathlib.Path(__file__).with_name("officialclient.py")
        result = subprocess.run(
            [sys.executable, script, self.server.url, call, *map(str, arguments)],
            env={**os.environ, "ET_ENGINE_API_KEY": self.server.api_key},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
        )
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    def upload(self, data, remote, folder):
        (folder / "local").write_bytes(data)
        self("upload", self.filesystem, folder / "local", remote)

    def download(self, remote, folder):
        self("download", self.filesystem, remote, folder / "downloaded")
        return (folder / "downloaded").read_bytes()


@pytest.fixture
def client(our_server):
    """The client, with a filesystem that it has created."""
    client = Client(our_server, f"by the client {uuid.uuid4()}")
    client.created = client("create", client.filesystem)
    return client


@pytest.fixture
def mount(our_server, client):
    """That filesystem mounted, with nothing believed for longer than a moment."""
    with Mount(our_server, client.filesystem, "--metadata-ttl", 0) as mount:
        yield mount


def test_the_client_finds_the_filesystem_that_it_created(client):
    assert client.created["filesystem_name"] == client.filesystem
    assert client.created in client("list")


@pytest.mark.parametrize("size", SIZES)
def test_the_client_gets_back_from_the_server_what_it_uploaded(our_server, client, tmp_path, size):
    data = pattern(size)
    client.upload(data, "file", tmp_path)
    assert Calls(our_server, client.created["filesystem_id"]).content("file") == data
    assert client.download("file", tmp_path) == data


@pytest.mark.parametrize("size", SIZES)
def test_what_the_client_uploads_is_read_on_the_mount(client, mount, tmp_path, size):
    data = pattern(size)
    client.upload(data, "file", tmp_path)
    assert os.listdir(mount.path) == ["file"]
    assert os.stat(mount / "file").st_size == size
    assert read(mount / "file") == data


@pytest.mark.parametrize("size", SIZES)
def test_what_is_written_on_the_mount_is_downloaded_by_the_client(client, mount, tmp_path, size):
    data = pattern(size)
    write(mount / "file", data)
    assert client("ls", client.filesystem) == {"directories": [], "files": ["file"]}
    assert client.download("file", tmp_path) == data


def test_a_file_that_the_client_replaces_is_read_anew_on_the_mount(client, mount, tmp_path):
    write(mount / "file", pattern(3 * MIB))
    assert read(mount / "file") == pattern(3 * MIB)
    for size in (5 * MIB, 17):
        client.upload(pattern(size, 7), "file", tmp_path)
        assert os.stat(mount / "file").st_size == size
        assert read(mount / "file") == pattern(size, 7)


def test_directories_of_either_side_are_seen_and_used_by_the_other(client, mount, tmp_path):
    client("mkdir", client.filesystem, "theirs")
    os.mkdir(mount / "ours")
    assert sorted(os.listdir(mount.path)) == ["ours", "theirs"]
    assert client("ls", client.filesystem) == {"directories": ["ours", "theirs"], "files": []}
    write(mount / "theirs/a", b"from the mount")
    client.upload(b"from the client", "ours/b", tmp_path)
    assert client("ls", client.filesystem, "theirs") == {"directories": [], "files": ["a"]}
    assert client.download("theirs/a", tmp_path) == b"from the mount"
    assert os.listdir(mount / "ours") == ["b"]
    assert read(mount / "ours/b") == b"from the client"


def test_what_either_side_deletes_is_gone_for_the_other(client, mount, tmp_path):
    client.upload(b"a", "a", tmp_path)
    write(mount / "b", b"b")
    assert read(mount / "a") == b"a"
    client("delete", client.filesystem, "b")
    assert not os.path.exists(mount / "b")
    os.unlink(mount / "a")
    assert client("ls", client.filesystem) == {"directories": [], "files": []}
    assert os.listdir(mount.path) == []


@pytest.mark.parametrize("name", ["two words", "ünï,côdé=漢字", "a+b&c%41?x#y;z@$'\"!*()[]{}|^~`", "-"])
def test_a_name_is_the_same_on_both_sides(client, mount, tmp_path, name):
    """But for what the client itself does not escape: it puts names into URLs as they are."""
    write(mount / name, b"from the mount")
    assert client("ls", client.filesystem)["files"] == [name]
    if not set(name) & set("%?#"):
        assert client.download(name, tmp_path) == b"from the mount"
        client.upload(b"from the client", name, tmp_path)
        assert os.listdir(mount.path) == [name]
        assert read(mount / name) == b"from the client"
