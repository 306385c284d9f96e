"""The Debian package: what is in it, and what its installation and its removal do to a machine that uses it."""

import os
import pathlib
import subprocess

import pytest

import barekit
from bootkit import boot
from nginxkit import Nginx
from serverkit import REPOSITORY, Server, binary
from test_systemd import ENDPOINT, PRELUDE, SERVER_UNIT, fstab

# The machine's server is not the package's.
SERVER = "/usr/local/bin/files-server"
PROGRAMS = ["tetherfs", "tetherfs-server"]
KEY = "api_key_file=/etc/tetherfs/key"


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The package of the programs under test, not compressed."""
    folder = tmp_path_factory.mktemp("dist")
    result = subprocess.run(
        [REPOSITORY / "scripts/deb.sh", os.path.dirname(binary()), folder],
        env={**os.environ, "DPKG_DEB_COMPRESSOR_TYPE": "none"}, capture_output=True, text=True, timeout=240,
    )
    assert result.returncode == 0, result.stderr
    return pathlib.Path(result.stdout.strip())


@pytest.fixture(scope="module")
def machine_files(tmp_path_factory, package):
    """A machine with the package's file, a server with three filesystems, and the key."""
    folder = tmp_path_factory.mktemp("files")
    with Server(data_dir=folder / "data") as server:
        for name in ("data", "more", "mine"):
            server.content(server.create_filesystem(name)).write("f", b"hello\n")
        key = server.api_key
    return {
        "/srv/files": folder, "/etc/tetherfs/key": key + "\n", SERVER: pathlib.Path(binary()), "/root/it.deb": package,
        "/etc/systemd/system/files.service": SERVER_UNIT.replace("/usr/bin/tetherfs-server", SERVER),
        "/etc/systemd/system/remote-fs.target.d/files.conf": "[Unit]\nWants=files.service\n",
        "/etc/tetherfs/mnt-more.env": f"FILESYSTEM=more\nOPTIONS={ENDPOINT}\n",
    } | fstab(f"data /mnt/data fuse.tetherfs _netdev,noauto,{ENDPOINT},{KEY}")


# Of every script: install, and mount by a line of fstab.
INSTALL = """
    mkdir -p /mnt/data /mnt/more /mnt/mine
    chmod 600 /etc/tetherfs/key
    dpkg -i /root/it.deb
    mount /mnt/data; mounted /mnt/data; test "$(cat /mnt/data/f)" = hello
"""


def succeeds(script, files):
    result = boot(PRELUDE + INSTALL + script, files)
    assert result.returncode == 0, result.stdout + result.stderr


def test_everything_in_the_package_is_in_its_place_and_root_s(package):
    lines = subprocess.run(["dpkg-deb", "--contents", package], capture_output=True, text=True, check=True).stdout
    entries = {}
    for line in lines.splitlines():
        mode, owner, _, _, _, name = line.split(None, 5)
        entries[name.split(" -> ")[0].removeprefix(".")] = (mode, owner)
    assert {owner for _, owner in entries.values()} == {"root/root"}
    for name, (mode, _) in entries.items():
        of_file = "-rwxr-xr-x" if "/bin/" in name else "-rw-r--r--"
        expected = {"d": "drwxr-xr-x", "l": "lrwxrwxrwx"}.get(mode[0], of_file)
        assert mode == expected, name
        assert name == "/" or name.startswith("/usr/"), name
    share = "/usr/share"
    assert {name for name in entries if not name.endswith("/")} == {
        "/usr/bin/tetherfs", "/usr/bin/tetherfs-server",
        "/usr/sbin/mount.fuse.tetherfs", "/usr/sbin/umount.fuse.tetherfs",
        "/usr/lib/systemd/system/tetherfs@.service",
        f"{share}/bash-completion/completions/tetherfs", f"{share}/zsh/vendor-completions/_tetherfs",
        f"{share}/fish/vendor_completions.d/tetherfs.fish",
        f"{share}/man/man1/tetherfs.1.gz", f"{share}/man/man1/tetherfs-server.1.gz",
        f"{share}/man/man5/tetherfs.toml.5.gz",
        f"{share}/doc/tetherfs/examples/mnt-data.mount", f"{share}/doc/tetherfs/examples/mnt-data.automount",
        f"{share}/doc/tetherfs/examples/config.toml",
    }
    information = subprocess.run(["dpkg-deb", "--info", package], capture_output=True, text=True, check=True).stdout
    version = subprocess.run([binary("tetherfs"), "--version"], capture_output=True, text=True, check=True).stdout
    assert f" Version: {version.strip()}\n" in information and " Depends: fuse3, " in information


def test_it_depends_on_the_packages_of_all_libraries_that_its_programs_ask_for(package):
    named = {name for [name] in barekit.alternatives(barekit.field(package, "Depends"))}
    needed = set().union(*(barekit.needed(binary(program)) for program in PROGRAMS))
    assert named == needed | {"fuse3", "ca-certificates"}


def test_it_works_on_a_bare_debian_with_what_it_depends_on(package, our_server, lasting_certificate):
    content = our_server.content(our_server.create_filesystem("bare"))
    content.write("f", b"hello\n")
    files = {
        "/root/it.deb": package, "/root/key": our_server.api_key + "\n",
        "/usr/local/share/ca-certificates/own.crt": lasting_certificate[0],
    }
    programs = [binary(program) for program in PROGRAMS]
    with barekit.bare_root(barekit.field(package, "Depends"), programs) as root, \
            Nginx(our_server, lasting_certificate) as proxy:
        result = barekit.run_in(root, f"""
            set -eux
            dpkg -i /root/it.deb
            tetherfs --version; tetherfs-server --help
            update-ca-certificates
            export TETHERFS_ENDPOINT={proxy.url}
            tetherfs doctor --api-key-file /root/key
            mkdir -p /mnt/d
            mount -t fuse.tetherfs bare /mnt/d -o api_key_file=/root/key
            test "$(cat /mnt/d/f)" = hello
            echo new > /mnt/d/new
            dpkg -r tetherfs
            ! grep fuse.tetherfs /proc/self/mounts
            """, files)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "certificate accepted, by the system's authorities" in result.stdout
    assert content.read("new") == b"new\n"


def test_a_removal_uploads_what_waits_and_leaves_no_mount_no_process_and_no_file(machine_files):
    succeeds("""
        systemctl start tetherfs@mnt-more; mounted /mnt/more; test "$(cat /mnt/more/f)" = hello
        # A user's own mount, by fusermount3.
        chown nobody /mnt/mine; install -o nobody -m 600 /etc/tetherfs/key /tmp/key; install -d -o nobody /tmp/home
        as_nobody() { HOME=/tmp/home setpriv --reuid=nobody --regid=nogroup --clear-groups "$@"; }
        as_nobody tetherfs mount mine /mnt/mine --endpoint http://127.0.0.1:8080/v1 --api-key-file /tmp/key
        mounted /mnt/mine; test "$(as_nobody cat /mnt/mine/f)" = hello
        exec 5> /mnt/data/kept 6> /mnt/more/also; systemctl stop files
        echo kept >&5; exec 5>&-; echo also >&6; exec 6>&-  # bash does not tell what close said
        systemctl start files
        dpkg -L tetherfs > /tmp/list; test -x /usr/bin/tetherfs
        dpkg -r tetherfs
        not grep fuse.tetherfs /proc/self/mounts
        until_true '! pgrep -x tetherfs'
        test "$(on_server kept)" = kept; test "$(on_server also)" = also
        while read -r path; do test -d "$path" || test ! -e "$path"; done < /tmp/list
        not test -e /usr/bin/tetherfs
        """, machine_files)


def test_a_removal_unmounts_also_where_the_path_has_characters_that_the_kernel_s_table_spells_as_numbers(machine_files):
    """Digits after them are not part of the numbers; a blank at the end of a path belongs to it, and a line end too."""
    script = ""
    for number, place in enumerate(["/mnt/my 1x", "/mnt/b\\\\7", "/mnt/#01", "/mnt/end\\n", "/mnt/t\\t0 "]):
        script += f"""
            place=$(printf '{place}.'); place=${{place%.}}; mkdir "$place"
            mount -t fuse.tetherfs data "$place" -o {ENDPOINT},{KEY},cache_dir=/var/cache/{number}
            test "$(cat "$place/f")" = hello
        """
    succeeds(script + """
        test $(grep -c fuse.tetherfs /proc/self/mounts) = 6
        dpkg -r tetherfs
        not grep fuse.tetherfs /proc/self/mounts; not test -e /usr/bin/tetherfs
        """, machine_files)


def test_a_removal_is_refused_while_a_mount_is_in_use_and_can_be_made_afterwards(machine_files):
    succeeds("""
        (cd /mnt/data; exec sleep 1000) &
        until_true '[ "$(readlink /proc/$!/cwd)" = /mnt/data ]'
        not dpkg -r tetherfs > /tmp/said 2>&1
        grep -q '/mnt/data is busy' /tmp/said
        mounted /mnt/data; test "$(cat /mnt/data/f)" = hello; test -x /usr/bin/tetherfs
        kill $!; wait || true
        dpkg -r tetherfs
        not mounted /mnt/data; not test -e /usr/bin/tetherfs
        """, machine_files)


def test_a_removal_is_refused_while_a_service_s_mount_is_in_use_which_goes_on(machine_files):
    succeeds("""
        systemctl enable --now tetherfs@mnt-more; mounted /mnt/more
        exec 5< /mnt/more/f
        not dpkg -r tetherfs > /tmp/said 2>&1
        grep -q '/mnt/more is busy' /tmp/said
        test "$(cat <&5)" = hello; mounted /mnt/more; systemctl is-active -q tetherfs@mnt-more
        exec 5<&-
        dpkg -r tetherfs
        not grep fuse.tetherfs /proc/self/mounts; not test -e /usr/bin/tetherfs
        until_true '! systemctl is-active -q tetherfs@mnt-more'; not pgrep -x tetherfs
        # As configuration, that it is enabled stays until a purge.
        link=/etc/systemd/system/remote-fs.target.wants/tetherfs@mnt-more.service
        test -L $link; dpkg --purge tetherfs; not test -L $link
        """, machine_files)


def test_a_removal_ends_also_a_service_that_tries_to_start(machine_files):
    succeeds("""
        systemctl stop files
        systemctl start --no-block tetherfs@mnt-more
        until_true 'pgrep -x tetherfs -a | grep " /mnt/more"'
        umount /mnt/data
        dpkg -r tetherfs
        not grep fuse.tetherfs /proc/self/mounts; not pgrep -x tetherfs
        systemctl show --value -p ActiveState tetherfs@mnt-more | grep -Ex 'inactive|failed'
        """, machine_files)


def test_an_upgrade_leaves_mounts_alone(machine_files):
    succeeds("""
        exec 5< /mnt/data/f
        dpkg -i /root/it.deb
        mounted /mnt/data; test "$(cat <&5)" = hello; exec 5<&-
        umount /mnt/data; mount /mnt/data; test "$(cat /mnt/data/f)" = hello
        """, machine_files)
