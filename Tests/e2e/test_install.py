"""`make install`: what it puts where, and that shells, mount(8) and systemd find it there."""

import os
import pathlib

import pytest

from bootkit import boot
from clikit import as_user, open_directory, public_binary
from mountkit import check, run
from serverkit import REPOSITORY, Server, binary
from test_systemd import ENDPOINT, PRELUDE, SERVER_UNIT

PROGRAMS = os.path.dirname(binary())
SOURCES = ("scripts", "man", "examples", "systemd", "Makefile")


def install(*arguments, **options):
    """Runs `make install` as on machines where a new file is its owner's alone."""
    command = ["make", "-s", "-C", REPOSITORY, "install", f"TETHERFS_BIN_DIR={PROGRAMS}", *arguments]
    return run(["sh", "-c", 'umask 077; exec "$@"', "sh", *command], **options)


def installed(folder):
    """What is in a folder, as {path: mode}; links as {path: target}."""
    entries = {}
    for path in pathlib.Path(folder).rglob("*"):
        name = "/" + str(path.relative_to(folder))
        if path.is_symlink():
            entries[name] = os.readlink(path)
        elif not path.is_dir():
            entries[name] = oct(path.stat().st_mode & 0o7777)
    return entries


def test_everything_is_in_its_place_and_to_be_read_by_all(tmp_path):
    result = install(f"DESTDIR={tmp_path}")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    share = "/usr/local/share"
    assert installed(tmp_path) == {
        **dict.fromkeys(["/usr/local/bin/tetherfs", "/usr/local/bin/tetherfs-server"], "0o755"),
        **dict.fromkeys(["/sbin/mount.fuse.tetherfs", "/sbin/umount.fuse.tetherfs"], "/usr/local/bin/tetherfs"),
        **dict.fromkeys([
            "/usr/local/lib/systemd/system/tetherfs@.service", "/etc/fish/completions/tetherfs.fish",
            f"{share}/bash-completion/completions/tetherfs", f"{share}/zsh/site-functions/_tetherfs",
            f"{share}/man/man1/tetherfs.1", f"{share}/man/man1/tetherfs-server.1", f"{share}/man/man5/tetherfs.toml.5",
            f"{share}/doc/tetherfs/examples/mnt-data.mount", f"{share}/doc/tetherfs/examples/mnt-data.automount",
            f"{share}/doc/tetherfs/examples/config.toml",
        ], "0o644"),
    }
    for folder, _, _ in os.walk(tmp_path / "usr"):
        assert os.stat(folder).st_mode & 0o777 == 0o755, folder


def test_without_programs_nothing_is_installed(tmp_path):
    result = install(f"DESTDIR={tmp_path}", "TETHERFS_BIN_DIR=/nowhere")
    assert result.returncode != 0 and "run make build first" in result.stderr.splitlines()[0]
    assert installed(tmp_path) == {}


def test_a_user_installs_for_oneself_and_hears_what_that_leaves_out():
    with open_directory() as folder:
        home = folder / "home"
        home.mkdir()
        for name in SOURCES:
            check(["cp", "-r", REPOSITORY / name, folder])
        programs = pathlib.Path(public_binary()).parent
        (programs / "tetherfs-server").symlink_to(programs / "tetherfs")
        result = run([
            *as_user(home), "make", "-s", "-C", folder, "install", f"TETHERFS_BIN_DIR={programs}", f"PREFIX={home}/.local"
        ])
        assert result.returncode == 0, result.stderr
        assert result.stderr.count("\n") == 1 and "/sbin" in result.stderr
        names = set(installed(home))
        assert {"/.local/bin/tetherfs", "/.local/share/man/man1/tetherfs.1"} <= names
        # Where fish looks for what a user installed.
        assert "/.local/share/fish/vendor_completions.d/tetherfs.fish" in names


@pytest.fixture
def machine_files(tmp_path):
    """A machine with the sources, programs that are built, a server and its key."""
    (tmp_path / "files").mkdir()
    with Server(data_dir=tmp_path / "files/data") as server:
        server.content(server.create_filesystem("data")).write("f", b"hello\n")
        key = server.api_key
    return {
        "/srv/files": tmp_path / "files", "/etc/tetherfs/key": key + "\n",
        "/etc/systemd/system/files.service": SERVER_UNIT.replace("/usr/bin/", "/programs/"),
        "/etc/tetherfs/mnt-more.env": f"FILESYSTEM=data\nOPTIONS={ENDPOINT}\n",
        "/programs/tetherfs": pathlib.Path(binary("tetherfs")), "/programs/tetherfs-server": pathlib.Path(binary()),
        **{f"/source/{name}": REPOSITORY / name for name in SOURCES},
    }


def test_shells_mount_and_systemd_find_what_is_installed(machine_files):
    result = boot(PRELUDE + """
        chmod 600 /etc/tetherfs/key; mkdir -p /mnt/data /mnt/more
        (umask 077; make -s -C /source install TETHERFS_BIN_DIR=/programs)
        systemctl daemon-reload; systemctl start files
        mount -t fuse.tetherfs data /mnt/data -o """ + ENDPOINT + """,api_key_file=/etc/tetherfs/key,cache_dir=/var/cache/m
        test "$(cat /mnt/data/f)" = hello
        systemctl start tetherfs@mnt-more; test "$(cat /mnt/more/f)" = hello
        man -w tetherfs tetherfs-server tetherfs.toml | grep -c ^/usr/local/ | grep -x 3
        # As each shell sets itself up for a user.
        as_nobody() { HOME=/tmp PATH=/usr/local/bin:/usr/bin:/bin setpriv --reuid=nobody --regid=nogroup --clear-groups "$@"; }
        as_nobody zsh -fc 'autoload -U compinit; compinit -u -D; echo $_comps[tetherfs]' | grep -x _tetherfs
        as_nobody fish -c 'complete -C "tetherfs unm"' | grep ^unmount
        # bash-completion(7) itself need not be there: it looks in these.
        as_nobody bash -c '. /usr/local/share/bash-completion/completions/tetherfs; complete -p tetherfs'
        """, machine_files)
    assert result.returncode == 0, result.stdout + result.stderr
