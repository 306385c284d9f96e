"""A machine of its own for a test: systemd boots in a container over a throw-away copy of this machine's root.

    result = boot(script, files={"/etc/fstab": …}, binaries=…)

The container sees this machine's files, changes none of them, has a network of its own (loopback alone) and the
kernel's /dev/fuse. The script runs once the machine is up; its exit status and output come back.
"""

import contextlib
import os
import pathlib
import shutil
import stat
import subprocess
import tempfile
import uuid

from mountkit import check, run

# Of the container's settings: what is mounted at boot is waited for before the test runs.
UNIT = """\
[Unit]
Wants=dbus.service remote-fs.target
After=basic.target dbus.service remote-fs.target
SuccessAction=exit
FailureAction=exit
[Service]
Type=oneshot
ExecStart=/bin/bash /share/test.sh
StandardOutput=file:/share/log
StandardError=inherit
TimeoutStartSec=240
"""


@contextlib.contextmanager
def mounted(*arguments):
    """Something mounted at the last argument for a while."""
    check(["mount", *arguments])
    try:
        yield
    finally:
        check(["umount", "-R", arguments[-1]])


@contextlib.contextmanager
def control_groups(name):
    """Control groups of its own for the container, where no systemd outside hands them out; nspawn's option for it."""
    if os.path.isdir("/run/systemd/system"):
        yield []
        return
    roots = [root for root in ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified") if os.path.isdir(root)]
    groups = [pathlib.Path(root, name) for root in roots or ["/sys/fs/cgroup"]]
    for group in groups:
        group.mkdir()
    try:
        yield groups
    finally:
        for group in groups:
            for folder, _, _ in os.walk(group, topdown=False):
                os.rmdir(folder)


def boot(script, files, timeout=280, folders=None):
    """Boots a machine, runs a script in it as root, and shuts it down.

    files: what the machine has besides this one's, as `{path: text, or the path of a file or folder here}`.
    folders: what it shares with this one, and what is therefore there when it has ended, as `{path: folder here}`.
    Returns the exit status and all that the script printed.
    """
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tetherfs-boot-")))
        overlay, share, root = folder / "overlay", folder / "share", folder / "overlay/root"
        overlay.mkdir()
        share.mkdir()
        os.mknod(folder / "fuse", 0o666 | stat.S_IFCHR, os.makedev(10, 229))
        os.chmod(folder / "fuse", 0o666)
        stack.enter_context(mounted("-t", "tmpfs", "-o", "size=2g", "tmpfs", overlay))
        for name in ("up", "work", "root"):
            (overlay / name).mkdir()
        layers = f"lowerdir=/,upperdir={overlay}/up,workdir={overlay}/work"
        stack.enter_context(mounted("-t", "overlay", "overlay", "-o", layers, root))
        # None of this machine's services, and not its first boot.
        for wants in (root / "etc/systemd/system").glob("*.wants"):
            shutil.rmtree(wants)
        (root / "etc/machine-id").write_text(uuid.uuid4().hex + "\n")
        (root / "etc/fstab").write_text("")
        (share / "test.sh").write_text(script)
        for path, content in {**files, "/etc/systemd/system/tetherfs-test.service": UNIT}.items():
            target = root / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, str):
                target.write_text(content)
            elif content.is_dir():
                shutil.copytree(content, target)
            else:
                shutil.copy(content, target)
        binds = [f"--bind={here}:{path}" for path, here in (folders or {}).items()]
        return run_machine(root, folder, share, stack, timeout, binds)


def run_machine(root, folder, share, stack, timeout, binds):
    name = f"tetherfs{os.getpid()}"
    groups = stack.enter_context(control_groups(name))

    def enter():
        for group in groups:
            (group / "cgroup.procs").write_text(str(os.getpid()))

    command = [
        "timeout", "-k", "20", str(timeout), "systemd-nspawn", "--quiet", "--boot", f"--directory={root}",
        f"--machine={name}", "--register=no", *(["--keep-unit"] if groups else []), "--private-network",
        f"--bind={folder}/fuse:/dev/fuse", "--bind=/dev/autofs", f"--bind={share}:/share", *binds, "--console=pipe",
        "systemd.unit=tetherfs-test.service",
    ]
    machine = run(command, timeout=timeout + 40, preexec_fn=enter)
    log = share / "log"
    # Without a log the machine did not come up: then its console says why.
    output = log.read_text(errors="replace") if log.exists() else machine.stdout[-4000:]
    return subprocess.CompletedProcess(command, machine.returncode, output, machine.stderr)
