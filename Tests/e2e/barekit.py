"""A bare Debian for a test: the files of its essential packages, of what a package depends on, and of nothing else.

    with bare_root(depends_of(package), programs) as root:
        result = run_in(root, script, files={"/root/it.deb": package})

They are this machine's own files, as its installed packages have them, so that nothing is fetched. Packages that others
only recommend, and all that was installed by hand, are not there.
"""

import contextlib
import functools
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from mountkit import check, run

FIELDS = ["binary:Package", "Package", "Essential", "Provides", "Pre-Depends", "Depends"]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# The root's processes have their own numbers, and end with the script; mounts that it makes are its own.
# Without the mounts of other tests, which would stay there for as long as this one runs.
ENTER = """
umount -i -l -a -t fuse.tetherfs || true
mount -t proc proc "$0/proc"
mount --rbind /dev "$0/dev"
exec chroot "$0" /bin/bash /root/test.sh
"""


def alternatives(relations):
    """What `Depends: a (>= 1), b | c` asks for, as [["a"], ["b", "c"]]."""
    groups = [re.sub(r"\([^)]*\)|:any\b", "", group).split("|") for group in relations.split(",") if group.strip()]
    return [[name.strip() for name in group] for group in groups]


@functools.cache
def installed():
    """The packages that are installed here: each one's fields, by its name and what it provides."""
    packages = {}
    line = "${db:Status-Status}" + "".join("\\t${" + field + "}" for field in FIELDS) + "\\n"
    for text in check(["dpkg-query", "-W", "-f", line]).splitlines():
        status, *values = text.split("\t")
        if status == "installed":
            package = dict(zip(FIELDS, values))
            packages[package["Package"]] = package
    for package in list(packages.values()):
        for [name] in alternatives(package["Provides"]):
            packages.setdefault(name, package)
    return packages


def closure(depends):
    """The full names of the essential packages, of those that `depends` asks for, and of all that these depend on."""
    packages = installed()
    found = {}
    waiting = [[package["Package"]] for package in packages.values() if package["Essential"] == "yes"]
    waiting += alternatives(depends)
    while waiting:
        group = waiting.pop()
        names = [name for name in group if name in packages]
        assert names, f"none of {group} is installed here"
        package = packages[names[0]]
        if package["binary:Package"] not in found:
            found[package["binary:Package"]] = package
            waiting += alternatives(package["Pre-Depends"]) + alternatives(package["Depends"])
    return sorted(found)


def field(package, name):
    """A field of a package's file."""
    return check(["dpkg-deb", "--field", package, name]).strip()


def libraries(program):
    """The paths of the libraries that a program and its libraries need, by the names that they are asked for by."""
    text = check(["ldd", program])
    assert "not found" not in text, text
    return dict(re.findall(r"^\s*(\S+) => (/\S+) \(", text, re.MULTILINE))


@functools.cache
def library_owners():
    """The packages of all libraries that are of one, by the files that they are."""
    lines = check(["dpkg-query", "-S", "*.so*"]).splitlines()
    pairs = [line.split(": ", 1) for line in lines if not line.startswith("diversion by ")]
    return {os.path.realpath(path): names.split(",")[0].split(":")[0] for names, path in pairs}


def owner(path):
    """The package that a library is of; nothing if it is of none."""
    return library_owners().get(os.path.realpath(path))


def needed(program):
    """The packages of the libraries that a program asks for itself, or by libraries that no package here has."""
    paths = libraries(program)
    names, waiting = set(), [program]
    while waiting:
        for name in re.findall(r"NEEDED\s+(\S+)", check(["objdump", "-p", waiting.pop()])):
            # The loader, which is the C library's, has no path.
            path = paths.get(name)
            if path and not owner(path):
                waiting.append(path)
                del paths[name]
            elif path:
                names.add(owner(path))
    return names


@contextlib.contextmanager
def bare_root(depends, programs):
    """The root directory of a bare Debian with these dependencies.

    programs: those that are to run there. What they need of libraries that no package here has is there too: Swift's
    runtime, of a debug build.
    """
    with tempfile.TemporaryDirectory(prefix="tetherfs-bare-") as folder:
        root = pathlib.Path(folder)
        root.chmod(0o755)
        packages = closure(depends)
        for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
            if os.path.islink("/" + name):
                (root / "usr" / name).mkdir(parents=True, exist_ok=True)
                (root / name).symlink_to("usr/" + name)
        paths = set(check(["dpkg-query", "-L", *packages]).splitlines())
        paths = sorted(path for path in paths if path.startswith("/") and os.path.lexists(path))
        copy(paths, root)
        copy([path for program in programs for path in libraries(program).values() if owner(path) is None], root)
        # What the packages' own scripts make.
        for name in ("passwd", "group", "nsswitch.conf"):
            shutil.copy(f"/etc/{name}", root / "etc")
        (root / "etc/ca-certificates.conf").touch()
        database = root / "var/lib/dpkg"
        for name in ("info", "updates", "triggers"):
            (database / name).mkdir(parents=True, exist_ok=True)
        for name in packages:
            shutil.copy(f"/var/lib/dpkg/info/{name}.list", database / "info")
        (database / "status").write_text(check(["dpkg-query", "-s", *packages]))
        (database / "available").touch()
        check(["ldconfig", "-r", root])
        yield root


def copy(paths, root):
    """Copies files, links and directories (without what is in them) into a root."""
    names = "\0".join(path.lstrip("/") for path in paths if path != "/.")
    give = ["tar", "-C", "/", "-c", "--no-recursion", "--null", "-T", "-"]
    take = ["tar", "-C", str(root), "-x", "--keep-directory-symlink"]
    packed = subprocess.run(give, input=names.encode(), stdout=subprocess.PIPE, timeout=120, check=True).stdout
    subprocess.run(take, input=packed, timeout=120, check=True)


def run_in(root, script, files, timeout=120):
    """Runs a script of bash as root in the root directory; its exit status and all that it printed.

    files: what is there besides, as `{path: text, or the path of a file here}`.
    """
    for path, content in {**files, "/root/test.sh": script}.items():
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            target.write_text(content)
        else:
            shutil.copy(content, target)
        target.chmod(0o600)
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", ENTER, root]
    return run(command, timeout=timeout, env={"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8"})
