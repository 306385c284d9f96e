"""Each fault of a server times each operation: it succeeds after retries, or fails with the right errno; nothing lies.

docs/faults.md is the table of it. `make faults` (TETHERFS_WRITE_FAULTS=1) writes it anew.
"""

import difflib
import os

import pytest

from faultoperations import OPERATIONS, with_local_tree
from faulttable import FAULTS, cells, page
from serverkit import REPOSITORY

PAGE = REPOSITORY / "docs" / "faults.md"

# In write-back mode names are changed as in the other.
OTHER_MODE_LACKS = {"rename a directory", "mkdir", "rmdir"}

TITLES = {
    "sync": ("`--writes sync`, the default", "A success of `close`, `fsync` and `truncate` means: on the server."),
    "write-back": (
        "`--writes write-back`",
        "A success of `close`, `fsync` and `truncate` means: safe on the local disk. All was on the server at\n"
        "the next `tetherfs flush` after the fault was over; until then the server had the old file, whole.",
    ),
}
CASES = [(mode, fault) for mode in TITLES for fault in FAULTS]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """All cells of each mode, by fault and operation."""
    operations = OPERATIONS + with_local_tree(tmp_path_factory.mktemp("tree"))
    writing = [
        operation for operation in operations
        if operation.before != operation.after and operation.name not in OTHER_MODE_LACKS
    ]
    return cells({"sync": operations, "write-back": writing})


@pytest.mark.parametrize("mode, fault", CASES)
def test_a_fault_is_survived_if_it_passes_and_told_if_it_stays(tables, mode, fault):
    found = {name: cell.problems for (other, name), cell in tables[mode].items() if other == fault}
    assert found
    problems = [f"{name}: {problem}" for name, problems in found.items() for problem in problems]
    assert not problems, "\n".join(problems)


def test_the_table_in_the_docs_is_what_is_seen(tables):
    seen = page({title: (text, tables[mode]) for mode, (title, text) in TITLES.items()})
    if os.environ.get("TETHERFS_WRITE_FAULTS"):
        PAGE.write_text(seen)
    written = PAGE.read_text() if PAGE.exists() else ""
    # On a busy machine a size may be too old to tell by it that a call was done.
    ours, theirs = ([without_chance(line) for line in text.splitlines()] for text in (seen, written))
    changes = difflib.unified_diff(written.splitlines(), seen.splitlines(), "docs/faults.md", "seen", lineterm="", n=0)
    is_covered = len(ours) == len(theirs) and all(map(covers, theirs, ours))
    assert is_covered, "\n".join(["make faults writes it anew:", *changes])


def without_chance(line):
    """A row of a table as sets of the failures in its cells; any other line as it is."""
    name, *cells = line.strip("|").split("|") if line.startswith("|") else [line]
    return name, [set(cell.split()) - {"ok"} for cell in cells]


def covers(written, seen):
    """Whether a row has all failures that were seen."""
    return written[0] == seen[0] and len(written[1]) == len(seen[1]) and all(map(set.issuperset, written[1], seen[1]))
