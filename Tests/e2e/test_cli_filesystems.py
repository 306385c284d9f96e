"""`tetherfs filesystems`: listing, making, deleting and sharing them."""

import json

from clikit import at_terminal, fails, filesystem_names, tetherfs
from servercalls import Calls


def test_list_of_no_filesystems_says_how_to_make_one(lone):
    result = tetherfs("filesystems", "list", server=lone)
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr == "tetherfs: no filesystems; make one with: tetherfs filesystems create NAME\n"
    result = tetherfs("filesystems", "list", "--json", server=lone)
    assert (result.returncode, result.stdout, result.stderr) == (0, "[]\n", "")


def test_list_prints_id_and_name_a_line_in_the_order_of_names(lone):
    ids = {name: lone.create_filesystem(name) for name in ("z", "a b,c", "ünï", "Z")}
    order = sorted(ids)
    result = tetherfs("filesystems", "list", server=lone)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [f"{ids[name]}  {name}" for name in order]
    result = tetherfs("filesystems", "list", "--json", server=lone)
    assert json.loads(result.stdout) == [{"filesystem_id": ids[name], "filesystem_name": name} for name in order]
    assert result.stdout.count("\n") == 1


def test_create_prints_id_and_name(lone):
    result = tetherfs("filesystems", "create", "one two", server=lone)
    assert (result.returncode, result.stderr) == (0, "")
    identifier, _, name = result.stdout.rstrip("\n").partition("  ")
    assert name == "one two"
    assert Calls(lone, identifier).list().status_code == 200


def test_create_prints_json(lone):
    result = tetherfs("filesystems", "create", "ü", "--json", server=lone)
    assert (result.returncode, result.stderr) == (0, "")
    created = json.loads(result.stdout)
    assert created["filesystem_name"] == "ü"
    assert Calls(lone, created["filesystem_id"]).list().status_code == 200


def test_create_of_a_name_that_is_taken_or_impossible_fails_and_makes_nothing(lone):
    lone.create_filesystem("a")
    fails(tetherfs("filesystems", "create", "a", server=lone), "'a'", "already")
    fails(tetherfs("filesystems", "create", "", server=lone), "empty")
    fails(tetherfs("filesystems", "create", "x\ny", server=lone), "status 400", "control characters")
    fails(tetherfs("filesystems", "create", "y" * 256, server=lone), "status 400", "255 bytes")
    assert filesystem_names(lone) == ["a"]


def test_delete_without_a_terminal_to_ask_at_needs_yes(lone):
    lone.create_filesystem("a")
    fails(tetherfs("filesystems", "delete", "a", server=lone), "--yes")
    assert filesystem_names(lone) == ["a"]
    result = tetherfs("filesystems", "delete", "a", "--yes", server=lone)
    assert (result.returncode, result.stdout) == (0, "")
    assert "'a'" in result.stderr
    assert filesystem_names(lone) == []


def test_delete_asks_for_the_name_again(lone):
    identifier = lone.create_filesystem("one two")
    for wrong in ("one\n", identifier + "\n", "y\n", "\n", "\x04"):
        status, screen = at_terminal("filesystems", "delete", "one two", server=lone, typed=wrong)
        assert status == 1
        assert "deletes 'one two'" in screen and identifier in screen
        assert "nothing was deleted" in screen
        assert filesystem_names(lone) == ["one two"]
    status, screen = at_terminal("filesystems", "delete", "one two", server=lone, typed="one two\n")
    assert status == 0 and "deleted 'one two'" in screen.splitlines()[-1]
    assert filesystem_names(lone) == []


def test_delete_by_id_asks_for_the_name(lone):
    identifier = lone.create_filesystem("a")
    assert at_terminal("filesystems", "delete", identifier, server=lone, typed="a\n")[0] == 0
    assert filesystem_names(lone) == []


def test_delete_of_an_unknown_name_asks_nothing_and_names_those_that_exist(lone):
    lone.create_filesystem("one two")
    lone.create_filesystem("b")
    for yes in ([], ["--yes"]):
        status, screen = at_terminal("filesystems", "delete", "B", *yes, server=lone, typed="B\n")
        assert (status, screen) == (1, "tetherfs: no filesystem 'B'; there are: b, one two\r\n")
    assert filesystem_names(lone) == ["b", "one two"]


def test_share_lets_the_other_user_in(lone):
    lone.create_filesystem("a")
    other = lone.add_user("other")
    assert filesystem_names(lone, api_key=other["api_key"]) == []
    result = tetherfs("filesystems", "share", "a", "--with", other["user_id"], server=lone)
    assert (result.returncode, result.stdout) == (0, "")
    assert "'a'" in result.stderr and other["user_id"] in result.stderr
    assert filesystem_names(lone, api_key=other["api_key"]) == ["a"]
    fails(tetherfs("filesystems", "share", "a", "--with", other["user_id"], server=lone), "shared already")


def test_share_with_somebody_who_cannot_be_fails(lone):
    lone.create_filesystem("a")
    fails(tetherfs("filesystems", "share", "a", "--with", "joe", server=lone), "status 400")
    fails(tetherfs("filesystems", "share", "a", "--with", lone.user_id, server=lone), "does not allow")
    fails(tetherfs("filesystems", "share", "a", "--with", "", server=lone), "--with")
    fails(tetherfs("filesystems", "share", "b", "--with", lone.user_id, server=lone), "no filesystem 'b'", ": a")


def test_two_shared_filesystems_of_one_name_are_told_apart_by_id(lone):
    other = lone.add_user("other")
    mine, theirs = lone.create_filesystem("a"), lone.create_filesystem("a", other["api_key"])
    share = tetherfs("filesystems", "share", "a", "--with", lone.user_id, server=lone, api_key=other["api_key"])
    assert share.returncode == 0, share.stderr
    fails(tetherfs("filesystems", "delete", "a", "--yes", server=lone), mine, theirs, "give the id")
    assert tetherfs("filesystems", "delete", mine, "--yes", server=lone).returncode == 0
    assert filesystem_names(lone) == ["a"]
