"""A crew works at everything it was given, or says why not, and has let go of everything once it was stopped."""

from __future__ import annotations

import threading

import pytest

from provender.artifact.crew import Crew


def test_everything_is_worked_at_by_the_end() -> None:
    seen: list[int] = []
    crew: Crew[int] = Crew(seen.append, threads=2, waiting=3)
    for number in range(200):
        crew.put(number)
    crew.finish()
    assert sorted(seen) == list(range(200))


def test_the_first_error_is_raised_and_ends_the_work() -> None:
    seen: list[int] = []

    def work(number: int) -> None:
        if number == 3:
            raise OSError("disk full")
        seen.append(number)

    def feed() -> None:
        for number in range(1000):
            crew.put(number)

    crew: Crew[int] = Crew(work, threads=1, waiting=2)
    with pytest.raises(OSError, match="disk full"):
        feed()
    assert seen == [0, 1, 2]
    with pytest.raises(OSError, match="disk full"):
        crew.finish()
    crew.stop()


def test_no_more_than_agreed_is_held() -> None:
    gate, held = threading.Event(), threading.Semaphore(0)
    crew: Crew[int] = Crew(lambda _: gate.wait(30) or None, threads=1, waiting=2)

    def feed() -> None:
        for number in range(4):
            crew.put(number)
            held.release()

    feeder = threading.Thread(target=feed)
    feeder.start()
    for _ in range(3):
        assert held.acquire(timeout=30)
    assert not held.acquire(timeout=0.05)
    gate.set()
    feeder.join(30)
    crew.finish()


def test_stop_waits_for_what_is_under_way_and_drops_the_rest() -> None:
    started, gate = threading.Event(), threading.Event()
    seen: list[int] = []

    def work(number: int) -> None:
        started.set()
        gate.wait(30)
        seen.append(number)

    crew: Crew[int] = Crew(work, threads=1, waiting=5)
    for number in range(4):
        crew.put(number)
    assert started.wait(30)
    stopper = threading.Thread(target=crew.stop)
    stopper.start()
    stopper.join(0.05)
    assert stopper.is_alive()
    gate.set()
    stopper.join(30)
    assert not stopper.is_alive()
    assert seen == [0]
