"""How many gits speak to one host at once."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest

from provender.storage.git.turns import HostTurns
from provender.transfer.pool import Cancellation, Cancelled


@pytest.mark.parametrize(
    ("url", "same", "most"),
    [
        ("ssh://git@h.example/a.git", "ssh://H.example/b.git", 8),
        ("git@h.example:a.git", "other@h.example:b.git", 8),
        ("https://h.example/a.git", "https://h.example/b.git", 16),
    ],
)
def test_a_host_is_spoken_to_by_so_many_at_once(url: str, same: str, most: int) -> None:
    turns, cancellation = HostTurns(), Cancellation()
    with ExitStack() as held:
        for _ in range(most):
            held.enter_context(turns.taken(url, cancellation.check))
        with turns.taken("https://elsewhere.example/a.git", cancellation.check):
            pass
        cancellation.cancel()
        with pytest.raises(Cancelled), turns.taken(same, cancellation.check):
            pass
    with turns.taken(same, Cancellation().check):
        pass


def test_whoever_waits_gets_the_turn_that_is_given_back() -> None:
    turns = HostTurns()
    had = threading.Event()

    def wait() -> None:
        with turns.taken("git@h.example:x", Cancellation().check):
            had.set()

    with ExitStack() as held:
        for _ in range(8):
            held.enter_context(turns.taken("git@h.example:x", Cancellation().check))
        thread = threading.Thread(target=wait)
        thread.start()
        assert not had.is_set()
    thread.join(30)
    assert had.is_set()
