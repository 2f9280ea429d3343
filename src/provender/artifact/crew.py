"""A few threads that work off what one thread finds, for work that is mostly the kernel's, such as creating files.

Artifact layer. Creating files from two threads keeps two cores busy where one thread would wait for the file system.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final, Generic, TypeVar

__all__ = ["Crew"]

_T = TypeVar("_T")

_WAIT_S: Final = 1.0


class Crew(Generic[_T]):
    """Threads that call `work` with each item; at most `waiting` items are held besides those being worked at.

    After the first error no further item is worked at, and `put` and `finish` raise it. `finish` or `stop` has to come
    last: only then has nobody an item any more.
    """

    def __init__(self, work: Callable[[_T], None], *, threads: int, waiting: int) -> None:
        self._work = work
        self._items: SimpleQueue[_T | None] = SimpleQueue()
        self._room = threading.Semaphore(waiting + threads)
        self._error: BaseException | None = None
        self._is_stopped = False
        self._threads = [threading.Thread(target=self._run, name=f"crew-{n}", daemon=True) for n in range(threads)]
        for thread in self._threads:
            thread.start()

    def put(self, item: _T) -> None:
        """Hands `item` over; waits while enough are under way."""
        self._room.acquire()
        if self._error is not None:
            self._room.release()
            raise self._error
        self._items.put(item)

    def finish(self) -> None:
        """Waits until every item was worked at."""
        self._join()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Waits for what is being worked at, and drops the rest."""
        self._is_stopped = True
        self._join()

    def _join(self) -> None:
        for _ in self._threads:
            self._items.put(None)
        while self._threads:
            # Waking up now and then lets an interrupt through.
            self._threads[-1].join(_WAIT_S)
            if not self._threads[-1].is_alive():
                self._threads.pop()

    def _run(self) -> None:
        while (item := self._items.get()) is not None:
            try:
                if self._error is None and not self._is_stopped:
                    self._work(item)
            except BaseException as error:  # noqa: BLE001 - a worker hands every error to whoever waits
                self._error = error
            finally:
                self._room.release()
