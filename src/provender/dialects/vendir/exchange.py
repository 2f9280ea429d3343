"""The exchange of managed directories: everything is staged beside its destination, then swapped in, all or nothing.

Over `project.swap` and `project.staging`. Directories that are made above a destination get mode 0700, as in vendir.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from provender.dialects.vendir.lock_file import OnRollBack
from provender.project.staging import Staging, settle
from provender.project.swap import Swap, discard, insist, staging_name

__all__ = ["Exchange"]

_PRIVATE: Final = 0o700


class Exchange:
    """One exchange below the working directory `directory`; what was staged and not used is gone at its end."""

    def __init__(self, directory: Path) -> None:
        self._root = os.fspath(directory)
        self._swap = Swap(self._root)
        self._staging = Staging(self._root)
        self._announced: list[str] = []
        self._made: list[str] = []
        self._replacements: list[tuple[str, str]] = []
        self._modes: list[tuple[str, int]] = []

    def stage(self, destination: str) -> str:
        """A name beside the managed directory's for contents of it; nothing is there yet."""
        beside = self._top_missing(destination)
        if beside.startswith(f"{self._root}/") and beside not in self._announced:
            self._announced.append(beside)
            self._staging.announce([os.path.relpath(each, self._root) for each in self._announced])
        path = staging_name(beside)
        self._made.append(path)
        return path

    def frame(self, destination: str, inside: Mapping[str, str]) -> str:
        """A new directory for `destination` that has the staged directories `inside` at these relative paths."""
        path = self.stage(destination)
        os.mkdir(path, _PRIVATE)
        for relative, staged in inside.items():
            target = os.path.join(path, relative)
            _make_private(os.path.dirname(target))
            os.rename(staged, target)
        return path

    def replace(self, destination: str, staged: str) -> None:
        """Have `staged` put in the place of `destination` when it is carried out."""
        self._replacements.append((destination, staged))

    def chmod(self, path: str, mode: int) -> None:
        """Have a destination's mode set when it is carried out."""
        self._modes.append((path, mode))

    def carry_out(self, conclude: Callable[[OnRollBack], None]) -> None:
        """All of it, then `conclude`, which says how it is taken back; after an error everything is as it was."""
        is_done = False
        try:
            self._place_all()
            conclude(self._swap.on_roll_back)
            is_done = True
            self._swap.finish()
        except BaseException:
            insist(self._swap.finish if is_done else self._swap.roll_back)
            raise

    def close(self) -> None:
        """Delete what has not been swapped in."""
        for path in self._made:
            if os.path.lexists(path):
                discard(path)
        self._staging.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        insist(self.close)

    def _place_all(self) -> None:
        if self._replacements:
            settle()
        for destination, staged in self._replacements:
            self._put(destination, staged)
        for path, mode in self._modes:
            self._set_mode(path, mode)

    def _put(self, destination: str, staged: str) -> None:
        parent = os.path.dirname(destination)
        missing: list[str] = []
        while not os.path.lexists(parent):
            missing.append(parent)
            parent = os.path.dirname(parent)
        self._swap.replace(staged, destination)
        for path in missing:
            os.chmod(path, _PRIVATE)

    def _set_mode(self, path: str, mode: int) -> None:
        before = os.lstat(path).st_mode & 0o7777
        if before != mode:
            self._swap.on_roll_back(lambda: os.chmod(path, before))
            os.chmod(path, mode)

    def _top_missing(self, destination: str) -> str:
        """The topmost part of the destination that is not there: beside it a directory can be made."""
        path = destination
        while not os.path.lexists(os.path.dirname(path)):
            path = os.path.dirname(path)
        return path


def _make_private(path: str) -> None:
    if not os.path.isdir(path):
        _make_private(os.path.dirname(path))
        os.mkdir(path, _PRIVATE)
