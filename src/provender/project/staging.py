"""Staging: directories that are being made ready beside their destinations, and the files that move over from old ones.

Project layer, between the sources, which fill them, and `swap`, which puts them in place.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import msgspec

from provender.errors import Conflict, InvalidProject, ProvenderError
from provender.project.stat_index import JOURNAL_FILE
from provender.project.state import STATE_DIRECTORY, TICK_NS, DestinationState
from provender.project.swap import discard, staging_name

# A dialect needs the directories alone: the models of a project would be half of its start.
if TYPE_CHECKING:
    from provender.artifact.tree import Entry
    from provender.project.drift import Kept
    from provender.project.lock import LockedDependency

__all__ = ["Staged", "Staging", "carry_over", "settle"]

_MAX_JOURNAL_BYTES: Final = 64 << 20


class Staged(msgspec.Struct, frozen=True, kw_only=True):
    """A directory with everything that a dependency lays; its entries are known and hashed."""

    path: str
    entries: tuple[Entry, ...] = ()

    def record(self, locked: LockedDependency, *, keep: tuple[str, ...]) -> DestinationState:
        """The state of the destination once this directory is there; renaming changes nothing of it."""
        from provender.project.drift import kept_by

        if locked.tree is None:
            raise InvalidProject(f"the tree of {locked.to} is not known", code="unresolved")
        return DestinationState.record(
            self.path,
            tree=locked.tree,
            identity=locked.identity,
            contents={entry.path: entry.content for entry in self.entries},
            keep=keep,
            kept=kept_by(keep),
        )


class Staging:
    """The staging directories of one run, all gone when its `with` block is left, like the directories above them.

    The destinations are noted in `.provender` first, so that after a kill the next run finds what lies beside them,
    even if the manifest has another mind by then. The caller holds the project's lock.

    No loop or comprehension stands in that block itself, only calls of functions that have some: CPython 3.13 has no
    handler for the jump back to a loop's start, so an interrupt there would skip `__exit__` (python/cpython#130279).
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._journal = _journal(root)
        self._made: list[str] = []
        self._parents: list[str] = []

    def announce(self, destinations: list[str]) -> None:
        """Note the destinations (relative, with `/`) beside which directories are going to be made."""
        if destinations:
            self._journal.write_text("\n".join(destinations), encoding="utf-8")

    def make(self, destination: str) -> str:
        """A new empty directory beside the absolute path `destination`."""
        path = staging_name(destination)
        missing: list[str] = []
        parent = os.path.dirname(path)
        while not os.path.lexists(parent):
            missing.append(parent)
            parent = os.path.dirname(parent)
        for each in reversed(missing):
            self._parents.append(each)
            os.mkdir(each)
        self._made.append(path)
        os.mkdir(path)
        return path

    def frame(self, destination: str, inside: dict[str, str]) -> str:
        """A new directory beside `destination` that has the staged directories `inside` at these relative paths."""
        path = self.make(destination)
        for relative, staged in inside.items():
            target = os.path.join(path, *relative.split("/"))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.rename(staged, target)
        return path

    def close(self) -> None:
        """Delete what has not been swapped in."""
        for path in self._made:
            if os.path.lexists(path):
                discard(path)
        for parent in reversed(self._parents):
            with suppress(OSError):  # there is something in it
                os.rmdir(parent)
        with suppress(OSError):
            self._journal.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        try:
            self.close()
        except KeyboardInterrupt:
            self.close()
            raise

    @staticmethod
    def announced(root: str) -> tuple[str, ...]:
        """The destinations that a killed run had noted."""
        try:
            with open(_journal(root), "rb") as file:
                size = min(os.fstat(file.fileno()).st_size, _MAX_JOURNAL_BYTES)
                text = file.read(size).decode("utf-8", "replace")
        except OSError:
            return ()
        return tuple(line for line in text.splitlines() if _is_destination(line))


def settle() -> None:
    """Wait until files written by now can be told from files written later by their times."""
    time.sleep(TICK_NS * 1.25e-9)


def carry_over(destination: str, staged: str, *, kept: Kept | None) -> None:
    """Bring the files of `destination` that the project keeps into `staged`; they win over laid ones of the same name.

    The old directory keeps them too, so that nothing is lost if the swap is taken back. Raises Conflict (`kept-clash`)
    where the artifact has a file in the place of a kept file's directory, or the other way round.
    """
    if kept is None:
        return
    for directory, _, names in os.walk(destination):
        links = [name for name in os.listdir(directory) if os.path.islink(os.path.join(directory, name))]
        for name in {*names, *links}:
            source = os.path.join(directory, name)
            path = os.path.relpath(source, destination)
            # As the state spells it: bytes that are no UTF-8 have no other form there.
            if kept(path.encode("utf-8", "backslashreplace").decode()):
                _carry(source, path.split(os.sep), staged)


def _carry(source: str, parts: list[str], staged: str) -> None:
    target = staged
    for number, part in enumerate(parts, start=1):
        target = os.path.join(target, part)
        is_last = number == len(parts)
        try:
            is_directory = stat.S_ISDIR(os.lstat(target).st_mode)
        except FileNotFoundError:
            if not is_last:
                os.mkdir(target)
            continue
        if is_directory == is_last:
            raise Conflict(
                f"{'/'.join(parts)} is to be kept, but {'/'.join(parts[:number])} is "
                f"{'a directory' if is_directory else 'no directory'} in the artifact",
                code="kept-clash",
                hint="move the file away, or leave the artifact's out with 'exclude'",
            )
        if is_last:
            os.unlink(target)
    try:
        os.link(source, target, follow_symlinks=False)
    except (OSError, NotImplementedError):
        shutil.copy2(source, target, follow_symlinks=False)


def _journal(root: str) -> Path:
    return Path(root, STATE_DIRECTORY, JOURNAL_FILE)


def _is_destination(text: str) -> bool:
    from provender.project.dependency import check_destination

    try:
        return check_destination(text) == text
    except ProvenderError:
        return False
