"""`tetherfs stats` and `--metrics-listen`: figures as Prometheus takes them, served to this machine alone."""

import os
import re
import signal
import socket
import stat

import pytest

from clikit import MOUNT_FAILURE, environment, fails, tetherfs
from mountkit import Mount, check, read, write
from servercalls import pattern

DATA = pattern(300_000)
SAMPLE = re.compile(r'(tetherfs_[a-z_]+)\{mountpoint="((?:[^"\\\n]|\\[\\"n])*)"(,[^}]*)?\} (-?[0-9.e+-]+)')


@pytest.fixture
def server(our_server):
    """tetherfs-server alone: the command is the same with any other."""
    return our_server


def samples(text, mount):
    """The values of one mount's metrics, by name and further labels; all of the text must be in the format."""
    values, types = {}, {}
    for line in text.splitlines():
        if line.startswith("# "):
            assert re.fullmatch(r"# (HELP|TYPE) tetherfs_[a-z_]+ .+", line), line
            if line.startswith("# TYPE"):
                assert line.split()[2] not in types, line
                types[line.split()[2]] = line.split()[3]
            continue
        match = SAMPLE.fullmatch(line)
        assert match, line
        assert re.sub("_(bucket|sum|count)$", "", match[1]) in types or match[1] in types, line
        if match[2] == mount.path:
            values[match[1] + (match[3] or "")] = float(match[4])
    assert values and text.endswith("\n")
    return values


def stats(mount):
    result = tetherfs("stats", mount.path, env=environment())
    assert (result.returncode, result.stderr) == (0, "")
    return samples(result.stdout, mount)


def port(mount):
    """The port on which a mount that was asked for port 0 serves its metrics."""
    return int(re.search(r"metrics are served address=\S*:(\d+)", mount.log)[1])


def get(address, request=b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", family=socket.AF_INET):
    """All that is answered to some bytes."""
    with socket.socket(family) as connection:
        connection.settimeout(30)
        connection.connect(address)
        connection.sendall(request)
        answer = b""
        while data := connection.recv(65536):
            answer += data
    return answer


def test_stats_counts_what_programs_and_the_driver_did(server, filesystem, content):
    content.write("old", DATA)
    with Mount(server, filesystem) as mount:
        before = stats(mount)
        write(mount / "new", DATA)
        assert read(mount / "old") == DATA
        after = stats(mount)
        assert after["tetherfs_written_bytes_total"] - before["tetherfs_written_bytes_total"] == len(DATA)
        assert after["tetherfs_read_bytes_total"] - before["tetherfs_read_bytes_total"] == len(DATA)
        assert after["tetherfs_requests_total"] > before["tetherfs_requests_total"]
        assert after["tetherfs_server_up"] == 1 and after["tetherfs_request_failures_total"] == 0
        assert after['tetherfs_unsent_files,state="pending"'] == 0
        count = after["tetherfs_request_latency_seconds_count"]
        assert after['tetherfs_request_latency_seconds_bucket,le="+Inf"'] == count > 0


def test_stats_of_all_mounts_tells_each_metric_once(server, filesystem):
    other = server.create_filesystem(f"other {filesystem}")
    with Mount(server, filesystem) as one, Mount(server, other) as two:
        text = tetherfs("stats", env=environment()).stdout
        first, second = samples(text, one), samples(text, two)
        assert f'tetherfs_info,filesystem="{filesystem}",server="{server.url}",version="0.1.0"' in first
        assert {name for name in first if "_info," not in name} == {name for name in second if "_info," not in name}


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:0"])
def test_metrics_are_served_by_http_on_loopback(server, filesystem, address):
    with Mount(server, filesystem, "--metrics-listen", address) as mount:
        url = f"http://{address.rpartition(':')[0]}:{port(mount)}/metrics"
        output = check(["curl", "-sSgi", "--noproxy", "*", url])
        head, body = output.split("\n\n", 1)
        assert head.splitlines()[0] == "HTTP/1.1 200 OK"
        assert "Content-Type: text/plain; version=0.0.4; charset=utf-8" in head.splitlines()
        assert samples(body, mount)["tetherfs_server_up"] == 1


def test_metrics_are_served_on_a_socket_that_only_its_owner_may_use_and_that_is_gone_afterwards(server, filesystem):
    mount = Mount(server, filesystem)
    path = mount.folder / "metrics.sock"
    mount.options += ["-o", f"metrics_listen={path}"]
    with mount:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        answer = get(str(path), family=socket.AF_UNIX).decode()
        assert samples(answer.partition("\r\n\r\n")[2], mount)
        # A driver that is killed leaves the name, which the next one takes.
        mount.crash()
        assert mount.mount().returncode == 0
        assert get(str(path), family=socket.AF_UNIX).startswith(b"HTTP/1.1 200 OK\r\n")
        assert mount.unmount().returncode == 0
        assert not path.exists()


@pytest.mark.parametrize("request_text, status", [
    (b"POST /metrics HTTP/1.1\r\nHost: a\r\n\r\n", b"405"), (b"GET /../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", b"404"),
    (b"GET /metrics HTTP/1.1\r\n\r\n", b"400"), (b"\x16\x03\x01\x02\x00\r\n\r\n", b"400"),
    (b"GET /" + b"a" * 2000, b"414"), (b"GET /metrics HTTP/1.1\r\nA: " + b"a" * 9000, b"431"),
])
def test_what_is_no_scrape_is_refused_and_the_next_one_answered(server, filesystem, request_text, status):
    with Mount(server, filesystem, "--metrics-listen", "127.0.0.1:0") as mount:
        address = ("127.0.0.1", port(mount))
        assert get(address, request_text).startswith(b"HTTP/1.1 " + status + b" ")
        assert get(address).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_page_whose_name_leads_to_this_machine_is_shown_nothing(server, filesystem):
    with Mount(server, filesystem, "--metrics-listen", "127.0.0.1:0") as mount:
        address = ("127.0.0.1", port(mount))
        for host in (b"attacker.example", b"attacker.example:9713", b"127.attacker.example", b"192.0.2.1", b""):
            answer = get(address, b"GET /metrics HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 421 ") and b"tetherfs_" not in answer
        for host in (b"localhost:9713", b"127.0.0.1", b"[::1]:9713"):
            answer = get(address, b"GET /metrics HTTP/1.1\r\nhost:" + host + b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


def test_who_connects_and_says_nothing_is_turned_away_and_holds_nobody_up(server, filesystem):
    with Mount(server, filesystem, "--metrics-listen", "127.0.0.1:0") as mount:
        address = ("127.0.0.1", port(mount))
        # More than there are places.
        silent = [socket.create_connection(address) for _ in range(20)]
        try:
            # Programs notice nothing.
            write(mount / "f", DATA)
            assert read(mount / "f") == DATA
            # Not one scrape fails.
            assert get(address).startswith(b"HTTP/1.1 200 OK\r\n")
            assert silent[0].recv(100).startswith(b"HTTP/1.1 408 ")
        finally:
            for connection in silent:
                connection.close()


@pytest.mark.parametrize("address", ["0.0.0.0:9713", "[::]:9713", "192.0.2.1:9713", "localhost:9713", "9713"])
def test_an_address_that_others_could_reach_is_refused(prepared, server, address):
    prepared.options += ["--metrics-listen", address]
    result = prepared.mount()
    fails(result, f"--metrics-listen is '{address}' and must be 127.0.0.1:PORT, [::1]:PORT or")
    assert not prepared.is_mounted


def test_a_port_that_is_taken_is_told_and_nothing_is_mounted(prepared, server):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        prepared.options += ["--metrics-listen", address]
        fails(prepared.mount(), f"cannot serve metrics on {address}: Address already in use", status=MOUNT_FAILURE)
    assert not prepared.is_mounted


def test_a_file_in_the_place_of_the_metrics_socket_is_kept_and_nothing_is_mounted(prepared, server, tmp_path):
    (tmp_path / "notes").write_bytes(DATA)
    prepared.options += ["--metrics-listen", tmp_path / "notes"]
    fails(prepared.mount(), "cannot serve metrics on", "Address already in use", status=MOUNT_FAILURE)
    assert (tmp_path / "notes").read_bytes() == DATA
    assert not prepared.is_mounted


def test_stats_of_a_stopped_driver_fails_and_does_not_hang(server, filesystem):
    with Mount(server, filesystem) as mount:
        pid = mount.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            fails(tetherfs("stats", mount.path, env=environment(), timeout=30), "silent", status=1)
        finally:
            os.kill(pid, signal.SIGCONT)
