"""What the tests of mounts share: both servers, a filesystem and a mount of it for each test, and logs in reports."""

import os
import shutil
import signal
import stat
import subprocess
import tempfile
import uuid

import pytest

pytest.register_assert_rewrite("mountkit", "servercalls", "copykit")

import mountkit  # noqa: E402
from deployedserver import DeployedServer
from mountkit import Mount, counting, read
from serverkit import Server


def pytest_configure(config):
    # Whoever runs the tests may ignore signals, as nohup does, and programs inherit that; here they are to end by them.
    for number in signal.SIGINT, signal.SIGQUIT, signal.SIGHUP:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    # /dev/fuse as udev makes it: everybody may open it. Containers often leave it to root alone. Not in each of the
    # processes that share the tests, of which one would take it away from the others.
    if os.geteuid() == 0 and not hasattr(config, "workerinput"):
        mode = stat.S_IMODE(os.stat("/dev/fuse").st_mode)
        os.chmod("/dev/fuse", 0o666)
        config.add_cleanup(lambda: os.chmod("/dev/fuse", mode))


# The files that take longest, to begin with them: the processes that share the tests come to their end together then.
LONGEST = [
    "crash", "faults", "mount_model", "mount_disk_cache", "mount_forgotten_names", "mount_interrupts",
    "mount_read_ahead", "server_limits", "package", "mount_names", "mount_rename_crash", "mount_write_back",
    "mount_replaced", "tools_stress",
]


def pytest_collection_modifyitems(items):
    rank = {f"test_{name}": index for index, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


@pytest.fixture(scope="session")
def our_server():
    """tetherfs-server."""
    with Server() as server:
        yield server


@pytest.fixture
def lone():
    """A tetherfs-server of the test's own, where no other test's filesystems are."""
    with Server() as server:
        yield server


@pytest.fixture(scope="session")
def lasting_deployed_server():
    with DeployedServer() as server:
        yield server


@pytest.fixture
def deployed(lasting_deployed_server):
    """The server that behaves as the deployed service, with nothing planned to go wrong."""
    yield lasting_deployed_server
    lasting_deployed_server.faults.clear()
    lasting_deployed_server.gauge.most.clear()


@pytest.fixture(params=["tetherfs-server", "deployed"])
def server(request):
    """Each of the two servers in turn."""
    return request.getfixturevalue("our_server" if request.param == "tetherfs-server" else "deployed")


@pytest.fixture
def filesystem(server):
    """A new filesystem's id."""
    return server.create_filesystem(str(uuid.uuid4()))


@pytest.fixture
def content(server, filesystem):
    """What the server holds, past the API."""
    return server.content(filesystem)


@pytest.fixture
def mount(server, filesystem):
    """The filesystem, mounted with no options beyond what it takes to reach it."""
    with Mount(server, filesystem) as mount:
        yield mount


# Names of faults after which no answer comes.
SILENT = {"silence", "stalled midway"}


@pytest.fixture
def impatient(request, server, filesystem, content):
    """A mount that repeats nothing, and waits for no answer longer than two seconds where the test's fault is that none
    comes; else only a machine that stands still would take so long."""
    callspec = getattr(request.node, "callspec", None)
    is_silent = callspec is not None and callspec.params.get("fault") in SILENT
    with Mount(server, filesystem, "--retries", 0, "--request-timeout", 2 if is_silent else 30) as mount:
        yield mount


def own_certificate(folder, name, days=2):
    """Makes a certificate of an address or a name that is its own authority and ends in so many days: its file, and
    that of its key."""
    kind = "IP" if name[0].isdigit() else "DNS"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", str(days), "-subj", f"/CN={name}",
         "-addext", f"subjectAltName={kind}:{name}", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True, capture_output=True,
    )
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """The files of a certificate of 127.0.0.1 that is its own authority, and of its key."""
    return own_certificate(tmp_path_factory.mktemp("tls"), "127.0.0.1")


@pytest.fixture(scope="session")
def lasting_certificate(tmp_path_factory):
    """The same, but good for a month, not for two days."""
    return own_certificate(tmp_path_factory.mktemp("lasting"), "127.0.0.1", days=30)


@pytest.fixture(scope="session")
def client_certificate(tmp_path_factory):
    """The files of a certificate of a client that is its own authority, and of its key."""
    return own_certificate(tmp_path_factory.mktemp("client"), "client")


@pytest.fixture(scope="session")
def other_certificate(tmp_path_factory):
    """The files of a certificate of another host, and of its key."""
    return own_certificate(tmp_path_factory.mktemp("other"), "elsewhere.example")


@pytest.fixture
def cache_dir():
    folder = tempfile.mkdtemp(prefix="tetherfs-cache-")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def reads(server, filesystem, cache_dir):
    """Mounts anew, reads a file, and returns how many bytes of files were fetched."""
    def reads(name, expected, *options):
        with Mount(server, filesystem, *options, cache_dir=cache_dir) as mount, counting(server) as seen:
            assert read(mount / name) == expected
        return seen.bytes("read")
    return reads


@pytest.fixture
def prepared(server, filesystem):
    """A mount with all that it takes but the command."""
    mount = Mount(server, filesystem)
    yield mount
    mount.take_away()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        for mount in mountkit.MOUNTS:
            report.sections.append((f"driver's log of {mount.path}", mount.log[-20_000:]))
    if call.when == "teardown":
        mountkit.MOUNTS.clear()
    return report
