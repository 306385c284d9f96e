"""How the server is known and how it knows us: authorities, client certificates, `--insecure`."""

import pytest

from clikit import MOUNT_FAILURE, environment, fails, private, tetherfs
from mountkit import Mount, read, write
from nginxkit import Nginx
from serverkit import Server


@pytest.fixture(scope="module")
def server():
    with Server() as server:
        server.create_filesystem("data")
        yield server


@pytest.fixture(scope="module")
def proxy(server, certificate):
    with Nginx(server, certificate) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def strict(server, certificate, client_certificate):
    """A proxy that lets in who shows the client certificate."""
    with Nginx(server, certificate, clients=client_certificate[0]) as proxy:
        yield proxy


def filesystems(proxy, *flags, **variables):
    return tetherfs("filesystems", "list", *flags, env={**environment(proxy), **variables})


def works(result):
    assert (result.returncode, result.stderr) == (0, "") and "data" in result.stdout, result


def requests(proxy, call):
    """What a call returns, and how many requests it made."""
    before = len(proxy.entries())
    return call(), len(proxy.entries()) - before


# Authorities.


def test_a_certificate_that_no_authority_of_the_system_gave_is_refused_before_anything_is_sent(proxy, tmp_path):
    result, count = requests(proxy, lambda: filesystems(proxy))
    fails(result, "cannot reach", proxy.url, "certificate")
    assert count == 0
    (tmp_path / "mnt").mkdir()
    with_mount = ["mount", "data", tmp_path / "mnt", "--cache-dir", tmp_path / "cache"]
    fails(tetherfs(*with_mount, server=proxy), "cannot reach", "certificate", status=MOUNT_FAILURE)


def test_an_authority_of_ones_own_is_named_by_a_flag_a_variable_or_a_profile(proxy, certificate, tmp_path):
    works(filesystems(proxy, "--ca-file", certificate[0]))
    works(filesystems(proxy, TETHERFS_CA_FILE=str(certificate[0])))
    (tmp_path / "tetherfs").mkdir()
    config = private(tmp_path / "tetherfs" / "config.toml")
    config.write_text(f'[profile.default]\nca-file = "{certificate[0]}"\n')
    works(filesystems(proxy, XDG_CONFIG_HOME=str(tmp_path)))


def test_a_certificate_of_another_host_is_refused(server, other_certificate):
    with Nginx(server, other_certificate) as proxy:
        fails(filesystems(proxy, "--ca-file", other_certificate[0]), "cannot reach", "certificate")
        assert proxy.entries() == []


@pytest.mark.parametrize("flag, what", [
    ("--ca-file", "the authorities' file"), ("--client-certificate", "the client certificate"),
    ("--client-key", "the client key"),
])
def test_a_file_that_cannot_be_read_is_named(proxy, certificate, client_certificate, tmp_path, flag, what):
    files = {"--ca-file": certificate[0], "--client-certificate": client_certificate[0],
             "--client-key": client_certificate[1]}
    for path, words in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        flags = [str(part) for pair in {**files, flag: path}.items() for part in pair]
        fails(filesystems(proxy, *flags), f"{what} {path} cannot be read: {words}")
        fails(filesystems(proxy, "--client-key", client_certificate[1]), "--client-key", "--client-certificate")


@pytest.mark.parametrize("flag", ["--ca-file", "--client-certificate"])
def test_a_file_that_is_no_certificate_is_an_error(strict, certificate, tmp_path, flag):
    bad = private(tmp_path / "bad.pem")
    bad.write_text("no certificate")
    flags = [flag, bad] if flag == "--ca-file" else ["--ca-file", certificate[0], flag, bad]
    fails(filesystems(strict, *flags), str(bad))


# Client certificates.


def test_a_server_that_wants_a_client_certificate_gets_it(strict, certificate, client_certificate, tmp_path):
    flags = ["--ca-file", certificate[0]]
    fails(filesystems(strict, *flags), "certificate")
    both = ["--client-certificate", client_certificate[0], "--client-key", client_certificate[1]]
    works(filesystems(strict, *flags, *both))
    works(filesystems(
        strict, *flags, TETHERFS_CLIENT_CERTIFICATE=str(client_certificate[0]),
        TETHERFS_CLIENT_KEY=str(client_certificate[1]),
    ))
    whole = private(tmp_path / "whole.pem")
    whole.write_text(client_certificate[0].read_text() + client_certificate[1].read_text())
    works(filesystems(strict, *flags, "--client-certificate", whole))
    whole.chmod(0o640)
    fails(filesystems(strict, *flags, "--client-certificate", whole), "run: chmod 600", str(whole))


def test_another_clients_certificate_is_refused(strict, certificate, other_certificate):
    flags = ["--client-certificate", other_certificate[0], "--client-key", other_certificate[1]]
    fails(filesystems(strict, "--ca-file", certificate[0], *flags), "certificate")


def test_a_client_key_that_others_can_read_is_refused_with_what_to_run(strict, certificate, client_certificate, tmp_path):
    key = private(tmp_path / "key.pem")
    key.write_bytes(client_certificate[1].read_bytes())
    flags = ["--ca-file", certificate[0], "--client-certificate", client_certificate[0], "--client-key", key]
    key.chmod(0o604)
    fails(filesystems(strict, *flags), f"the client key {key} can be read by others; run: chmod 600 {key}")
    key.chmod(0o600)
    works(filesystems(strict, *flags))


def test_a_mount_shows_its_certificate_with_every_request(strict, certificate, client_certificate):
    flags = ["--ca-file", certificate[0], "-o",
             f"client_certificate={client_certificate[0]},client_key={client_certificate[1]}"]
    with Mount(strict, "data", *flags) as mount:
        write(mount / "f", b"data" * 100_000)
        assert read(mount / "f") == b"data" * 100_000


# --insecure.


def test_insecure_takes_any_certificate_and_says_what_that_means(proxy, server, other_certificate):
    result = filesystems(proxy, "--insecure")
    assert result.returncode == 0 and "data" in result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith("tetherfs: warning: --insecure: ") and "can read the API key" in line
    with Nginx(server, other_certificate) as proxy:
        assert filesystems(proxy, "--insecure").returncode == 0


def test_an_insecure_mount_has_the_warning_in_its_log_and_on_stderr(proxy):
    mount = Mount(proxy, "data", "-o", "insecure")
    mount.watchdog.start()
    try:
        result = mount.mount()
        assert result.returncode == 0 and "warning: -o insecure: " in result.stderr
        assert "warning: -o insecure: " in mount.log
        assert mount.unmount().returncode == 0
    finally:
        mount.take_away()
