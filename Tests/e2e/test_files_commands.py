"""tetherfs ls, mkdir, rm and du: what they print and ask for, on both servers, without a mount."""

import json
import subprocess

import pytest

import faultplan
from clikit import answer, at_terminal, environment, fails, tetherfs, ScriptedServer
from mountkit import counting, without_uploads
from serverkit import binary


@pytest.fixture
def command(server, filesystem):
    """Runs a command; `:` at the start of an argument stands for the filesystem's name and a colon."""
    def command(*arguments, **options):
        named = [f"{filesystem}{word}" if str(word).startswith(":") else word for word in arguments]
        return tetherfs(*named, server=server, **options)
    return command


def printed(result):
    assert (result.returncode, result.stderr) == (0, ""), result
    return result.stdout


def test_ls_prints_the_names_of_a_directory_in_order_and_asks_for_no_size(command, server, content):
    for name in ("b", "a b", "ä", "dir/inner"):
        content.write(name, b"x")
    with counting(server) as seen:
        assert printed(command("ls", ":/")) == "a b\nb\ndir\nä\n"
    assert seen.calls == {"filesystems": 1, "list": 1}
    assert printed(command("ls", ":dir")) == "inner\n"


def test_ls_l_prints_kinds_and_sizes_below_one_another(command, server, content):
    content.write("small", b"1")
    content.write("large", bytes(12345))
    content.mkdir("dir")
    with counting(server) as seen:
        assert printed(command("ls", "-l", ":/")) == "d      -  dir\n-  12345  large\n-      1  small\n"
    assert seen.calls["size"] == 2
    assert printed(command("ls", "-l", "--human", ":/")).splitlines()[1] == "-  12K  large"


def test_sizes_are_asked_for_many_at_once(deployed):
    filesystem = deployed.create_filesystem("wide")
    for number in range(200):
        deployed.content(filesystem).write(f"{number}", b"x")
    deployed.faults.add("size", faultplan.until_under_way(deployed.gauge, "size", 60), times=None)
    assert len(printed(tetherfs("ls", "-l", f"{filesystem}:/", server=deployed)).splitlines()) == 200
    assert 60 <= deployed.gauge.most["size"] <= 64


def test_ls_of_several_places_shows_files_first_and_names_each_directory(command, filesystem, content):
    for name in ("d/x", "e/y/z", "f"):
        content.write(name, b"x")
    at = f"{filesystem}:/"
    assert printed(command("ls", ":/e", ":/f", ":/d")) == f"{at}f\n\n{at}e:\ny\n\n{at}d:\nx\n"
    assert printed(command("ls", "-R", ":/e")) == f"{at}e:\ny\n\n{at}e/y:\nz\n"


def test_ls_goes_on_after_what_is_not_there_and_ends_with_1(command, filesystem, content):
    content.write("f", b"x")
    result = command("ls", ":/missing/also", ":/f", ":/f/below")
    assert (result.returncode, result.stdout) == (1, f"{filesystem}:/f\n")
    assert result.stderr == "".join(
        f"tetherfs: {filesystem}:/{name}: no such file or directory\n" for name in ("missing/also", "f/below")
    )


def test_ls_json_is_one_array_of_all_with_sizes_if_they_are_asked_for(command, filesystem, content):
    content.write("d/f", b"abc")
    assert json.loads(printed(command("ls", "--json", "-lR", ":/"))) == [
        {"filesystem": filesystem, "kind": "directory", "path": "/d"},
        {"filesystem": filesystem, "kind": "file", "path": "/d/f", "size": 3},
    ]
    assert json.loads(printed(command("ls", "--json", ":/d"))) == [
        {"filesystem": filesystem, "kind": "file", "path": "/d/f"}
    ]
    content.mkdir("empty")
    assert printed(command("ls", "--json", ":/empty")) == "[]\n"


def test_odd_names_are_safe_on_a_terminal_and_whole_elsewhere(command, server, filesystem, content):
    name = "a\x1b[2Jb\nc\u202ed"
    content.write(name, b"x")
    assert printed(command("ls", ":/")) == name + "\n"
    assert printed(command("ls", "-0", ":/")) == name + "\0"
    status, screen = at_terminal("ls", f"{filesystem}:/", server=server, typed="")
    assert (status, screen) == (0, "a?[2Jb?c?d\r\n")


def test_ls_ends_when_nobody_reads_any_more(server, filesystem, content):
    for number in range(20):
        content.write("x" * 200 + str(number), b"")
    process = subprocess.Popen(
        [binary("tetherfs"), "ls", f"{filesystem}:/"], env=environment(server), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(30) == 1


def test_a_size_that_cannot_be_had_is_a_question_mark_and_a_failure(deployed):
    filesystem = deployed.create_filesystem("sizes")
    for name in "ab":
        deployed.content(filesystem).write(name, b"12")
    deployed.faults.add("size", faultplan.status(503), path="/?a", times=None)
    result = tetherfs("ls", "-l", "--retries", "0", f"{filesystem}:/", server=deployed)
    assert (result.returncode, result.stdout) == (1, "-  ?  a\n-  2  b\n")
    assert result.stderr.startswith(f"tetherfs: {filesystem}:/a: cannot reach") and "503" in result.stderr


def test_a_wrong_name_says_what_to_do(server):
    name = f"photos-of-{server.create_filesystem('helper')}"
    server.create_filesystem(name)
    fails(tetherfs("ls", name[:-1] + ":/", server=server), f"did you mean '{name}'?", status=1)
    fails(tetherfs("ls", name, server=server), "write it as NAME:/path", f"{name}:/", status=1)
    fails(tetherfs("rm", f"{name}:/a/../b", server=server), "'..'", status=1)
    fails(tetherfs("ls", "/local/path", server=server), "NAME:/path", status=1)


def test_a_refused_key_is_told_once_for_a_command():
    with ScriptedServer(lambda *_: answer(401)) as script:
        fails(tetherfs("ls", "data:/", "data:/a", endpoint=script.url, api_key="x"), "refused the API key", status=1)


def test_mkdir_makes_one_directory_and_with_p_those_above_it(command, server, content):
    assert printed(command("mkdir", ":/one", ":/two")) == ""
    assert content.names() == ["one", "two"]
    fails(command("mkdir", ":/one"), "it exists already", status=1)
    fails(command("mkdir", ":/x/y/z"), "the directory above it is missing", "-p", status=1)
    with counting(server) as seen:
        assert printed(command("mkdir", "-p", ":/x/y/z")) == ""
    assert content.exists("x/y/z") and seen.calls["mkdir"] == 5
    assert printed(command("mkdir", "-p", ":/x/y/z", ":/x", ":/")) == ""
    content.write("f", b"")
    fails(command("mkdir", "-p", ":/f"), "is a file", status=1)
    fails(command("mkdir", "-p", ":/f/g"), status=1)
    assert content.read("f") == b""


def test_rm_deletes_files_and_refuses_directories_and_the_whole_filesystem(command, content):
    for name in ("a", "b", "d/c"):
        content.write(name, b"x")
    result = command("rm", ":/a", ":/d", ":/missing", ":/b")
    assert result.returncode == 1 and content.tree() == {"d": None, "d/c": b"x"}
    assert "/d: it is a directory; -r" in result.stderr and "/missing: no such file" in result.stderr
    fails(command("rm", "-r", ":/d", ":/"), "is the whole filesystem", "filesystems delete", status=1)
    assert content.exists("d/c")
    assert printed(command("rm", "-f", ":/missing")) == ""


def test_rm_r_deletes_a_tree_with_one_request(command, server, content):
    for number in range(20):
        content.write(f"d/{number}/f", b"x")
    with counting(server) as seen:
        assert printed(command("rm", "-r", ":/d")) == ""
    assert content.tree() == {} and seen.calls["delete"] == 1


def test_rm_r_goes_on_after_an_answer_that_was_lost(deployed):
    filesystem = deployed.create_filesystem("lost")
    deployed.content(filesystem).write("d/f", b"x")
    rule = deployed.faults.add("delete", faultplan.status(503))
    assert printed(tetherfs("rm", "-r", f"{filesystem}:/d", server=deployed)) == ""
    assert rule.hits == 1 and deployed.content(filesystem).tree() == {}


def test_du_adds_up_what_is_below_each_directory(command, server, filesystem, content):
    for name, size in {"a": 1, "d/b": 20, "d/e/c": 300, "d/e/empty": 0}.items():
        content.write(name, bytes(size))
    at = f"{filesystem}:/"
    with counting(server) as seen:
        assert printed(command("du", ":/")) == f"300\t{at}d/e\n320\t{at}d\n321\t{at}\n"
    assert seen.calls == {"filesystems": 1, "list": 3, "size": 4}
    assert printed(command("du", "-s", "--human", ":/", ":/d/b")) == f"321\t{at}\n20\t{at}d/b\n"
    assert json.loads(printed(command("du", "-s", "--json", ":/d"))) == [
        {"filesystem": filesystem, "path": "/d", "bytes": 320, "files": 3}
    ]


def test_du_does_not_count_what_it_cannot_see_and_says_so(deployed):
    filesystem = deployed.create_filesystem("unseen")
    for name in ("d/a", "e/b", "e/c"):
        deployed.content(filesystem).write(name, b"12")
    deployed.faults.add("list", faultplan.status(500), path="/?d", times=None)
    deployed.faults.add("size", faultplan.status(404), path="/?e/c", times=None)
    result = tetherfs("du", "-s", "--retries", "0", f"{filesystem}:/", server=deployed)
    assert (result.returncode, result.stdout) == (1, f"2\t{filesystem}:/\n")
    assert "/d: cannot reach" in result.stderr and "/e/c: no such file" in result.stderr
    assert without_uploads(deployed.content(filesystem))
