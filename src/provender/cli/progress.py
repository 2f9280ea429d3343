"""Progress displays: bars that vanish on a terminal, one line per finished item in a build log."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

__all__ = ["BarProgress", "LineProgress"]


class BarProgress:
    """A bar per item in transfer, on stderr; drawn from the first item on, gone after `stop`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._rich: RichProgress | None = None

    def start(self, name: str, total_bytes: int | None) -> int:
        with self._lock:
            if self._rich is None:
                self._rich = self._open()
            return self._rich.add_task(name[-40:], total=total_bytes)

    def advance(self, task: int, count: int) -> None:
        if self._rich is not None:
            self._rich.advance(_task(task), count)

    def done(self, task: int) -> None:
        if self._rich is not None:
            self._rich.remove_task(_task(task))

    def stop(self) -> None:
        """Take all bars away."""
        with self._lock:
            if self._rich is not None:
                self._rich.stop()
                self._rich = None

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


def _task(number: int) -> TaskID:
    from rich.progress import TaskID

    return TaskID(number)
