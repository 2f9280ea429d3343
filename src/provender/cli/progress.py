"""Progress displays: bars that vanish on a terminal, one line per finished item in a build log."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

__all__ = ["BarProgress", "LineProgress"]


# An item up to this size is gone before its bar can be read: all of them share one.
_SMALL_BYTES: Final = 256 << 10
_SMALL: Final = -1


class BarProgress:
    """A bar per item in transfer, and one for all small ones, on stderr; from the first item on, gone after `stop`."""

    def __init__(self, stream: TextIO, clean: Callable[[str], str]) -> None:
        self._stream = stream
        self._clean = clean
        self._lock = threading.Lock()
        self._rich: RichProgress | None = None
        self._small: TaskID | None = None
        self._small_bytes = 0
        self._small_done = 0

    def start(self, name: str, total_bytes: int | None) -> int:
        with self._lock:
            if self._rich is None:
                self._rich = self._open()
            if total_bytes is None or total_bytes > _SMALL_BYTES:
                return self._rich.add_task(self._clean(name)[-40:], total=total_bytes)
            self._small_bytes += total_bytes
            if self._small is None:
                self._small = self._rich.add_task("small ones", total=self._small_bytes)
            else:
                self._rich.update(self._small, total=self._small_bytes)
            return _SMALL

    def advance(self, task: int, count: int) -> None:
        with self._lock:
            if self._rich is not None:
                self._rich.advance(self._numbered(task), count)

    def done(self, task: int) -> None:
        with self._lock:
            if self._rich is None:
                return
            if task != _SMALL:
                self._rich.remove_task(self._numbered(task))
            elif self._small is not None:
                self._small_done += 1
                self._rich.update(self._small, description=f"small ones, {self._small_done} done")

    def stop(self) -> None:
        """Take all bars away."""
        with self._lock:
            if self._rich is not None:
                self._rich.stop()
                self._rich = self._small = None

    def _numbered(self, task: int) -> TaskID:
        from rich.progress import TaskID

        return self._small if task == _SMALL and self._small is not None else TaskID(task)

    def _open(self) -> RichProgress:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, Task, TextColumn, TransferSpeedColumn
        from rich.text import Text

        class Amount(DownloadColumn):
            def render(self, task: Task) -> Text:
                return super().render(task) if task.completed or task.total else Text()

        class Speed(TransferSpeedColumn):
            def render(self, task: Task) -> Text:
                return super().render(task) if task.completed else Text()

        rich = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            Amount(binary_units=True),
            Speed(),
            console=Console(file=self._stream),
            transient=True,
            refresh_per_second=8,
        )
        rich.start()
        return rich


class LineProgress:
    """One line when an item is finished; for logs."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._names: dict[int, str] = {}
        self._lock = threading.Lock()

    def start(self, name: str, total_bytes: int | None) -> int:  # noqa: ARG002  # the protocol's signature
        with self._lock:
            task = len(self._names)
            self._names[task] = name
            return task

    def advance(self, task: int, count: int) -> None:
        """Nothing: a log has no moving parts."""

    def done(self, task: int) -> None:
        self._say(f"done: {self._names[task]}")
