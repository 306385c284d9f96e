"""Profiles: the configuration files of a user and of the system, and what `tetherfs` takes from them."""

import contextlib
import json
import os
import pathlib
import re

import pytest

from clikit import as_user, environment, fails, needs_root, open_directory, private, public_binary, tetherfs
from mountkit import Mount, check, read, run
from serverkit import REPOSITORY, Server, binary


@pytest.fixture(scope="module")
def server():
    with Server() as server:
        server.create_filesystem("first")
        yield server


class Home:
    """A user's configuration directory, and the environment that leads to it and to nothing else."""

    def __init__(self, folder, server):
        self.folder = pathlib.Path(folder) / "tetherfs"
        self.server = server
        self.env = environment(XDG_CONFIG_HOME=str(folder))
        self.folder.mkdir(mode=0o700)
        self.path = self.folder / "config.toml"
        key = self.folder / "key"
        key.touch(0o600)
        key.write_text(server.api_key)

    def write(self, text):
        """Writes the file; URL stands for the server."""
        self.path.write_text(text.replace("URL", self.server.url))
        self.path.chmod(0o600)

    def list(self, *flags, **variables):
        return tetherfs("filesystems", "list", *flags, env={**self.env, **variables})


@pytest.fixture
def home(server, tmp_path):
    return Home(tmp_path, server)


def works(result):
    assert (result.returncode, result.stderr) == (0, ""), result
    return result


WORK = '[profile.work]\nendpoint = "URL"\napi-key-file = "key"\n'
NOWHERE = '[profile.default]\nendpoint = "http://127.0.0.1:1/nowhere"\napi-key-file = "key"\nretries = 0\n'


def test_a_profile_says_where_the_service_and_the_key_are(home):
    home.write(WORK)
    works(home.list("--profile", "work"))
    works(home.list(TETHERFS_PROFILE="work"))
    home.write('default-profile = "work"\n' + WORK)
    works(home.list())
    home.write(WORK.replace("work", "default"))
    works(home.list())


def test_a_flag_goes_before_the_environment_that_before_the_profile_and_that_before_the_default(home):
    home.write(WORK + NOWHERE)
    fails(home.list(), "127.0.0.1:1/nowhere")
    works(home.list("--profile", "work", TETHERFS_PROFILE="default"))
    works(home.list(TETHERFS_PROFILE="work"))
    elsewhere = "http://127.0.0.1:1/elsewhere"
    variables = dict(TETHERFS_ENDPOINT=elsewhere, ET_ENGINE_API_KEY=home.server.api_key)
    fails(home.list("--profile", "work", "--retries", "0", **variables), elsewhere)
    works(home.list("--profile", "work", "--endpoint", home.server.url, **variables))


def test_a_profiles_key_is_not_sent_to_another_service(home):
    home.write(WORK)
    result = home.list("--profile", "work", "--endpoint", "http://127.0.0.1:1/elsewhere")
    fails(result, "--endpoint is another service than that of profile work", "--api-key-file")
    fails(home.list("--profile", "work", TETHERFS_ENDPOINT="http://127.0.0.1:1/elsewhere"), "TETHERFS_ENDPOINT")


@pytest.mark.parametrize("line, words", [
    ('endpiont = "x"', "unknown key endpiont; did you mean endpoint?"),
    ('retires = 1', "unknown key retires; did you mean retries?"),
    ('retries = "1"', "retries must be a whole number, without quotes"),
    ("retries = 1000", "retries is '1000' and must be a whole number from 0 to 100"),
    ("request-timeout = 0", "request-timeout is '0' and must be a number of seconds above 0"),
    ('log-level = "loud"', "log-level is 'loud' and must be"),
    ("retries 1", "a key is followed by = and a value"),
    ('[profile.work]', "[profile.work] stands in line 1 already"),
    ('[profiles.work]', "a table is a profile: [profile.NAME]"),
    ('api-key-file = "key"', "api-key-file stands in line 3 already"),
])
def test_a_mistake_in_the_file_is_an_error_with_its_line(home, tmp_path, line, words):
    home.write(WORK + line + "\n")
    fails(home.list("--profile", "work"), f"{home.path}:4: {words}", status=1)
    (tmp_path / "mnt").mkdir()
    fails(tetherfs("mount", "--profile", "work", "data", tmp_path / "mnt", env=home.env), f"{home.path}:4: {words}")


def test_a_profile_that_there_is_not_is_an_error_with_those_that_there_are(home):
    fails(home.list("--profile", "wrok"), "--profile: no profile 'wrok'; no profiles are in", str(home.path))
    home.write(WORK + "[profile.other]\n")
    fails(home.list("--profile", "wrok"), "--profile: no profile 'wrok'; there are: other, work")
    fails(home.list(TETHERFS_PROFILE="wrok"), "TETHERFS_PROFILE: no profile 'wrok'")


def test_a_file_of_another_user_is_refused_and_one_of_roots_is_not(server):
    needs_root("gives files away")
    with open_directory() as folder:
        home = Home(folder, server)
        home.write(WORK)
        home.path.chmod(0o644)
        command = ["filesystems", "list", "--profile", "work"]
        somebody = as_user(home.folder, home.folder / "key")
        works(tetherfs(*command, env=home.env, prefix=somebody))
        os.chown(home.path, 12345, -1)
        for prefix in somebody, []:
            result = tetherfs(*command, env=home.env, prefix=prefix)
            fails(result, f"{home.path} belongs to user 12345, and must be yours or root's")


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_change_is_refused_with_what_to_run(home, mode):
    home.write(WORK)
    home.path.chmod(mode)
    line = fails(home.list("--profile", "work"), f"{home.path} can be changed by others; run: chmod go-w").stderr
    check(line.split("run: ")[1].split())
    works(home.list("--profile", "work"))


def test_a_file_that_cannot_be_read_is_an_error(server):
    with open_directory() as folder:
        home = Home(folder, server)
        home.write(WORK)
        home.path.chmod(0)
        result = tetherfs("filesystems", "list", env=home.env, prefix=as_user(home.folder))
        fails(result, f"{home.path} cannot be read: Permission denied")
        home.path.unlink()
        home.path.mkdir()
        fails(home.list(), f"{home.path} cannot be read: Is a directory")
        home.path.rmdir()
        home.path.write_bytes(b"[profile.a] # \xff")
        fails(home.list(), f"{home.path} is not a text in UTF-8")


def test_a_key_that_was_written_in_place_of_its_files_name_is_not_repeated(home):
    for line in (f'api-key-file = "{home.server.api_key}"', f'api-key = "{home.server.api_key}"',
                 f"api-key-file = {home.server.api_key}", f'"{home.server.api_key}"'):
        home.write(f'[profile.work]\nendpoint = "URL"\n{line}\n')
        result = fails(home.list("--profile", "work"), f"{home.path}:3: ")
        assert home.server.api_key not in result.stderr


@contextlib.contextmanager
def mounted(mount, *command, env):
    """The mount that a command makes; it is always taken away."""
    mount.watchdog.start()
    try:
        works(run(command, env=env))
        assert mount.is_mounted
        yield mount
        works(mount.unmount())
    finally:
        mount.take_away()


def test_a_mount_takes_all_from_its_profile(home, server):
    identifier = server.create_filesystem("of the profile")
    server.content(identifier).write("f", b"data")
    mount = Mount(server, "of the profile")
    home.write(WORK + f'filesystem = "of the profile"\nread-only = true\numask = "027"\ncache-dir = "{mount.cache_dir}"\n')
    with mounted(mount, binary("tetherfs"), "mount", "--profile", "work", mount.path, env=home.env):
        assert read(mount / "f") == b"data"
        assert os.stat(mount / "f").st_mode & 0o777 == 0o640
        with pytest.raises(OSError, match="Read-only"):
            os.mkdir(mount / "d")
        assert mount.cache_dir.is_dir()
        with open("/proc/self/mounts") as table:
            assert any(line.startswith(r"of\040the\040profile ") for line in table)


def test_a_mount_that_a_profile_makes_read_only_stays_so_whatever_mount_writes(home, server):
    """mount(8) writes `rw` where nobody did."""
    server.create_filesystem("protected")
    mount = Mount(server, "protected")
    home.write(WORK + "read-only = true\n")
    options = ("-o", "rw,profile=work", "--cache-dir", mount.cache_dir)
    with mounted(mount, binary("tetherfs"), "mount", "protected", mount.path, *options, env=home.env):
        with pytest.raises(OSError, match="Read-only"):
            os.mkdir(mount / "d")


def test_without_a_filesystem_in_the_profile_it_must_be_named(home, tmp_path):
    home.write(WORK)
    (tmp_path / "mnt").mkdir()
    result = tetherfs("mount", "--profile", "work", tmp_path / "mnt", env=home.env)
    fails(result, "give filesystem and mountpoint, or a profile that has a filesystem")


def test_what_is_kept_is_looked_for_where_the_profile_keeps_it(home, tmp_path):
    (tmp_path / "cache").mkdir()
    home.write(WORK + f'cache-dir = "{tmp_path}/cache"\n')
    result = tetherfs("recover", "list", "--profile", "work", "some-id", env=home.env)
    fails(result, f"in {tmp_path}/cache")


def test_the_example_has_every_setting_and_no_mistake_and_shows_the_defaults(home):
    text = (REPOSITORY / "examples" / "config.toml").read_text()
    home.write(text)
    for name in ("work.key", "archive.key"):
        private(home.folder / name)
    show = ["config", "show", "--json", "--profile"]
    defaults = json.loads(works(tetherfs(*show, "work", env=home.env)).stdout)
    # With each # before a key taken away too.
    home.write(re.sub(r"^# (?=[a-z-]+ = )", "", text, flags=re.MULTILINE))
    shown = json.loads(works(tetherfs(*show, "archive", env=home.env)).stdout)
    places = {name for name, entry in shown.items() if entry["source"].startswith(f"{home.path}:")}
    assert places == shown.keys() - {"profile", "filesystem", "api-key"}
    for line in re.findall(r"^# (?:[a-z-]+ = )", text, flags=re.MULTILINE):
        name = line[2:-3]
        if defaults[name].get("value") and name not in ("cache-dir", "temporary-names", "uid", "gid"):
            assert shown[name]["value"] == defaults[name]["value"], name


def test_make_install_brings_the_manual_and_the_example(tmp_path):
    check([REPOSITORY / "scripts" / "install.sh", os.path.dirname(binary("tetherfs")), tmp_path, "/usr"])
    for installed, source in (
        ("man/man5/tetherfs.toml.5", "man/tetherfs.toml.5"), ("man/man1/tetherfs.1", "man/tetherfs.1"),
        ("doc/tetherfs/examples/config.toml", "examples/config.toml"),
    ):
        assert (tmp_path / "usr" / "share" / installed).read_bytes() == (REPOSITORY / source).read_bytes()


# FILESYSTEM as a URL.


def test_a_filesystem_is_mounted_by_a_url_through_mount_too(home, server, tmp_path):
    identifier = server.create_filesystem("a b/c")
    server.content(identifier).write("f", b"data")
    url = server.url + "/a%20b%2Fc"
    (tmp_path / "mount.fuse.tetherfs").symlink_to(binary("tetherfs"))
    for command in ([binary("tetherfs"), "mount"], [tmp_path / "mount.fuse.tetherfs"], [binary("tetherfs")]):
        mount = Mount(server, url)
        options = f"api_key_file={mount.key_file},cache_dir={mount.cache_dir}"
        with mounted(mount, *command, url, mount.path, "-o", options, env=environment()):
            assert read(mount / "f") == b"data"
            with open("/proc/self/mounts") as table:
                assert any(line.startswith(f"{url} {mount.path} fuse.tetherfs ") for line in table)


def test_a_url_without_a_filesystem_or_with_an_endpoint_beside_it_is_refused(server, tmp_path):
    env = environment(server)
    (tmp_path / "mnt").mkdir()
    fails(tetherfs("mount", server.url + "/nope", tmp_path / "mnt", env=env), "no filesystem 'nope'", status=32)
    result = tetherfs("mount", server.url + "/first", tmp_path / "mnt", "--endpoint", server.url, env=env)
    fails(result, "--endpoint and the URL in FILESYSTEM both say where the service is")
    fails(tetherfs("mount", "https://joe:word@host/x", tmp_path / "mnt", env=env), "the URL in FILESYSTEM must be")


# The system's file, in a mount namespace where /etc has one.


def with_system_file(text, tmp_path, *command, env):
    """Runs `tetherfs COMMAND` where /etc/tetherfs holds a configuration and a key."""
    needs_root("changes /etc in a mount namespace of its own")
    folder = tmp_path / "etc" / "tetherfs"
    folder.mkdir(parents=True)
    for directory in (folder, folder.parent, tmp_path):
        directory.chmod(0o755)
    (folder / "config.toml").write_text(text)
    script = 'mount -t overlay overlay -o "lowerdir=$1:/etc" /etc && shift && exec "$@"'
    return run(["unshare", "--mount", "sh", "-c", script, "sh", folder.parent, public_binary(), *command], env=env)


def test_the_system_has_profiles_too_and_the_users_go_before_them(server, tmp_path):
    home = Home(tmp_path, server)
    system = WORK.replace("URL", server.url).replace('"key"', f'"{home.folder}/key"') + 'log-level = "loud"\n'
    command = ["filesystems", "list", "--profile", "work"]
    with open_directory() as folder:
        fails(with_system_file(system, folder, *command, env=environment()), "/etc/tetherfs/config.toml:4: log-level")
    home.write('[profile.work]\nlog-level = "error"\n')
    with open_directory() as folder:
        works(with_system_file(system, folder, *command, env=home.env))


# tetherfs config show.


def test_config_show_prints_each_setting_and_where_it_is_from_but_not_the_key(home, tmp_path):
    home.write(WORK + "retries = 3\n")
    env = {**home.env, "TETHERFS_PROFILE": "work", "TETHERFS_CA_FILE": "/ca.pem"}
    show = ["config", "show", "--memory", "64M", "-o", "umask=027"]
    shown = json.loads(works(tetherfs(*show, "--json", env=env)).stdout)
    expected = {
        "profile": ("work", "TETHERFS_PROFILE"), "endpoint": (home.server.url, f"{home.path}:2"),
        "api-key-file": (f"{home.folder}/key", f"{home.path}:3"), "api-key": ("[hidden]", f"{home.folder}/key"),
        "retries": ("3", f"{home.path}:4"), "ca-file": ("/ca.pem", "TETHERFS_CA_FILE"), "memory": ("64M", "--memory"),
        "umask": ("027", "-o umask"), "metadata-ttl": ("10", "default"), "client-key": (None, "default"),
    }
    for name, (value, source) in expected.items():
        assert (shown[name].get("value"), shown[name]["source"]) == (value, source), name
    lines = works(tetherfs(*show, env=env)).stdout.splitlines()
    assert len(lines) == len(shown)
    assert ["retries", "3", f"{home.path}:4"] in [line.split() for line in lines]
    assert home.server.api_key not in "".join(lines) + json.dumps(shown)


def test_config_show_without_a_key_says_that_there_is_none_and_sends_nothing(home):
    before = len(home.server.requests_log())
    result = tetherfs("config", "show", "--json", "--endpoint", home.server.url, env=home.env)
    assert "value" not in json.loads(works(result).stdout)["api-key"]
    result = tetherfs("config", "show", "--json", env={**home.env, "ET_ENGINE_API_KEY": "s3cret-s3cret"})
    assert json.loads(result.stdout)["api-key"] == {"value": "[hidden]", "source": "ET_ENGINE_API_KEY"}
    assert len(home.server.requests_log()) == before


def test_config_show_tells_a_mistake_as_every_command_does(home):
    home.write(WORK + "umask = \"9\"\n")
    fails(tetherfs("config", "show", "--profile", "work", env=home.env), f"{home.path}:4: umask is '9'")


def test_every_setting_is_in_the_manual_and_in_the_readme(home):
    names = json.loads(works(tetherfs("config", "show", "--json", env=home.env)).stdout).keys() - {"api-key"}
    manual = (REPOSITORY / "man" / "tetherfs.toml.5").read_text().replace("\\-", "-")
    readme = (REPOSITORY / "README.md").read_text()
    for name in names - {"profile"}:
        assert re.search(rf'^\.[BRI]+ (.*[ ,"])?{name}\b', manual, re.MULTILINE), name
    for name in names - {"filesystem"}:
        assert f"`--{name}" in readme, name
