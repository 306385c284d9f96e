"""Mounts of a real systemd over their life: a stop and a shutdown with much to upload, a driver that hangs, a server that
is away for long or says nothing, and users who mount."""

import shutil

from bootkit import boot
from contents import FolderContent
from servercalls import pattern
from test_systemd import ENDPOINT, PRELUDE, fstab, machine_files, succeeds, unit_file  # noqa: F401

KEY = "api_key_file=/etc/tetherfs/key"
# What is written is closed, and waits until somebody asks for its upload.
WAITING = "writes=write-back,temporary_names=*,temporary_delay=600"
LARGE = pattern(96 << 20)
# As the network does, the server stays until all that needs it has ended.
LAST_TO_END = {"/etc/systemd/system/files.service.d/last.conf": "[Unit]\nBefore=network-online.target\n"}

# A server that takes connections and never answers.
SILENT_UNIT = """\
[Unit]
Before=remote-fs-pre.target
[Service]
ExecStart=/usr/bin/python3 -c "import socket, signal; s = socket.create_server(('127.0.0.1', 8081)); signal.pause()"
"""


def service(name, options):
    """The settings of a service of the filesystem `data`."""
    return {f"/etc/tetherfs/{name}.env": f"FILESYSTEM=data\nOPTIONS={ENDPOINT},{options}\n"}


def test_a_shutdown_uploads_what_waits_in_a_mount_of_fstab_and_in_a_service(machine_files, tmp_path):  # noqa: F811
    (tmp_path / "large").write_bytes(LARGE)
    files = dict(machine_files)
    shutil.copytree(files.pop("/srv/files"), tmp_path / "files")
    result = boot(PRELUDE + """
        mounted /mnt/data; mkdir -p /mnt/more; systemctl start tetherfs@mnt-more
        cp /root/large /mnt/data/of-fstab; cp /root/large /mnt/more/of-service
        test -z "$(find /srv/files/data -name 'of-*')"
        """, files | LAST_TO_END | service("mnt-more", WAITING) | {
        "/root/large": tmp_path / "large",
        **unit_file("tetherfs@.service"),
        **fstab(f"data /mnt/data fuse.tetherfs _netdev,{ENDPOINT},{KEY},cache_dir=/var/cache/fstab,{WAITING}"),
    }, folders={"/srv/files": tmp_path / "files"})
    assert result.returncode == 0, result.stdout + result.stderr
    [filesystem] = (tmp_path / "files/data/filesystems").iterdir()
    content = FolderContent(filesystem / "tree")
    assert content.names() == ["f", "of-fstab", "of-service"]
    assert content.read("of-fstab") == LARGE and content.read("of-service") == LARGE


def test_a_service_s_stop_may_take_longer_than_its_limit_while_it_uploads(machine_files, tmp_path):  # noqa: F811
    (tmp_path / "large").write_bytes(LARGE)
    succeeds("""
        mkdir -p /mnt/data; systemctl start tetherfs@mnt-data
        cp /root/large /mnt/data/large
        systemctl kill -s STOP files
        systemctl stop --no-block tetherfs@mnt-data
        until_true 'systemctl show -p StatusText tetherfs@mnt-data | grep "ending: 1 file, 100663296 bytes to upload"'
        sleep 8 # more than the limits
        test $(systemctl is-active tetherfs@mnt-data) = deactivating
        systemctl kill -s CONT files
        until_true '[ $(systemctl is-active tetherfs@mnt-data) = inactive ]'
        test $(systemctl show --value -p Result tetherfs@mnt-data) = success
        cmp /root/large "$(find /srv/files/data -name large)"
        """, machine_files | service("mnt-data", WAITING) | {
        "/root/large": tmp_path / "large",
        **unit_file("tetherfs@.service", TimeoutStopSec="3", WatchdogSec="6"),
    })


def test_a_mount_unit_s_stop_that_outlasts_its_limit_fails_and_the_upload_goes_on(
    machine_files, tmp_path  # noqa: F811
):
    (tmp_path / "large").write_bytes(LARGE)
    succeeds("""
        mkdir -p /mnt/data; systemctl start mnt-data.mount
        cp /root/large /mnt/data/large
        sed -i s/^TimeoutSec=.*/TimeoutSec=2/ /etc/systemd/system/mnt-data.mount; systemctl daemon-reload
        systemctl kill -s STOP files
        systemctl stop mnt-data.mount || true
        until_true 'systemctl is-failed -q mnt-data.mount && ! mounted /mnt/data'
        journalctl --sync; journalctl -u mnt-data.mount | grep 'Unmounting timed out'
        driver /mnt/data
        systemctl kill -s CONT files
        until_true '! driver /mnt/data'
        cmp /root/large "$(find /srv/files/data -name large)"
        """, machine_files | {"/root/large": tmp_path / "large"} | unit_file(
        "mnt-data.mount", Options=f"_netdev,{ENDPOINT},{KEY},{WAITING}"
    ))


def test_a_service_whose_driver_hangs_is_started_anew_and_uploads_what_was_closed(machine_files):  # noqa: F811
    succeeds("""
        mkdir -p /mnt/data; systemctl start tetherfs@mnt-data
        echo kept > /mnt/data/kept
        kill -STOP $(systemctl show --value -p MainPID tetherfs@mnt-data)
        until_true '[ $(systemctl show --value -p NRestarts tetherfs@mnt-data) = 1 ]'
        until_true 'systemctl is-active -q tetherfs@mnt-data'
        journalctl --sync; journalctl -u tetherfs@mnt-data | grep 'Watchdog timeout'
        test "$(timeout 20 cat /mnt/data/f)" = hello
        timeout 20 tetherfs flush /mnt/data; test "$(on_server kept)" = kept
        """, machine_files | service("mnt-data", WAITING) | unit_file(
        "tetherfs@.service", WatchdogSec="6", RestartSec="1"
    ))


def test_our_automount_mounts_when_the_server_is_back_however_often_it_was_asked_for_before(machine_files):  # noqa: F811
    options = f"_netdev,{ENDPOINT},{KEY},request_timeout=2,retries=0"
    succeeds("""
        mkdir -p /mnt/data; systemctl start mnt-data.automount; systemctl stop files
        # Five within ten seconds would end it but for a setting of the mount's unit.
        for _ in $(seq 8); do not cat /mnt/data/f; done
        systemctl start files
        test "$(cat /mnt/data/f)" = hello; mounted /mnt/data
        kill -KILL $(driver /mnt/data)
        until_true '! mounted /mnt/data && [ $(systemctl is-active mnt-data.mount) != active ]'
        test "$(cat /mnt/data/f)" = hello
        """, machine_files | unit_file("mnt-data.mount", Options=options) | unit_file("mnt-data.automount"))


def test_a_server_that_says_nothing_does_not_keep_the_machine_from_booting(machine_files):  # noqa: F811
    silent = f"endpoint=http://127.0.0.1:8081/v1,{KEY},request_timeout=3,retries=0"
    succeeds("""
        for name in data more; do
            until_true "systemctl is-failed -q mnt-$name.mount"
            journalctl --sync; journalctl -u mnt-$name.mount | grep 'tetherfs: cannot reach'
            not mounted /mnt/$name
        done
        not pgrep -x tetherfs
        """, machine_files | fstab(
        f"data /mnt/data fuse.tetherfs _netdev,{silent},cache_dir=/var/cache/data",
        f"data /mnt/more fuse.tetherfs _netdev,nofail,{silent},cache_dir=/var/cache/more",
    ) | {
        "/etc/systemd/system/silent.service": SILENT_UNIT,
        "/etc/systemd/system/remote-fs.target.d/silent.conf": "[Unit]\nWants=silent.service\n",
    })


def test_the_journal_has_of_a_service_and_of_a_user_s_commands_what_the_log_is_to_have(machine_files):  # noqa: F811
    succeeds("""
        mkdir -p /mnt/data; systemctl start tetherfs@mnt-data
        install -o nobody -m 600 /etc/tetherfs/key /tmp/key
        HOME=/tmp setpriv --reuid=nobody --regid=nogroup --clear-groups \
            tetherfs ls data:/ --endpoint http://127.0.0.1:8080/v1 --api-key-file /tmp/key | grep -x f
        test "$(cat /mnt/data/f)" = hello; systemctl stop tetherfs@mnt-data
        journalctl --sync; journalctl --no-pager -o cat -t tetherfs | sed 's/ .*//' > /tmp/lines
        printf '%s\\n' mounted ending: ended | cmp - /tmp/lines || { cat /tmp/lines; false; }
        """, machine_files | service("mnt-data", "ro") | unit_file("tetherfs@.service"))


def test_a_user_mounts_and_unmounts_a_line_of_fstab_that_allows_it(machine_files):  # noqa: F811
    succeeds("""
        as() { user=$1; shift; setpriv --reuid=$user --regid=nogroup --clear-groups env HOME=/tmp/home "$@"; }
        install -d -o nobody /mnt/user /tmp/home; install -o nobody -m 600 /etc/tetherfs/key /tmp/home/key
        as nobody mount /mnt/user; mounted /mnt/user
        grep ' /mnt/user fuse.tetherfs .*nosuid,nodev,noexec' /proc/self/mounts
        test "$(as nobody cat /mnt/user/f)" = hello
        as nobody sh -c 'echo new > /mnt/user/g'; test "$(on_server g)" = new
        not as daemon umount /mnt/user; mounted /mnt/user
        as nobody umount /mnt/user; not mounted /mnt/user
        until_true '! pgrep -x tetherfs'
        not as nobody mount /mnt/data
        """, machine_files | fstab(
        f"data /mnt/user fuse.tetherfs user,noauto,{ENDPOINT},api_key_file=/tmp/home/key,cache_dir=/tmp/home/cache",
        f"data /mnt/data fuse.tetherfs noauto,{ENDPOINT},{KEY}",
    ))
