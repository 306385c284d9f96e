"""The demo as a person runs it: `make demo` and `make demo-stop` in a copy of the project's folder."""

import os
import pathlib
import shlex
import shutil
import signal
import stat
import subprocess
import tempfile

import pytest

from serverkit import REPOSITORY, binary, poll

# Part of the project's own sources: enough to be a real folder, few enough to be copied many times.
COPIED = ["Makefile", "scripts", "docs", "Sources/WireFormat", "Sources/Transport"]
IS_ROOT = os.geteuid() == 0
NOBODY = 65534


class Demo:
    """A copy of the project's folder, and the person who works in it: `user` is a number, or none for ourselves."""

    def __init__(self, user):
        self.user = user
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="tetherfs-demo-"))
        self.folder = self.base / "project"
        self.bin = self.base / "bin"
        self.folder.mkdir()
        self.bin.mkdir()
        for name in COPIED:
            source, target = REPOSITORY / name, self.folder / name
            target.parent.mkdir(exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                shutil.copy2(source, target)
        # The user may not be let into the folder where ours are.
        for name in ["tetherfs", "tetherfs-server"]:
            shutil.copy2(binary(name), self.bin / name)
        self.base.chmod(0o755)
        if user is not None:
            for path in [self.folder, *self.folder.rglob("*")]:
                os.chown(path, user, user)

    @property
    def mount_point(self):
        return self.folder / "demo" / "mnt"

    def run(self, *command, timeout=60):
        """Runs a command as the person, in the folder; never raises for a bad status."""
        prefix = []
        if self.user is not None:
            prefix = ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups"]
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        return subprocess.run(
            [*prefix, *map(str, command)], cwd=self.folder, env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=timeout,
        )

    def make(self, target):
        """Runs `make TARGET`, which must succeed, and returns what it printed."""
        result = self.run("make", target, f"TETHERFS_BIN_DIR={self.bin}", timeout=180)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def mounts(self):
        """How many mounts there are at the mount point, dead ones too."""
        with open("/proc/self/mountinfo") as table:
            return sum(line.split()[4] == str(self.mount_point) for line in table)

    def processes(self, name):
        """The ids of the running `name` of this demo; a dead one that nobody waits for has no arguments."""
        found = []
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                arguments = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if arguments[0] == str(self.bin / name):
                found.append(int(process.name))
        return found

    def kill(self, name):
        """Ends the one running `name` as a crash would."""
        # The kernel then knows the root directory's attributes for some seconds, also after the driver's death.
        self.run("stat", self.mount_point)
        [process] = self.processes(name)
        os.kill(process, signal.SIGKILL)
        poll(lambda: not self.processes(name), what=f"end of {name}")

    def check_mounted(self):
        """The mount is there, once, and holds the folder."""
        assert self.mounts() == 1
        assert len(self.processes("tetherfs")) == len(self.processes("tetherfs-server")) == 1
        compared = self.run("diff", "-r", "Sources", "demo/mnt/Sources")
        assert compared.returncode == 0, compared.stdout + compared.stderr

    def check_gone(self):
        """Nothing is left of the demo."""
        assert self.mounts() == 0
        assert self.processes("tetherfs") == self.processes("tetherfs-server") == []
        assert not (self.folder / "demo").exists()

    def clean_up(self):
        """Takes away what the test left; after a failed one by force."""
        self.run("make", "demo-stop", timeout=180)
        for name in ["tetherfs", "tetherfs-server"]:
            for process in self.processes(name):
                os.kill(process, signal.SIGKILL)
            poll(lambda: not self.processes(name), what=f"end of {name}")
        while self.mounts():
            command = ["umount", "-l"] if IS_ROOT else ["fusermount3", "-u", "-z"]
            subprocess.run([*command, str(self.mount_point)], check=True, timeout=30)
        shutil.rmtree(self.base)


@pytest.fixture
def demo(request):
    """A demo that is not started yet: ours, or by parametrization somebody else's."""
    demo = Demo(getattr(request, "param", None))
    try:
        yield demo
    finally:
        demo.clean_up()


as_each_user = pytest.mark.parametrize(
    "demo", [None, NOBODY] if IS_ROOT else [None], indirect=True, ids=lambda user: f"user {user or os.geteuid()}"
)


@as_each_user
def test_the_demo_leaves_the_folder_mounted_and_demo_stop_leaves_nothing(demo):
    demo.make("demo")
    demo.check_mounted()
    demo.make("demo-stop")
    demo.check_gone()


@as_each_user
def test_a_second_demo_takes_the_place_of_the_first(demo):
    demo.make("demo")
    first = demo.processes("tetherfs") + demo.processes("tetherfs-server")
    demo.make("demo")
    demo.check_mounted()
    assert not set(first) & set(demo.processes("tetherfs") + demo.processes("tetherfs-server"))


@as_each_user
@pytest.mark.parametrize(
    "killed", [["tetherfs"], ["tetherfs-server"], ["tetherfs", "tetherfs-server"]], ids=" and ".join
)
def test_the_demo_works_after_a_crash(demo, killed):
    demo.make("demo")
    for name in killed:
        demo.kill(name)
    demo.make("demo")
    demo.check_mounted()


def test_demo_stop_after_a_crash_of_everything_leaves_nothing(demo):
    demo.make("demo")
    demo.kill("tetherfs-server")
    demo.kill("tetherfs")
    demo.make("demo-stop")
    demo.check_gone()


def test_demo_stop_without_a_demo_does_nothing(demo):
    demo.make("demo-stop")
    demo.check_gone()


def test_the_demo_ends_with_three_lines_whose_command_works(demo):
    lines = demo.make("demo").splitlines()
    progress = [number for number, line in enumerate(lines) if line.startswith("==> ")]
    advice = lines[progress[-1] + 1:]
    assert len(advice) == 3
    assert "demo/mnt" in advice[0] and "make demo-stop" in advice[2]
    listed = demo.run(*shlex.split(advice[1].partition(": ")[2]))
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.endswith("  demo\n")


def test_the_demo_keeps_its_key_to_its_user(demo):
    demo.make("demo")
    assert stat.S_IMODE((demo.folder / "demo" / "key").stat().st_mode) == 0o600


def test_demo_stop_names_who_uses_the_mount_and_leaves_it(demo):
    demo.make("demo")
    with subprocess.Popen(["sleep", "300"], cwd=demo.mount_point) as user:
        try:
            result = demo.run("make", "demo-stop")
            assert result.returncode != 0
            assert f"{user.pid} sleep" in result.stderr
            demo.check_mounted()
        finally:
            user.kill()
    demo.make("demo-stop")
    demo.check_gone()


def test_demo_stop_leaves_a_stranger_alone_that_has_the_servers_process_id(demo):
    demo.make("demo")
    demo.kill("tetherfs")
    demo.kill("tetherfs-server")
    with subprocess.Popen(["sleep", "300"]) as stranger:
        try:
            (demo.folder / "demo" / "server.pid").write_text(f"{stranger.pid}\n")
            demo.make("demo-stop")
            assert stranger.poll() is None
        finally:
            stranger.kill()
    demo.check_gone()
