"""Swap: puts several staged directories in place of old ones, all or none, by rename.

Project layer. Nothing here reads a manifest; it knows directories alone. Where the kernel can exchange two names in one
step (Linux), a destination is at every moment either the old or the new directory; elsewhere there is an instant
between two renames, which `recover` closes after a crash.

Beside a destination lie, for the time of a run, `.NAME.provender-KIND-XXXXXXXX`: `new` is being made ready, `old` stood
at the destination and may have to go back, `gone` is being deleted.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Callable
from functools import partial
from typing import Final, Literal

from provender.errors import Conflict

__all__ = ["Swap", "discard", "insist", "prune", "recover", "staging_name"]

_MARK: Final = ".provender-"
_MAX_NAME_BYTES: Final = 100
_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2
# A thread that was told to stop may still write one more file into what is being deleted.
_DISCARD_TRIES: Final = 5
_DISCARD_PAUSE_S: Final = 0.05
# How often somebody may press Ctrl-C while things are put in order.
_PATIENCE: Final = 5


def insist(action: Callable[[], None]) -> None:
    """Do it, whoever presses Ctrl-C meanwhile: it takes milliseconds, and stopping would leave a mess."""
    for number in range(_PATIENCE):
        try:
            action()
        except KeyboardInterrupt:
            if number == _PATIENCE - 1:
                raise
        else:
            return


def staging_name(destination: str) -> str:
    """A fresh name beside `destination`, on the same file system, for a directory to be swapped in."""
    return _beside(destination, "new")


class Swap:
    """A set of directory replacements that is carried out together and can be taken back until `finish`.

    `replace` and `remove` act at once; `roll_back` undoes what was done, newest first; `finish` deletes the old ones.
    How to undo is noted before each step, by the identity of the directory, so an interrupt may fall anywhere; both
    ways out may be called again after an interrupt.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._undo: list[Callable[[], None]] = []
        self._old: list[str] = []
        self._emptied: list[str] = []

    def replace(self, staged: str, destination: str) -> None:
        """Put the directory `staged` at `destination`; what stood there is kept aside until `finish`."""
        if os.path.islink(destination):
            raise Conflict(
                "the destination is a symbolic link", code="destination-is-a-link", where=destination, hint="remove it"
            )
        self._make_parents(destination)
        if not os.path.lexists(destination):
            self._undo.append(lambda: _move_back(destination, staged))
            os.rename(staged, destination)
            return
        old = self._set_aside(destination, staged)
        # What is exchanged has its later name already, so that no third step is needed.
        os.rename(staged, old)
        if not _exchange(old, destination):
            os.rename(old, staged)
            os.rename(destination, old)
            os.rename(staged, destination)

    def remove(self, destination: str) -> None:
        """Take the directory `destination` away; it is kept aside until `finish`."""
        old = self._set_aside(destination)
        self.tidy(os.path.dirname(destination))
        os.rename(destination, old)

    def tidy(self, directory: str) -> None:
        """Have `directory`, and those above it, removed by `finish` if they are empty then."""
        self._emptied.append(directory)

    def on_roll_back(self, undo: Callable[[], None]) -> None:
        """Have `undo` called if everything is taken back; it may be called more than once."""
        self._undo.append(undo)

    def roll_back(self) -> None:
        """Put everything back as it was; may be called at any point, also after an interrupt."""
        while self._undo:
            self._undo[-1]()
            self._undo.pop()
        self._old.clear()

    def finish(self) -> None:
        """Delete what was replaced, and directories above removed destinations that are empty now."""
        self._undo.clear()
        # All are renamed before any is deleted: `recover` may put back an `old` one, and must not find it half gone.
        for old in self._old:
            with contextlib.suppress(OSError):
                os.rename(old, _gone(old))
        for old in self._old:
            discard(_gone(old))
        for directory in self._emptied:
            prune(directory, self._root)
        self._old.clear()
        self._emptied.clear()

    def _set_aside(self, destination: str, *others: str) -> str:
        """Where what stands at `destination` is going to; how it comes back is noted."""
        old, original = _beside(destination, "old"), _identity(destination)
        self._undo.append(lambda: _restore(original, (old, *others), destination))
        self._old.append(old)
        return old

    def _make_parents(self, destination: str) -> None:
        missing: list[str] = []
        parent = os.path.dirname(destination)
        while not os.path.lexists(parent):
            missing.append(parent)
            parent = os.path.dirname(parent)
        for directory in reversed(missing):
            self._undo.append(partial(_remove_empty, directory))
            os.mkdir(directory)


def discard(path: str) -> None:
    """Delete a directory of ours with everything in it, as far as that can be done; nothing is raised."""
    for number in range(_DISCARD_TRIES):
        if number:
            time.sleep(_DISCARD_PAUSE_S)
            _open_up(path)
        if os.path.islink(path) or not os.path.isdir(path):
            with contextlib.suppress(OSError):
                os.unlink(path)
        else:
            shutil.rmtree(path, ignore_errors=True)
        if not os.path.lexists(path):
            return


def prune(directory: str, root: str) -> None:
    """Remove `directory` and those above it, below `root`, as far as they are empty."""
    while directory.startswith(root + os.sep):
        try:
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(directory)
        except OSError:
            return
        directory = os.path.dirname(directory)


def recover(destination: str) -> None:
    """Clean up beside `destination` what a killed run left: put an old directory back if it is gone, drop the rest.

    The caller holds the project's lock, so nobody else is staging here.
    """
    parent = os.path.dirname(destination)
    mark = _mark(destination)
    try:
        with os.scandir(parent) as entries:
            leftovers = sorted(entry.name for entry in entries if entry.name.startswith(mark))
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in leftovers:
        path = os.path.join(parent, name)
        if name.removeprefix(mark).startswith("old-") and not os.path.lexists(destination):
            os.rename(path, destination)
        else:
            discard(path)


def _mark(destination: str) -> str:
    """What the names beside `destination` begin with; those of another destination never do."""
    name = os.path.basename(destination)
    raw = os.fsencode(name)
    if len(raw) > _MAX_NAME_BYTES:  # with what is added it might be longer than a name may be
        name = hashlib.sha256(raw).hexdigest()[:40]
    return f".{name}{_MARK}"


def _beside(destination: str, kind: Literal["new", "old"]) -> str:
    return os.path.join(os.path.dirname(destination), f"{_mark(destination)}{kind}-{secrets.token_hex(4)}")


def _gone(old: str) -> str:
    before, _, number = old.rpartition(f"{_MARK}old-")
    return f"{before}{_MARK}gone-{number}"


def _open_up(path: str) -> None:
    """Make the directories of a tree writable, which may have come from a destination whose owner changed that."""
    for directory, below, _ in os.walk(path):
        for name in (directory, *(os.path.join(directory, each) for each in below)):
            if not os.path.islink(name):
                with contextlib.suppress(OSError):
                    os.chmod(name, 0o700)


def _move_back(source: str, target: str) -> None:
    if os.path.lexists(source) and not os.path.lexists(target):
        os.rename(source, target)


def _remove_empty(directory: str) -> None:
    with contextlib.suppress(OSError):
        os.rmdir(directory)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _restore(original: tuple[int, int] | None, places: tuple[str, ...], destination: str) -> None:
    """Bring the directory `original`, wherever among `places` it is now, back to `destination`; delete the other."""
    if _identity(destination) != original:
        place = next((each for each in places if _identity(each) == original), None)
        if place is None:
            return
        if os.path.lexists(destination) and not _exchange(place, destination):
            free = next((each for each in places if not os.path.lexists(each)), staging_name(destination))
            os.rename(destination, free)
        if _identity(destination) != original:
            os.rename(place, destination)
    for place in places:
        if os.path.lexists(place):
            discard(place)


def _exchange(one: str, other: str) -> bool:
    """True if the two names changed places in one step; False where kernel or file system cannot."""
    import ctypes

    with contextlib.suppress(AttributeError, OSError):
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
        return bool(renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0)
    return False
