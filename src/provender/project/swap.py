"""Swap: puts several staged directories in place of old ones, all or none, by rename.

Project layer. Nothing here reads a manifest; it knows directories alone. Where the kernel can exchange two names in one
step (Linux), a destination is at every moment either the old or the new directory; elsewhere there is an instant
between two renames, which `recover` closes after a crash.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable
from typing import Final

from provender.errors import Conflict

__all__ = ["Swap", "link_above", "prune", "recover", "staging_name"]

_MARK: Final = ".provender-"
_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2


def staging_name(destination: str) -> str:
    """A fresh name beside `destination`, on the same file system, for a directory to be swapped in."""
    parent, name = os.path.split(destination)
    return os.path.join(parent, f".{name[:100]}{_MARK}new-{secrets.token_hex(4)}")


class Swap:
    """A set of directory replacements that is carried out together and can be taken back until `finish`.

    `replace` and `remove` act at once; `roll_back` undoes what was done, newest first; `finish` deletes the old ones.
    How to undo is noted before each step, by the identity of the directory, so an interrupt may fall anywhere.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._undo: list[Callable[[], None]] = []
        self._old: list[str] = []

    def replace(self, staged: str, destination: str) -> None:
        """Put the directory `staged` at `destination`; what stood there is kept aside until `finish`."""
        if os.path.islink(destination):
            raise Conflict(
                "the destination is a symbolic link", code="destination-is-a-link", where=destination, hint="remove it"
            )
        if not os.path.lexists(destination):
            self._undo.append(lambda: _move_back(destination, staged))
            os.rename(staged, destination)
            return
        old = _aside(destination)
        original = _identity(destination)
        self._undo.append(lambda: _restore(original, (old, staged), destination))
        self._old.append(old)
        if _exchange(staged, destination):
            os.rename(staged, old)
        else:
            os.rename(destination, old)
            os.rename(staged, destination)

    def remove(self, destination: str) -> None:
        """Take the directory `destination` away; it is kept aside until `finish`."""
        old = _aside(destination)
        original = _identity(destination)
        self._undo.append(lambda: _restore(original, (old,), destination))
        self._old.append(old)
        os.rename(destination, old)

    def roll_back(self) -> None:
        """Put everything back as it was; may be called at any point, also after an interrupt."""
        while self._undo:
            self._undo.pop()()
        self._old.clear()

    def finish(self) -> None:
        """Delete what was replaced, and directories above removed destinations that are empty now."""
        self._undo.clear()
        for old in self._old:
            shutil.rmtree(old, ignore_errors=True)
            prune(os.path.dirname(old), self._root)
        self._old.clear()


def link_above(root: str, path: str) -> str | None:
    """The first symbolic link among the directories between `root` and the relative `path`; None if there is none."""
    above = path.split("/")[:-1]
    prefixes = ("/".join(above[:count]) for count in range(1, len(above) + 1))
    return next((prefix for prefix in prefixes if os.path.islink(os.path.join(root, prefix))), None)


def prune(directory: str, root: str) -> None:
    """Remove `directory` and those above it, below `root`, as far as they are empty."""
    while directory.startswith(root + os.sep):
        try:
            os.rmdir(directory)
        except OSError:
            return
        directory = os.path.dirname(directory)


def recover(destination: str) -> None:
    """Clean up beside `destination` what a killed run left: put an old directory back if it is gone, drop the rest.

    The caller holds the project's lock, so nobody else is staging here.
    """
    parent, name = os.path.split(destination)
    mark = f".{name[:100]}{_MARK}"
    try:
        leftovers = [entry.path for entry in os.scandir(parent) if entry.name.startswith(mark)]
    except (FileNotFoundError, NotADirectoryError):
        return
    for path in sorted(leftovers):
        kind = os.path.basename(path).removeprefix(mark)
        if kind.startswith("old-") and not os.path.lexists(destination):
            os.rename(path, destination)
        elif os.path.islink(path) or not os.path.isdir(path):
            os.unlink(path)
        else:
            shutil.rmtree(path)


def _aside(destination: str) -> str:
    parent, name = os.path.split(destination)
    return os.path.join(parent, f".{name[:100]}{_MARK}old-{secrets.token_hex(4)}")


def _move_back(source: str, target: str) -> None:
    if os.path.lexists(source) and not os.path.lexists(target):
        os.rename(source, target)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _restore(original: tuple[int, int] | None, places: tuple[str, ...], destination: str) -> None:
    """Bring the directory `original`, wherever among `places` it is now, back to `destination`."""
    if _identity(destination) == original:
        return
    for place in places:
        if _identity(place) == original:
            if os.path.lexists(destination):
                os.rename(destination, staging_name(destination))
            os.rename(place, destination)
            return


def _exchange(one: str, other: str) -> bool:
    """True if the two names changed places in one step; False where kernel or file system cannot."""
    import ctypes

    with contextlib.suppress(AttributeError, OSError):
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
        return bool(renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0)
    return False
