"""One bounded pool of threads per operation, where the first failure cancels the rest. Transfer layer.

Own threads, not `concurrent.futures`: its workers are joined at interpreter exit, so that a Ctrl-C would wait for every
running download. These are daemons, asked to stop through a `Cancellation` that readers check, and waited for only so
long.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Final, Generic, TypeVar

__all__ = ["Cancellation", "Cancelled", "run_all"]

_T = TypeVar("_T")

# The main thread looks up this often, so that a signal is met even where a wait cannot be interrupted.
_WAIT_S: Final = 0.2
# A small task mostly waits for an answer: so many of them take the place of one, and no more threads than this run.
_SMALL_FOR_ONE: Final = 4
_MOST_THREADS: Final = 64
# A thread more, with its connection, has to have so many small tasks to do.
_SMALL_FOR_A_THREAD: Final = 4
# How long running tasks may take to notice that they were cancelled: after a failure (their own time limits are
# shorter), and after Ctrl-C.
_SETTLE_S: Final = 60.0
_INTERRUPTED_SETTLE_S: Final = 1.0


class Cancelled(Exception):
    """Raised by `Cancellation.check` inside a task; `run_all` gives the failure that was the reason instead."""


class Cancellation:
    """A flag that one thread sets and others look at."""

    def __init__(self) -> None:
        self._event = threading.Event()

    @property
    def is_cancelled(self) -> bool:
        return self._event.is_set()

    def cancel(self) -> None:
        """Ask everyone who looks to stop; safe from any thread and any number of times."""
        self._event.set()

    def check(self) -> None:
        """Nothing, or Cancelled once `cancel` was called. Called between chunks."""
        if self._event.is_set():
            raise Cancelled


def run_all(
    tasks: Sequence[Callable[[], _T]],
    *,
    jobs: int,
    small: Collection[int] = (),
    cancellation: Cancellation | None = None,
) -> list[_T]:
    """The results of `tasks`, in their order, run by at most `jobs` threads.

    `small` has the numbers of tasks that mostly wait, such as the fetching of a small blob: four of them count as one,
    unless there is one job. The others are begun first.

    The first failure is raised after the running tasks ended (they see `cancellation`; those that have not started
    never do). KeyboardInterrupt in the calling thread cancels and is raised again promptly. Raises Cancelled if
    `cancellation` was set by someone else. With one job or one task everything runs in the calling thread.
    """
    cancellation = cancellation or Cancellation()
    if jobs <= 1 or len(tasks) <= 1:
        return _run_here(tasks, cancellation)
    run = _Run(tasks, jobs, small, cancellation)
    try:
        run.start(_threads(jobs, len(tasks), len(small)))
        run.wait()
    except BaseException:
        cancellation.cancel()
        run.settle(_INTERRUPTED_SETTLE_S)
        raise
    return run.results()


def _threads(jobs: int, tasks: int, small: int) -> int:
    wide = min(jobs * _SMALL_FOR_ONE, _MOST_THREADS, small // _SMALL_FOR_A_THREAD)
    return min(max(jobs, wide), tasks)


def _run_here(tasks: Sequence[Callable[[], _T]], cancellation: Cancellation) -> list[_T]:
    results: list[_T] = []
    try:
        for task in tasks:
            cancellation.check()
            results.append(task())
    except BaseException:
        cancellation.cancel()
        raise
    return results


class _Run(Generic[_T]):
    """The shared state of one call of `run_all`."""

    def __init__(
        self, tasks: Sequence[Callable[[], _T]], jobs: int, small: Collection[int], cancellation: Cancellation
    ) -> None:
        self._tasks = tasks
        self._jobs = jobs
        self._cancellation = cancellation
        self._changed = threading.Condition()
        self._small = deque(sorted(small))
        self._large = deque(sorted(set(range(len(tasks))).difference(small)))
        self._large_running = 0
        self._running = 0
        self._done: dict[int, _T] = {}
        self._failure: BaseException | None = None

    def start(self, threads: int) -> None:
        """Begin with so many, or with as many as the system allows; RuntimeError if that is none."""
        for number in range(threads):
            with self._changed:
                self._running += 1
            try:
                threading.Thread(target=self._work, name=f"provender-{number}", daemon=True).start()
            except RuntimeError:
                with self._changed:
                    self._running -= 1
                if number == 0:
                    raise
                return

    def wait(self) -> None:
        """Returns when all workers ended, or, after a failure, when they had their time to."""
        with self._changed:
            while self._running:
                self._changed.wait(_WAIT_S)
                if self._cancellation.is_cancelled:
                    break
        self.settle(_SETTLE_S)

    def settle(self, limit_s: float) -> None:
        """Wait for the workers, but no longer than `limit_s`."""
        end = time.monotonic() + limit_s
        with self._changed:
            while self._running and (left := end - time.monotonic()) > 0:
                self._changed.wait(min(left, _WAIT_S))

    def results(self) -> list[_T]:
        with self._changed:
            if self._failure is not None:
                raise self._failure
            if len(self._done) < len(self._tasks):
                raise Cancelled
            return [self._done[number] for number in range(len(self._tasks))]

    def _work(self) -> None:
        try:
            number, is_large = self._take()
            while number is not None:
                result = self._tasks[number]()
                with self._changed:
                    self._done[number] = result
                    self._large_running -= is_large
                number, is_large = self._take()
        except Cancelled:
            self._cancellation.cancel()
        except BaseException as error:  # noqa: BLE001 - handed to the caller by `results`
            with self._changed:
                if self._failure is None:
                    self._failure = error
            self._cancellation.cancel()
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def _take(self) -> tuple[int | None, bool]:
        """The number of the next task, and whether it is a large one; None if others do what is left."""
        with self._changed:
            if self._cancellation.is_cancelled:
                return None, False
            if self._large and self._large_running < self._jobs:
                self._large_running += 1
                return self._large.popleft(), True
            return self._small.popleft() if self._small else None, False
