"""git with its repository on a mount, against both servers."""

import os

import pytest

from mountkit import Mount, check, run
from servercalls import pattern

# Nothing of the machine's own configuration, and fixed names: every run makes the same commits.
ENVIRONMENT = {
    **os.environ, "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C",
    "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.invalid", "GIT_AUTHOR_DATE": "2020-01-01T00:00:00Z",
    "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.invalid", "GIT_COMMITTER_DATE": "2020-01-01T00:00:00Z",
}


def git(directory, *arguments):
    """Runs git in a directory; it must succeed."""
    return check(["git", "-C", directory, *arguments], env=ENVIRONMENT)


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """A repository of 30 files, two branches and a tag."""
    folder = tmp_path_factory.mktemp("origin")
    git(folder, "init", "--quiet", "--initial-branch=main")
    for commit in range(3):
        for index in range(10):
            path = folder / f"part {commit}" / f"file-{index}"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(pattern(1 + 3000 * index, commit))
        (folder / "part 0" / "file-0").write_text(f"generation {commit}\n")
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "-m", f"Commit {commit}")
    (folder / "part 0" / "file-1").chmod(0o755)
    git(folder, "commit", "--quiet", "-am", "A program")
    git(folder, "branch", "other", "HEAD~2")
    git(folder, "tag", "-a", "v1", "-m", "The first")
    return folder


@pytest.fixture
def clone(mount, origin):
    """The repository, cloned onto the mount."""
    check(["git", "clone", "--quiet", origin, mount / "clone"], env=ENVIRONMENT)
    return mount / "clone"


def is_whole(clone):
    git(clone, "fsck", "--full", "--strict")
    return True


def test_a_clone_is_whole_and_clean(clone, origin):
    assert is_whole(clone)
    assert git(clone, "status", "--porcelain") == ""
    assert git(clone, "rev-parse", "HEAD") == git(origin, "rev-parse", "HEAD")
    check(["diff", "-r", "--exclude=.git", origin, clone])
    assert os.access(os.path.join(clone, "part 0", "file-1"), os.X_OK)


def test_commits_branches_and_merges_on_the_mount(clone, origin, tmp_path):
    path = os.path.join(clone, "part 1", "file-3")
    with open(path, "ab") as file:
        file.write(b"appended\n")
    assert git(clone, "status", "--porcelain") == ' M "part 1/file-3"\n'
    git(clone, "commit", "--quiet", "-am", "Append")
    git(clone, "checkout", "--quiet", "-b", "side", "origin/other")
    git(clone, "mv", "part 0/file-2", "moved")
    git(clone, "rm", "--quiet", "part 0/file-3")
    git(clone, "commit", "--quiet", "-m", "Move and remove")
    git(clone, "checkout", "--quiet", "main")
    git(clone, "merge", "--quiet", "--no-edit", "side")
    assert git(clone, "status", "--porcelain") == ""
    assert is_whole(clone)
    check(["git", "clone", "--quiet", clone, tmp_path / "back"], env=ENVIRONMENT)
    assert is_whole(tmp_path / "back")
    check(["diff", "-r", "--exclude=.git", clone, tmp_path / "back"])
    assert (tmp_path / "back" / "part 1" / "file-3").read_bytes().endswith(b"appended\n")


def test_a_repository_is_packed_fetched_into_and_pushed_to(clone, origin, tmp_path):
    git(clone, "gc", "--quiet", "--prune=now")
    assert is_whole(clone)
    check(["git", "clone", "--quiet", "--no-hardlinks", clone, tmp_path / "work"], env=ENVIRONMENT)
    work = tmp_path / "work"
    (work / "new").write_text("new\n")
    git(work, "add", "new")
    git(work, "commit", "--quiet", "-m", "New")
    git(work, "push", "--quiet", "origin", "HEAD:refs/heads/pushed")
    git(clone, "fetch", "--quiet", work, "HEAD:refs/heads/fetched")
    assert git(clone, "rev-parse", "pushed") == git(clone, "rev-parse", "fetched") == git(work, "rev-parse", "HEAD")
    assert is_whole(clone)


def test_a_repository_is_whole_and_clean_after_another_mount(server, filesystem, mount, clone, origin):
    # Packed: many small files less to fetch.
    git(clone, "gc", "--quiet")
    head = git(clone, "rev-parse", "HEAD")
    assert mount.unmount().returncode == 0
    with Mount(server, filesystem) as again:
        assert is_whole(again / "clone")
        assert git(again / "clone", "rev-parse", "HEAD") == head
        # The service keeps no modes: the program has lost its x, unless git is told not to look.
        assert git(again / "clone", "-c", "core.fileMode=false", "status", "--porcelain") == ""


def test_git_learns_that_there_are_no_symbolic_links(clone):
    assert git(clone, "config", "core.symlinks") == "false\n"
    assert git(clone, "config", "core.fileMode") == "true\n"


def test_git_init_on_the_mount(mount):
    check(["git", "init", "--quiet", "--initial-branch=main", mount / "new"], env=ENVIRONMENT)
    check(["sh", "-c", 'echo one > "$0"', mount / "new/file"])
    git(mount / "new", "add", ".")
    git(mount / "new", "commit", "--quiet", "-m", "One")
    assert git(mount / "new", "log", "--format=%s") == "One\n"
    assert run(["git", "-C", mount / "new", "stash"], env=ENVIRONMENT).returncode == 0
    assert is_whole(mount / "new")
