"""Through a proxy, as the environment says: `https_proxy`, `http_proxy`, `no_proxy`."""

import base64

import pytest

from clikit import closed_port, environment, fails, tetherfs
from mountkit import Mount, environment as mount_environment, read, run, write
from nginxkit import Nginx
from proxykit import Proxy
from serverkit import Server, binary


@pytest.fixture(scope="module")
def server():
    with Server() as server:
        server.create_filesystem("data")
        yield server


@pytest.fixture(scope="module")
def secure(server, certificate):
    with Nginx(server, certificate) as proxy:
        yield proxy


@pytest.fixture
def proxy():
    with Proxy() as proxy:
        yield proxy


def filesystems(server, *flags, **variables):
    return tetherfs("filesystems", "list", *flags, env={**environment(server), **variables})


def works(result):
    assert (result.returncode, result.stderr) == (0, "") and "data" in result.stdout, result


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY", "all_proxy"])
def test_https_goes_through_a_tunnel_in_which_the_proxy_sees_nothing(secure, proxy, certificate, variable):
    works(filesystems(secure, "--ca-file", certificate[0], **{variable: f"http://{proxy.address}"}))
    assert proxy.requests == [f"CONNECT 127.0.0.1:{secure.port} HTTP/1.1"]
    assert secure.api_key.encode() not in proxy.data and b"Authorization" not in proxy.data


def test_http_goes_through_the_proxy_of_http(server, proxy):
    works(filesystems(server, http_proxy=f"http://{proxy.address}"))
    assert proxy.requests == [f"GET {server.url}/filesystems HTTP/1.1"]
    works(filesystems(server, https_proxy=f"http://{proxy.address}"))
    assert len(proxy.requests) == 1


@pytest.mark.parametrize("hosts", ["127.0.0.1", "example.org,127.0.0.1", "*"])
def test_hosts_of_no_proxy_are_reached_without_it(secure, proxy, certificate, hosts):
    variables = {"https_proxy": f"http://{proxy.address}", "no_proxy": hosts}
    works(filesystems(secure, "--ca-file", certificate[0], **variables))
    assert proxy.requests == []
    works(filesystems(secure, "--ca-file", certificate[0], **{**variables, "no_proxy": "example.org"}))
    assert len(proxy.requests) == 1


def test_a_proxy_that_cannot_be_reached_is_told(secure, certificate):
    port = closed_port()
    result = filesystems(secure, "--ca-file", certificate[0], "--retries", "0", https_proxy=f"http://127.0.0.1:{port}")
    fails(result, "cannot reach", secure.url, str(port))


def test_a_proxy_with_a_password_gets_it_and_nobody_else_does(secure, certificate):
    expected = "Basic " + base64.b64encode(b"joe:pass-word").decode()
    with Proxy(credentials=expected) as proxy:
        flags = ["--ca-file", certificate[0], "--log-level", "trace"]
        result = filesystems(secure, *flags, https_proxy=f"http://joe:pass-word@{proxy.address}")
        assert result.returncode == 0 and "data" in result.stdout
        assert "pass-word" not in result.stderr
        result = filesystems(secure, *flags, "--retries", "0", https_proxy=f"http://joe:wrong-word@{proxy.address}")
        assert result.returncode == 1 and "407" in result.stderr and "wrong-word" not in result.stderr


def test_a_mount_goes_through_the_proxy(secure, proxy, certificate):
    mount = Mount(secure, "data", "--ca-file", certificate[0])
    mount.watchdog.start()
    try:
        env = mount_environment(https_proxy=f"http://{proxy.address}", no_proxy="")
        assert run([binary("tetherfs"), *mount.arguments], env=env).returncode == 0
        write(mount / "f", b"data" * 1_000_000)
        assert read(mount / "f") == b"data" * 1_000_000
        assert mount.unmount().returncode == 0
        assert set(proxy.requests) == {f"CONNECT 127.0.0.1:{secure.port} HTTP/1.1"}
        assert secure.entries("/f")
    finally:
        mount.take_away()
