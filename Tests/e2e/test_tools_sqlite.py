"""SQLite with its database on a mount, against both servers."""

import json
import os
import signal
import sys

from mountkit import Mount, check, python, run

CREATE = """
    CREATE TABLE entries (id INTEGER PRIMARY KEY, name TEXT NOT NULL, data BLOB);
    CREATE INDEX names ON entries (name);
"""


def insert(first, last):
    """One transaction that adds the entries from first to last."""
    numbers = f"WITH RECURSIVE c(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM c WHERE i < {last})"
    return f"BEGIN; {numbers} INSERT INTO entries SELECT i, 'name ' || i, randomblob(100 + i % 400) FROM c; COMMIT;"


def sqlite(database, *statements):
    """Runs SQL in the sqlite3 program; it must succeed."""
    return check(["sqlite3", "-batch", "-bail", database, *statements])


def state(database):
    """What a database says of itself, and a sum over all that is in it."""
    return json.loads(check(["sqlite3", "-json", database, """
        SELECT (SELECT group_concat(integrity_check) FROM pragma_integrity_check) AS integrity, count(*) AS count,
               sum(id) AS ids, sum(length(data)) AS bytes, sum(unicode(substr(hex(data), 7, 1))) AS digits FROM entries
    """]))[0]


def test_a_database_is_intact_on_the_mount_after_another_mount_and_at_the_server(
    server, filesystem, mount, content, tmp_path
):
    sqlite(mount / "db", CREATE)
    for first in range(1, 1001, 250):
        sqlite(mount / "db", insert(first, first + 249))
    before = state(mount / "db")
    assert (before["integrity"], before["count"], before["ids"]) == ("ok", 1000, 500_500)
    # No journal is left, here or there.
    assert content.names() == ["db"]
    assert mount.unmount().returncode == 0
    with Mount(server, filesystem) as again:
        assert state(again / "db") == before
        sqlite(again / "db", "UPDATE entries SET name = 'changed' WHERE id % 10 = 0")
        sqlite(again / "db", "DELETE FROM entries WHERE id > 900", "VACUUM")
        assert sqlite(again / "db", "SELECT count(*) FROM entries WHERE name = 'changed'") == "90\n"
        after = state(again / "db")
        assert (after["integrity"], after["count"]) == ("ok", 900)
    (tmp_path / "db").write_bytes(content.read("db"))
    assert state(tmp_path / "db") == after


def test_a_transaction_that_is_rolled_back_changes_nothing(mount):
    sqlite(mount / "db", CREATE, insert(1, 300))
    before = state(mount / "db")
    sqlite(mount / "db", "BEGIN", "DELETE FROM entries", "ROLLBACK")
    assert state(mount / "db") == before


def test_a_writer_that_is_killed_leaves_a_database_that_rolls_back(mount):
    sqlite(mount / "db", CREATE, insert(1, 1000))
    before = state(mount / "db")
    # A tiny cache: changed pages reach the file before the transaction ends.
    code = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 10")
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE entries SET data = zeroblob(400)")
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert run([sys.executable, "-c", code, mount / "db"]).returncode == -signal.SIGKILL
    assert os.path.getsize(mount / "db-journal") > 0
    assert state(mount / "db") == before


def test_two_programs_that_write_one_database_wait_for_each_other(mount):
    sqlite(mount / "db", CREATE)
    python("""
import sqlite3, subprocess
code = '''
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=50, isolation_level=None)
for index in range(10):
    connection.execute("INSERT INTO entries (name) VALUES (?)", (sys.argv[2],))
'''
writers = [subprocess.Popen([sys.executable, "-c", code, sys.argv[1], name]) for name in "ab"]
sys.exit(max(writer.wait() for writer in writers))
""", mount / "db")
    assert sqlite(mount / "db", "SELECT name, count(*) FROM entries GROUP BY name") == "a|10\nb|10\n"
    assert state(mount / "db")["integrity"] == "ok"
