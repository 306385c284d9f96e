"""`tetherfs doctor`: what would keep a mount from working, each told with what to do."""

import email.utils
import json
import os
import shutil
import subprocess
import time

import pytest

import faultplan
from clikit import (
    ScriptedServer, answer, as_user, closed_port, environment, needs_root, open_directory, private, tetherfs,
)
from nginxkit import Nginx


@pytest.fixture
def server(our_server):
    """tetherfs-server, but for what servers do differently."""
    return our_server


def doctor(*options, server=None, prefix=(), **env):
    """The findings of `tetherfs doctor --json` by what they are about, and its exit status."""
    with open_directory() as cache:
        # For whoever `prefix` makes the caller.
        os.chmod(cache, 0o777)
        env = environment(server, **{"XDG_CONFIG_HOME": str(cache), **env})
        result = tetherfs("doctor", "--json", "--cache-dir", cache / "cache", *options, env=env, prefix=prefix)
    assert result.stderr == "", result
    return {finding["check"]: finding for finding in json.loads(result.stdout)}, result.returncode


def errors(findings):
    return [check for check, finding in findings.items() if finding["level"] == "error"]


def test_all_is_well(server, filesystem):
    found, status = doctor(server=server)
    assert (errors(found), status) == ([], 0)
    order = ["/dev/fuse", "fusermount3", "/etc/fuse.conf", "cache directory", "cache disk", "DNS", "connection", "key",
             "clock", "latency", "server"]
    assert list(found) == order
    assert found["connection"]["text"] == "answers over HTTP/1.1, without TLS"
    assert found["key"]["text"].startswith("accepted (from ET_ENGINE_API_KEY); ")
    assert server.api_key not in json.dumps(found)


def test_for_a_person_each_is_a_line_without_colours_where_nobody_watches(server, filesystem, tmp_path):
    result = tetherfs("doctor", "--cache-dir", tmp_path, server=server)
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert len(lines) == 12 and all(line[:8] in ("ok      ", "warning ", "error   ") for line in lines)
    assert "\x1b" not in result.stdout
    assert any("cache writes: fsync" in line for line in lines) and os.listdir(tmp_path) == []


@pytest.mark.parametrize("server", ["our_server", "deployed"])
def test_it_says_what_a_server_does_otherwise_than_another(request, server):
    server = request.getfixturevalue(server)
    server.create_filesystem(f"doctor {time.time_ns()}")
    found, status = doctor(server=server)
    assert status == 0
    is_deployed = "lists a directory that does not exist as an empty one" in found["server"]["text"]
    assert is_deployed == hasattr(server, "faults")


def test_a_server_with_http2_and_a_certificate_of_its_own_is_told(server, certificate, filesystem):
    with Nginx(server, certificate) as proxy:
        found, status = doctor("--ca-file", certificate[0], server=server, endpoint=proxy.url)
        assert status == 0
        assert found["connection"]["text"] == f"answers over HTTP/2; certificate accepted, by {certificate[0]}"
        found, status = doctor(server=server, endpoint=proxy.url)
        assert (errors(found), status) == (["TLS"], 1)
        assert "certificate is not accepted" in found["TLS"]["text"] and "--ca-file" in found["TLS"]["advice"]


def test_a_certificate_that_ends_within_two_weeks_is_warned_of(server, certificate, filesystem):
    with Nginx(server, certificate) as proxy:
        for options in ["--ca-file", certificate[0]], ["--insecure"]:
            found, status = doctor(*options, server=server, endpoint=proxy.url)
            assert (errors(found), status) == ([], 0)
            assert found["certificate"]["level"] == "warning" and "renew it" in found["certificate"]["advice"]
            assert found["certificate"]["text"] in texts(certificate, ["1 day", "2 days"])
    assert found["connection"]["text"] == "answers over HTTP/2; certificate not checked"


@pytest.mark.parametrize("http2", [True, False])
def test_the_end_of_a_certificate_is_told(server, lasting_certificate, filesystem, http2):
    with Nginx(server, lasting_certificate, http2=http2) as proxy:
        found, _ = doctor("--ca-file", lasting_certificate[0], server=server, endpoint=proxy.url)
    assert found["certificate"]["level"] == "ok"
    assert found["certificate"]["text"] in texts(lasting_certificate, ["29 days", "30 days"])


def texts(certificate, left):
    """What is told of a certificate's end, as openssl has it, while one of these times is left."""
    command = ["openssl", "x509", "-noout", "-enddate", "-dateopt", "iso_8601", "-in", certificate[0]]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    end = text.strip().removeprefix("notAfter=").replace(" ", "T")
    return [f"ends in {time}, at {end}" for time in left]


def test_a_key_that_is_refused(server):
    found, status = doctor(endpoint=server.url, api_key="no-such-key-1234")
    assert (errors(found), status) == (["key"], 1)
    assert found["key"]["text"] == "refused (from ET_ENGINE_API_KEY)"
    assert "no-such-key" not in json.dumps(found)


def test_no_key_at_all():
    found, status = doctor(endpoint="http://127.0.0.1:1/v1")
    assert (errors(found), status) == (["configuration"], 1)
    assert "no API key" in found["configuration"]["text"]


def test_a_path_that_is_not_the_services(server):
    found, status = doctor(server=server, endpoint=server.url + "x")
    assert (errors(found), status) == (["endpoint"], 1)
    assert "is the endpoint's path right" in found["endpoint"]["advice"]


def test_a_page_in_the_services_place():
    with ScriptedServer(lambda *_: answer(200, "<html>Please log in</html>")) as server:
        found, status = doctor(endpoint=server.url, api_key="some-key-1234")
    assert (errors(found), status) == (["endpoint"], 1)
    assert "an HTML page" in found["endpoint"]["text"]


def test_a_server_that_is_down():
    found, status = doctor(endpoint=f"http://127.0.0.1:{closed_port()}/v1", api_key="some-key-1234")
    assert (errors(found), status) == (["connection"], 1)
    assert "is the server up" in found["connection"]["advice"]


def test_a_server_that_says_nothing(deployed):
    deployed.faults.add("filesystems", faultplan.stall(), times=100)
    found, status = doctor("--request-timeout", 1, server=deployed)
    assert (errors(found), status) == (["connection"], 1)
    assert "does not answer in time" in found["connection"]["text"]


@pytest.mark.parametrize("offset, side", [(3600, "behind"), (-3600, "ahead of")])
def test_a_clock_that_is_not_the_servers(offset, side):
    date = email.utils.formatdate(time.time() + offset, usegmt=True)
    with ScriptedServer(lambda *_: answer(200, "[]", f"Date: {date}")) as server:
        found, status = doctor(endpoint=server.url, api_key="some-key-1234")
    assert status == 0 and found["clock"]["level"] == "warning"
    assert f" s {side} the server's" in found["clock"]["text"]
    assert found["key"]["level"] == "warning" and "no filesystem yet" in found["key"]["text"]


def test_a_cache_directory_that_cannot_be_made(server, filesystem):
    found, status = doctor("--cache-dir", "/dev/null/cache", server=server)
    assert (errors(found), status) == (["cache directory"], 1)
    assert "--cache-dir" in found["cache directory"]["advice"]


def test_a_cache_directory_in_memory_and_open_to_others(server, filesystem):
    needs_root("mounts a disk in memory")
    with open_directory() as folder:
        script = 'mount -t tmpfs none "$0" && chmod 777 "$0" && exec "$@"'
        prefix = ["unshare", "-m", "sh", "-c", script, folder]
        found, status = doctor("--cache-dir", folder, server=server, prefix=prefix)
    assert status == 0 and found["cache disk"]["level"] == found["cache directory"]["level"] == "warning"
    assert "tmpfs" in found["cache disk"]["text"] and "lost" in found["cache disk"]["text"]
    assert found["cache directory"]["advice"] == f"chmod 700 {folder}"


def test_a_machine_without_fuse(server, filesystem):
    needs_root("hides /dev/fuse")
    prefix = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /dev && exec "$@"', "sh"]
    found, status = doctor(server=server, prefix=prefix)
    assert (errors(found), status) == (["/dev/fuse"], 1)
    assert "modprobe fuse" in found["/dev/fuse"]["text"]


def test_a_user_who_wants_to_let_others_in_and_may_not(server, filesystem):
    hide = 'mount --bind /dev/null /etc/fuse.conf && exec "$@"'
    prefix = ["unshare", "-m", "sh", "-c", hide, "sh", *as_user()]
    found, status = doctor("--allow-other", server=server, prefix=prefix)
    assert (errors(found), status) == (["/etc/fuse.conf"], 1)
    assert "user_allow_other" in found["/etc/fuse.conf"]["advice"]
    found, status = doctor("-o", "ro,allow_other", server=server, prefix=prefix)
    assert (errors(found), status) == (["/etc/fuse.conf"], 1)
    with open_directory() as folder:
        (folder / "tetherfs").mkdir()
        file = private(folder / "tetherfs" / "config.toml")
        file.write_text("[profile.default]\nallow-other = true\n")
        as_user(folder, folder / "tetherfs", file)
        found, status = doctor(server=server, prefix=prefix, XDG_CONFIG_HOME=str(folder))
        assert (errors(found), status) == (["/etc/fuse.conf"], 1)
    found, status = doctor(server=server, prefix=prefix)
    assert (errors(found), status) == ([], 0)
    found, status = doctor("--allow-other", server=server)
    assert (errors(found), status) == ([], 0), "root needs no such line"


def test_a_fusermount3_that_is_not_setuid_lets_only_root_mount(server, filesystem):
    script = 'chmod 755 "$0" && mount --bind "$0" "$(readlink -f /bin/fusermount3)" && exec "$@"'
    with open_directory() as folder:
        prefix = ["unshare", "-m", "sh", "-c", script, shutil.copy("/bin/fusermount3", folder)]
        found, status = doctor(server=server, prefix=[*prefix, *as_user()])
        assert (errors(found), status) == (["fusermount3"], 1)
        assert "chmod u+s" in found["fusermount3"]["advice"]
        found, status = doctor(server=server, prefix=prefix)
        assert status == 0 and found["fusermount3"]["level"] == "warning"


def test_it_takes_every_option_of_mount(server, filesystem):
    found, status = doctor("--read-only", "--umask", "022", "-o", "ro,metadata_ttl=5", server=server)
    assert (errors(found), status) == ([], 0)


def test_a_configuration_that_makes_no_sense_is_an_error_among_the_findings(server):
    found, status = doctor("--request-timeout", "soon", server=server)
    assert (errors(found), status) == (["configuration"], 1)
    assert "--request-timeout is 'soon'" in found["configuration"]["text"]
    found, status = doctor("--umask", "0999", server=server)
    assert (errors(found), status) == (["configuration"], 1), "what only a mount looks at"
    assert "--umask is '0999'" in found["configuration"]["text"]
    assert found["connection"]["level"] == found["key"]["level"] == "ok", "it looks at the rest"


def test_without_a_home_directory_that_is_told_once_and_the_service_is_looked_at(server):
    result = tetherfs("doctor", env=environment(server, HOME="none"), prefix=as_user())
    assert result.returncode == 1 and result.stdout.count("home directory") == 1, result
    assert "ok connection: " in " ".join(result.stdout.split()), result
