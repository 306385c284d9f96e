"""Mounts that a real systemd makes: by fstab at boot, by units, as a service; and what is left when something dies."""

import pathlib
import subprocess

import pytest

from bootkit import boot
from serverkit import REPOSITORY, Server, binary

UNITS = REPOSITORY / "systemd"
ENDPOINT = "endpoint=http://127.0.0.1:8080/v1"
PROFILE = """
[profile.site]
endpoint = "http://127.0.0.1:8080/v1"
api-key-file = "key"
read-only = true
"""

SERVER_UNIT = """\
[Unit]
Wants=remote-fs-pre.target
Before=remote-fs-pre.target tetherfs-test.service
[Service]
ExecStart=/usr/bin/tetherfs-server serve --data-dir /srv/files/data --listen 127.0.0.1:8080 --base-path /v1
ExecStartPost=/bin/bash -c 'until (exec 3<>/dev/tcp/127.0.0.1/8080) 2>/dev/null; do sleep 0.05; done'
"""

# What the scripts share: `until_true` polls, so that nothing depends on how fast the machine is; `not` is there because
# a script goes on after a command with `!` before it, whatever came of that.
PRELUDE = """
set -eu -o pipefail
trap 'echo "FAILED: line $LINENO: $BASH_COMMAND"; journalctl --no-pager -n 60; grep fuse /proc/self/mounts' ERR
until_true() {
    for _ in $(seq 400); do if eval "$1"; then return 0; fi; sleep 0.05; done
    echo "never true: $1"; journalctl --no-pager -n 40; return 1
}
not() { if "$@"; then echo "it did: $*"; return 1; fi; }
mounted() { grep -q " $1 fuse.tetherfs " /proc/self/mounts; }
driver() { pgrep -f -o "tetherfs.* $1( |$)"; }
on_server() { cat "$(find /srv/files/data -name "$1" -type f | head -1)"; }
"""


@pytest.fixture(scope="module")
def machine_files(tmp_path_factory):
    """A server's data with a filesystem `data` that has a file `f`, the key, and the programs with mount's links to them."""
    folder = tmp_path_factory.mktemp("files")
    with Server(data_dir=folder / "data") as server:
        server.content(server.create_filesystem("data")).write("f", b"hello\n")
        key = tmp_path_factory.mktemp("secret") / "key"
        key.touch(0o600)
        key.write_text(server.api_key + "\n")
    files = {
        "/srv/files": folder, "/etc/tetherfs/key": key, "/etc/systemd/system/files.service": SERVER_UNIT,
        "/etc/systemd/system/remote-fs.target.d/files.conf": "[Unit]\nWants=files.service\n",
    }
    programs = {"/usr/bin/tetherfs": "tetherfs", "/usr/bin/tetherfs-server": "tetherfs-server"}
    programs |= {f"/sbin/{name}.fuse.tetherfs": "tetherfs" for name in ("mount", "umount")}
    return files | {path: pathlib.Path(binary(program)) for path, program in programs.items()}


def succeeds(script, files):
    result = boot(PRELUDE + script, files)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def fstab(*lines):
    return {"/etc/fstab": "".join(line + " 0 0\n" for line in lines)}


def unit_file(name, **changes):
    """One of the units that we ship, with settings changed."""
    lines = (UNITS / name).read_text().splitlines()
    for setting, value in changes.items():
        [number] = [number for number, line in enumerate(lines) if line.startswith(setting + "=")]
        lines[number] = f"{setting}={value}"
    return {f"/etc/systemd/system/{name}": "\n".join(lines) + "\n"}


@pytest.mark.parametrize("name", ["mnt-data.mount", "mnt-data.automount", "tetherfs@.service"])
def test_the_units_that_we_ship_have_no_setting_that_systemd_does_not_know(name, tmp_path):
    for unit in UNITS.iterdir():
        # The programs need not be installed where this test runs.
        text = unit.read_text().replace("/usr/bin/tetherfs", binary("tetherfs"))
        (tmp_path / unit.name.replace("@", "@mnt-data")).write_text(text)
    unit = tmp_path / name.replace("@", "@mnt-data")
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, timeout=60
    )
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


def test_lines_of_fstab_are_mounted_at_boot_and_one_whose_server_is_gone_does_not_hold_the_boot_up(machine_files):
    succeeds("""
        mounted /mnt/data; test "$(cat /mnt/data/f)" = hello
        echo new > /mnt/data/g
        test "$(on_server g)" = new
        until_true 'systemctl is-failed -q mnt-gone.mount'
        journalctl --sync; journalctl -u mnt-gone.mount | grep 'tetherfs: cannot reach'
        # An automount mounts at the first access.
        not mounted /mnt/auto; test "$(cat /mnt/auto/f)" = hello; mounted /mnt/auto
        # A driver that is killed leaves no dead mount, and the next access mounts again.
        kill -KILL $(driver /mnt/auto)
        until_true '! mounted /mnt/auto'
        until_true '[ $(systemctl is-active mnt-auto.mount) != active ]'
        test "$(cat /mnt/auto/f)" = hello
        # The server may be named by a URL with the filesystem at its end, which is the source then.
        mounted /mnt/url; test "$(cat /mnt/url/f)" = hello
        grep -q '^http://127.0.0.1:8080/v1/d%61ta /mnt/url fuse.tetherfs ' /proc/self/mounts
        # A profile of the system's file has server, key and options.
        test "$(cat /mnt/profile/f)" = hello; not touch /mnt/profile/g 2> /tmp/errors
        grep -q 'Read-only file system' /tmp/errors
        # mount -a finds everything mounted; umount(8) and mount(8) by hand.
        mount -a -t fuse.tetherfs || true
        test $(grep -c ' /mnt/data fuse.tetherfs ' /proc/self/mounts) = 1
        test $(grep -c ' /mnt/url fuse.tetherfs ' /proc/self/mounts) = 1
        umount /mnt/data; not mounted /mnt/data; mount /mnt/data; mounted /mnt/data
        not mount -t fuse.tetherfs data /mnt/other -o bogus 2> /tmp/errors
        grep -q 'unknown option -o bogus' /tmp/errors; test $(wc -l < /tmp/errors) = 1
        """, machine_files | fstab(
        f"data /mnt/data fuse.tetherfs _netdev,{ENDPOINT},api_key_file=/etc/tetherfs/key",
        "http://127.0.0.1:8080/v1/d%61ta /mnt/url fuse.tetherfs _netdev,cache_dir=/var/cache/url,"
        "api_key_file=/etc/tetherfs/key",
        "data /mnt/profile fuse.tetherfs _netdev,profile=site,cache_dir=/var/cache/profile",
        "gone /mnt/gone fuse.tetherfs _netdev,nofail,endpoint=http://127.0.0.1:9/v1,api_key_file=/etc/tetherfs/key,"
        "request_timeout=2,retries=0",
        f"data /mnt/auto fuse.tetherfs _netdev,nofail,noauto,x-systemd.automount,cache_dir=/var/cache/auto,{ENDPOINT},"
        "api_key_file=/etc/tetherfs/key",
    ) | {"/etc/tetherfs/config.toml": PROFILE})


def test_a_stop_of_a_mount_unit_uploads_what_could_not_be_uploaded_before(machine_files):
    options = f"_netdev,{ENDPOINT},api_key_file=/etc/tetherfs/key,request_timeout=2,retries=0"
    succeeds("""
        mkdir -p /mnt/data
        systemctl start mnt-data.mount; mounted /mnt/data
        exec 5> /mnt/data/kept; systemctl stop files
        echo kept >&5; exec 5>&-  # bash does not tell what close said
        systemctl start files
        systemctl stop mnt-data.mount
        not mounted /mnt/data; not driver /mnt/data
        test "$(on_server kept)" = kept
        """, machine_files | unit_file("mnt-data.mount", Options=options))


def test_a_service_that_cannot_start_leaves_the_mount_that_is_in_its_way(machine_files):
    succeeds(f"""
        mkdir -p /mnt/data
        mount -t fuse.tetherfs data /mnt/data -o {ENDPOINT},api_key_file=/etc/tetherfs/key,cache_dir=/var/cache/other
        not systemctl start tetherfs@mnt-data
        journalctl --sync; journalctl -u tetherfs@mnt-data | grep 'mount point /mnt/data is busy'
        until_true 'systemctl is-failed -q tetherfs@mnt-data'
        mounted /mnt/data; test "$(cat /mnt/data/f)" = hello
        """, machine_files | unit_file("tetherfs@.service", Restart="no") | {
        "/etc/tetherfs/mnt-data.env": f"FILESYSTEM=data\nOPTIONS={ENDPOINT}\n",
    })


def test_two_services_of_one_filesystem_have_a_cache_directory_each(machine_files):
    succeeds("""
        mkdir -p /mnt/data /mnt/more
        systemctl start tetherfs@mnt-data tetherfs@mnt-more
        test "$(cat /mnt/data/f)" = hello; test "$(cat /mnt/more/f)" = hello
        test -e /var/cache/more/*/journal.sqlite
        """, machine_files | unit_file("tetherfs@.service", Restart="no") | {
        "/etc/tetherfs/mnt-data.env": f"FILESYSTEM=data\nOPTIONS={ENDPOINT}\n",
        "/etc/tetherfs/mnt-more.env": f"FILESYSTEM=data\nOPTIONS={ENDPOINT},cache_dir=/var/cache/more\n",
    })


def test_a_service_that_is_killed_and_not_started_again_leaves_no_dead_mount(machine_files):
    succeeds("""
        mkdir -p /mnt/data
        systemctl start tetherfs@mnt-data; mounted /mnt/data
        # The watcher, which would take the mount away, too.
        systemctl kill -s KILL --kill-whom=all tetherfs@mnt-data
        until_true 'systemctl is-failed -q tetherfs@mnt-data'
        not mounted /mnt/data
        """, machine_files | unit_file("tetherfs@.service", Restart="no") | {
        "/etc/tetherfs/mnt-data.env": f"FILESYSTEM=data\nOPTIONS={ENDPOINT}\n",
    })


def test_a_service_takes_its_key_as_a_credential_restarts_after_a_crash_and_uploads_at_its_stop(machine_files):
    output = succeeds("""
        mkdir -p /mnt/data
        systemctl start tetherfs@mnt-data; mounted /mnt/data
        systemctl show -p StatusText tetherfs@mnt-data | grep 'data is mounted at /mnt/data'
        test "$(cat /mnt/data/f)" = hello
        kill -KILL $(systemctl show --value -p MainPID tetherfs@mnt-data)
        until_true 'systemctl is-active -q tetherfs@mnt-data && mounted /mnt/data && [ "$(cat /mnt/data/f)" = hello ]'
        exec 5> /mnt/data/kept; systemctl stop files
        echo kept >&5; exec 5>&-  # bash does not tell what close said
        systemctl start files
        systemctl stop tetherfs@mnt-data
        not mounted /mnt/data
        test "$(on_server kept)" = kept
        test $(systemctl show --value -p Result tetherfs@mnt-data) = success
        journalctl --sync; journalctl --no-pager > /tmp/journal; not grep -F "$(cat /etc/tetherfs/key)" /tmp/journal
        systemd-analyze security --no-pager tetherfs@mnt-data | tail -1
        """, machine_files | unit_file("tetherfs@.service", RestartSec="1") | {
        "/etc/tetherfs/mnt-data.env": f"FILESYSTEM=data\nOPTIONS={ENDPOINT},request_timeout=2,retries=0\n",
    })
    # README and the unit say so.
    assert "exposure level for tetherfs@mnt-data.service: 4.3 OK" in output
