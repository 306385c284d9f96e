"""Nothing that was promised is lost when the driver, the server or both are killed at any moment (see crashmodel)."""

import pytest

from crashkit import LARGE, MORE, SMALL, Crash, new_seed
from serverkit import Server

ROUNDS = 10


@pytest.fixture(scope="module")
def killable():
    """A tetherfs-server that may be killed."""
    with Server() as server:
        yield server


def crashes(server, request, mode, victim, sizes=SMALL, options=()):
    filesystem = server.create_filesystem(request.node.name)
    with Crash(server, filesystem, mode, victim, new_seed(), sizes, options) as crash:
        for _ in range(ROUNDS):
            crash.round()


MODES = ["sync", "write-back"]


@pytest.mark.parametrize("run", range(8))
@pytest.mark.parametrize("mode", MODES)
def test_what_was_promised_outlives_a_driver_that_is_killed_at_any_moment(deployed, request, mode, run):
    crashes(deployed, request, mode, "driver")


@pytest.mark.parametrize("mode, options", [
    ("write-back", ["--on-conflict", "last-writer-wins"]),
    # Long enough that a crash finds such names waiting.
    ("sync", ["--temporary-delay", 2]),
], ids=["last-writer-wins", "temporary-delay"])
def test_what_was_promised_outlives_a_killed_driver_with_other_options_too(deployed, request, mode, options):
    crashes(deployed, request, mode, "driver", options=options)


@pytest.mark.parametrize("run", range(2))
@pytest.mark.parametrize("mode", MODES)
def test_what_was_promised_of_large_files_outlives_a_driver_that_is_killed(killable, request, mode, run):
    crashes(killable, request, mode, "driver", LARGE)


@pytest.mark.parametrize("run", range(3))
@pytest.mark.parametrize("mode", MODES)
def test_what_was_promised_outlives_a_server_that_is_killed_at_any_moment(killable, request, mode, run):
    crashes(killable, request, mode, "server", MORE)


@pytest.mark.parametrize("run", range(2))
@pytest.mark.parametrize("mode", MODES)
def test_what_was_promised_outlives_driver_and_server_killed_together(killable, request, mode, run):
    crashes(killable, request, mode, "both", MORE)
