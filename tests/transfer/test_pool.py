"""The pool: order, bound, first failure, cancellation, Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from provender.transfer.pool import Cancellation, Cancelled, run_all


def test_results_come_in_the_order_of_the_tasks() -> None:
    first_may_end = threading.Event()

    def first() -> int:
        assert first_may_end.wait(30)
        return 1

    def second() -> int:
        first_may_end.set()
        return 2

    assert run_all([first, second], jobs=2) == [1, 2]


@pytest.mark.parametrize("jobs", [1, 3, 100])
def test_never_more_than_the_given_number_run_at_once(jobs: int) -> None:
    lock = threading.Lock()
    running = 0
    most = 0

    def task() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.002)
        with lock:
            running -= 1

    run_all([task] * 20, jobs=jobs)
    assert 1 <= most <= jobs


def test_four_small_tasks_run_in_place_of_one_and_large_ones_keep_their_number() -> None:
    changed = threading.Condition()
    running = {"small": 0, "large": 0}
    most = dict(running)

    def task(kind: str) -> None:
        with changed:
            running[kind] += 1
            most[kind] = max(most[kind], running[kind])
            changed.notify_all()
            # Until as many run as may; nothing ends before, so that the number is met and not only kept.
            assert changed.wait_for(lambda: most == {"small": 6, "large": 2}, 30)
            running[kind] -= 1

    kinds = ["small", "large"] * 8 + ["small"] * 24
    small = [number for number, kind in enumerate(kinds) if kind == "small"]
    run_all([lambda kind=kind: task(kind) for kind in kinds], jobs=2, small=small)
    assert most == {"small": 6, "large": 2}


def test_results_of_small_and_large_tasks_come_in_their_order() -> None:
    assert run_all([lambda number=number: number for number in range(40)], jobs=3, small=range(0, 40, 2)) == list(
        range(40)
    )


def test_one_job_is_one_thread_however_small_the_tasks() -> None:
    threads = run_all([threading.get_ident] * 40, jobs=1, small=range(40))
    assert set(threads) == {threading.get_ident()}


def test_a_thread_is_begun_for_four_small_tasks() -> None:
    together = threading.Barrier(4, timeout=30)

    def task() -> int:
        together.wait()
        return threading.get_ident()

    assert len(set(run_all([task] * 16, jobs=2, small=range(16)))) == 4


def test_fewer_threads_than_wanted_do_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start
    begun: list[threading.Thread] = []

    def limited(self: threading.Thread) -> None:
        if len(begun) == 2:
            raise RuntimeError("can't start new thread")
        begun.append(self)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", limited)
    assert run_all([lambda number=number: number for number in range(20)], jobs=8) == list(range(20))
    assert len(begun) == 2
    with pytest.raises(RuntimeError, match="new thread"):
        run_all([lambda: 1, lambda: 2], jobs=2)


def test_no_task_gives_no_result() -> None:
    assert run_all([], jobs=4) == []


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_first_failure_is_raised_and_tasks_not_started_never_start(jobs: int) -> None:
    started: list[int] = []

    def fails() -> None:
        started.append(0)
        raise ValueError("the first")

    def later(number: int) -> None:
        started.append(number)
        if number == 1:
            # Ends only once the failure is known, so the other tasks have no chance to be taken before.
            while not cancellation.is_cancelled:
                threading.Event().wait(0.001)

    cancellation = Cancellation()
    tasks = [fails, *(lambda number=number: later(number) for number in range(1, 50))]
    with pytest.raises(ValueError, match="the first"):
        run_all(tasks, jobs=jobs, cancellation=cancellation)
    assert set(started) <= {0, 1}
    assert cancellation.is_cancelled


def test_running_tasks_see_the_failure_of_another_and_their_cancelled_is_not_the_reason() -> None:
    cancellation = Cancellation()
    both_run = threading.Barrier(2, timeout=30)
    seen = threading.Event()

    def reads() -> None:
        both_run.wait()
        try:
            while True:
                cancellation.check()
                threading.Event().wait(0.001)
        except Cancelled:
            seen.set()
            raise

    def fails() -> None:
        both_run.wait()
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run_all([reads, fails], jobs=2, cancellation=cancellation)
    assert seen.is_set()


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_cancellation_from_outside_is_cancelled(jobs: int) -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(Cancelled):
        run_all([lambda: 1, lambda: 2], jobs=jobs, cancellation=cancellation)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_ends_the_process_while_workers_are_stuck() -> None:
    program = """
import os, sys, threading
from provender.transfer.pool import Cancellation, run_all
cancellation = Cancellation()
stuck = threading.Event()
def task():
    os.write(1, b"running\\n")  # in one piece, whichever thread is first
    stuck.wait()  # deaf to the cancellation
try:
    run_all([task, task], jobs=2, cancellation=cancellation)
except KeyboardInterrupt:
    print("interrupted", cancellation.is_cancelled, flush=True)
    sys.exit(130)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert [process.stdout.readline() for _ in range(2)] == ["running\n"] * 2
            os.kill(process.pid, signal.SIGINT)
            out, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    assert out == "interrupted True\n"
    assert process.returncode == 130
