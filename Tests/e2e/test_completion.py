"""TAB in bash, zsh and fish, as a person presses it: names of filesystems, what is in them, and mount points."""

import fcntl
import os
import pty
import re
import select
import subprocess
import termios
import time
import uuid

import pytest

import faultplan
from clikit import ScriptedServer, answer, environment
from mountkit import Mount, counting
from serverkit import binary, poll

# How each shell is started without anybody's settings, and takes the script that its first argument names.
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "bind 'set enable-bracketed-paste off'; source {}"),
    "zsh": (["zsh", "-f", "-i"], "unsetopt zle_bracketed_paste; autoload -U compinit; compinit -u -D; source {}; "
            "compdef _tetherfs tetherfs"),
    "fish": (["fish", "--no-config", "-i"], "function fish_prompt; echo -n '> '; end; source {}"),
}
# What terminals are told, as opposed to shown: colours, the cursor's place, titles.
CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|\x1b[=>()][A-Z0-9]?|[\x07\x0f]")


def completion_script(name, folder):
    """Makes a shell's script; returns it and the program, by the name that it has in a PATH."""
    program = folder / "bin" / "tetherfs"
    program.parent.mkdir()
    program.symlink_to(binary("tetherfs"))
    made = subprocess.run([program, "--generate-completion-script", name], capture_output=True, timeout=60)
    assert made.returncode == 0
    script = folder / f"completion.{name}"
    script.write_bytes(made.stdout)
    return script, program


class Shell:
    """An interactive shell at a terminal of its own, which knows tetherfs's completions."""

    def __init__(self, name, folder, **variables):
        script, program = completion_script(name, folder)
        command, setup = SHELLS[name]
        env = {
            **environment(**variables), "TERM": "xterm", "PS1": "> ", "HOME": str(folder),
            "PATH": f"{program.parent}:{os.environ['PATH']}",
        }
        master, terminal = pty.openpty()
        self.terminal = master
        self.process = subprocess.Popen(
            command, env=env, cwd=folder, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
            # The terminal is the shell's own: without, there are no jobs.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(terminal)
        self.screen = ""
        self.type(setup.format(script) + "\n" + "echo rea''dy\n")
        self.poll(lambda: "ready" in self.read(), "no prompt")

    def read(self):
        while select.select([self.terminal], [], [], 0)[0]:
            try:
                self.screen += os.read(self.terminal, 65536).decode(errors="replace")
            except OSError:  # EIO: the shell has ended.
                break
        return CONTROL.sub("", self.screen)

    def type(self, text):
        os.write(self.terminal, text.encode())

    def tab(self, line, *expected, presses=1):
        """Types a line and TAB; waits until all that is expected is shown. Returns what is shown."""
        # Away with what is typed, as Ctrl-U does; a mark says where this one begins.
        mark = uuid.uuid4().hex
        self.type(f"\x15echo {mark[:16]}''{mark[16:]}\n")
        self.poll(lambda: re.search(mark + r"\s.*>\s*$", self.read(), re.DOTALL), "no prompt")
        self.screen = self.screen.split(mark)[-1]
        prompt = self.read()
        self.type(line)
        # TAB once the shell takes what is typed: a shell that does not is not what is tested. One was seen to show nothing
        # of a line for half a minute, with its prompt on the screen.
        self.poll(lambda: self.read() != prompt, f"nothing of {line!r}", lambda: self.type("\x15" + line))
        self.type("\t" * presses)
        # It is given up after two seconds.
        again = lambda: self.type("\t" * presses)  # noqa: E731
        self.poll(lambda: all(word in self.read() for word in expected), f"no {expected} for {line!r}", again)
        return self.read()

    def poll(self, condition, trouble, again=lambda: None):
        """Waits for something to be shown, and calls `again` after each ten seconds without. Fails after thirty, with what
        is shown, and what the shell and its children wait for."""
        for _ in range(3):
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                if condition():
                    return
                time.sleep(0.02)
            again()
        shell = str(self.process.pid)
        processes = subprocess.run(
            ["ps", "-o", "pid,pgid,tpgid,stat,wchan:32,args", "-p", shell, "--ppid", shell],
            capture_output=True, text=True, timeout=30,
        ).stdout
        raise TimeoutError(f"{trouble}: {self.screen!r}, ended: {self.process.poll()}\n{processes}")

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.terminal)


@pytest.fixture
def shell(request, tmp_path):
    """Makes a shell of a kind; it ends with the test."""
    def shell(name, server=None, **variables):
        made = Shell(name, tmp_path, server=server, **variables)
        request.addfinalizer(made.close)
        return made
    return shell


@pytest.fixture
def named(deployed):
    """A server whose two filesystems can be told apart by their first letters, and from all ids, which are hexadecimal."""
    for name in ("alpha", "gamma"):
        deployed.filesystems[deployed.create_filesystem(name)] = name
    yield deployed
    for name in ("alpha", "gamma"):
        [identifier] = [key for key, value in deployed.filesystems.items() if value == name]
        del deployed.filesystems[identifier], deployed.contents[identifier]


def content_of(server, name):
    [identifier] = [key for key, value in server.filesystems.items() if value == name]
    return server.content(identifier)


each_shell = pytest.mark.parametrize("name", SHELLS)


@each_shell
def test_tab_completes_the_name_of_a_profile(name, shell, tmp_path):
    (tmp_path / "configuration" / "tetherfs").mkdir(parents=True)
    (tmp_path / "configuration" / "tetherfs" / "config.toml").write_text("[profile.archive]\n[profile.work]\n")
    here = shell(name, XDG_CONFIG_HOME=str(tmp_path / "configuration"))
    here.tab("tetherfs ls --profile wo", "profile work")
    here.tab("tetherfs logout --profile ar", "profile archive")


@each_shell
def test_tab_completes_the_words_that_an_option_takes(name, shell):
    here = shell(name)
    here.tab("tetherfs mount data x --writes wr", "--writes write-back")
    here.tab("tetherfs mount data x --log-level warn", "--log-level warning")
    here.tab("tetherfs log-level /mnt not", "log-level /mnt notice")


@each_shell
def test_tab_completes_the_name_of_a_filesystem(name, shell, named):
    here = shell(name, named)
    here.tab("tetherfs mount al", "mount alpha")
    here.tab("tetherfs filesystems delete ga", "delete gamma")
    here.tab("tetherfs ls ga", "ls gamma:/")


@each_shell
def test_tab_completes_a_path_in_a_filesystem_with_one_listing(name, shell, named):
    content = content_of(named, "alpha")
    for path in ("photos/june.jpg", "photos/july.jpg", "notes.txt"):
        content.write(path, b"x")
    here = shell(name, named)
    with counting(named) as seen:
        here.tab("tetherfs ls alpha:/ph", "alpha:/photos/")
    # TAB may have had to be pressed once more.
    assert set(seen.calls) == {"filesystems", "list"} and seen.calls["list"] == seen.calls["filesystems"]
    here.tab("tetherfs rm alpha:/photos/june", "alpha:/photos/june.jpg")
    here.tab("tetherfs ls alpha:/photos/ju", "june.jpg", "july.jpg", presses=2)
    here.tab("tetherfs du alpha:/notes.txt alpha:/no", "alpha:/notes.txt alpha:/notes.txt")


@each_shell
def test_tab_completes_local_files_too_for_cp(name, shell, named, tmp_path):
    content_of(named, "alpha").write("remote-file", b"x")
    (tmp_path / "local-file").write_bytes(b"x")
    here = shell(name, named)
    here.tab("tetherfs cp loc", "cp local-file")
    here.tab("tetherfs cp local-file alpha:/rem", "cp local-file alpha:/remote-file")


@each_shell
def test_tab_runs_nothing_that_a_name_says_and_offers_it_whole(name, shell, named, tmp_path):
    content = content_of(named, "alpha")
    content.write("one$(touch hacked)`touch hacked`", b"x")
    content.write("two words:too", b"x")
    content.write("bad\x1b[2J", b"x")
    here = shell(name, named)
    shown = here.tab("tetherfs ls alpha:/on", "touch")
    shown += here.tab("tetherfs ls alpha:/two", "words")
    assert "too" in poll(lambda: "too" in here.read() and here.read(), 10, "all of the name")
    here.tab("tetherfs ls alpha:/", "one", "two", presses=2)
    assert "bad" not in here.read()
    assert not (tmp_path / "hacked").exists()


@each_shell
@pytest.mark.parametrize("place", ["local", "remote"])
def test_tab_runs_nothing_that_a_name_says_in_characters_that_marks_combine_with(name, place, shell, named, tmp_path):
    evil = "aa\u0d4e`\u0d4e;pwn;\u0301`\u0301"
    if place == "local":
        (tmp_path / evil).write_bytes(b"x")
    else:
        content_of(named, "alpha").write(evil, b"x")
    here = shell(name, named)
    (tmp_path / "bin" / "pwn").write_text("#!/bin/sh\necho > hacked\n")
    (tmp_path / "bin" / "pwn").chmod(0o755)
    here.tab("tetherfs ls alpha:/a" if place == "remote" else "tetherfs cp aa", "pwn")
    assert not (tmp_path / "hacked").exists()


@each_shell
def test_tab_offers_mount_points(name, shell, our_server, tmp_path):
    with Mount(our_server, our_server.create_filesystem(str(uuid.uuid4()))) as mount:
        here = shell(name)
        here.tab("tetherfs unmount " + mount.path[:-3], "unmount " + mount.path)
        here.tab("tetherfs status " + mount.path[:-3], "status " + mount.path)


@each_shell
def test_tab_uses_the_connection_that_the_line_names(name, shell, named, tmp_path):
    key = tmp_path / "key"
    key.write_text(named.api_key)
    key.chmod(0o600)
    here = shell(name)
    here.tab(f"tetherfs ls --endpoint {named.url} --api-key-file {key} ga", "gamma:/")


@each_shell
@pytest.mark.parametrize("trouble", ["silent", "refused", "no key"])
def test_tab_offers_and_says_nothing_where_there_is_trouble_and_does_not_hang(name, shell, trouble, deployed):
    def silent(*_):
        time.sleep(30)
        return b""
    with ScriptedServer(silent if trouble == "silent" else lambda *_: answer(401)) as script:
        variables = {} if trouble == "no key" else {"api_key": "x"}
        here = shell(name, endpoint=script.url, **variables)
        # The line can be gone on with once TAB has ended.
        shown = here.tab("tetherfs ls da\tx", "dax")
        assert "tetherfs:" not in shown and "rror" not in shown


def test_a_completion_is_killed_after_two_seconds(deployed):
    deployed.faults.add("filesystems", faultplan.stall(), times=None)
    command = [binary("tetherfs"), "---completion", "ls", "--", "positional@0", "2", "2", "tetherfs", "ls", "da"]
    result = subprocess.run(
        command, env={**environment(deployed), "SAP_SHELL": "bash"}, capture_output=True, timeout=20
    )
    assert (result.returncode, result.stdout, result.stderr) == (-14, b"", b"")
