"""A clock for many threads that sleep: it jumps to the next who wakes as soon as nobody else does anything."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Final, Self

__all__ = ["JumpingClock"]

_QUIET_S: Final = 0.003


class JumpingClock:
    """`sleep` and `monotonic` for `Timing`. Whoever is busy calls `touch`; after 3 ms of quiet the time goes on."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._wakes: list[float] = []
        self._changed = threading.Condition()
        self._touched = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="jumping-clock")

    def monotonic(self) -> float:
        """Seconds since some time."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Return when the clock is that much further."""
        with self._changed:
            wakes = self._now + seconds
            self._wakes.append(wakes)
            self._changed.wait_for(lambda: self._now >= wakes or self._stopped.is_set(), 60)
            self._wakes.remove(wakes)

    def touch(self) -> None:
        """Something is going on."""
        self._touched.set()

    def _run(self) -> None:
        while not self._stopped.wait(_QUIET_S):
            if self._touched.is_set():
                self._touched.clear()
                continue
            with self._changed:
                ahead = [wakes for wakes in self._wakes if wakes > self._now]
                if ahead:
                    self._now = min(ahead)
                    self._changed.notify_all()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._stopped.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(10)
