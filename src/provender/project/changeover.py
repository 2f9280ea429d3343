"""Changeover: the moment in which destinations and lock change, all together or not at all.

Project layer, over `swap`. By now everything is decided, fetched and verified; here things are only renamed, the lock
is written last, and whatever happens before that is taken back.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from provender.errors import Conflict
from provender.project.dependency import Dependency
from provender.project.drift import kept_by
from provender.project.lock import LOCK_NAME, Lock
from provender.project.manifest import MANIFEST_NAME, read_capped
from provender.project.staging import Staged, Staging, carry_over, settle
from provender.project.standing import Ground, Left, find_obstacle
from provender.project.state import STATE_DIRECTORY, DestinationState, Inputs, State
from provender.project.swap import Swap, insist, prune, recover
from provender.storage.files import is_temporary

__all__ = ["INPUTS", "Changeover", "Piece", "clean_up_after_kill", "look_at_inputs", "refuse_other_lock"]

INPUTS: Final = (MANIFEST_NAME, LOCK_NAME)
_BEFORE: Final = "provender.lock.before"
_MAX_LOCK_BYTES: Final = 64 << 20


class Piece(msgspec.Struct, frozen=True):
    """A dependency that is laid anew, and where it is staged."""

    dependency: Dependency
    staged: Staged


class Changeover:
    """Puts staged pieces in place, takes away what is left over, and writes the lock and the state.

    `before` is the lock as it was read (None without one), `inputs` how the manifest and it looked then, `followed` how
    directories looked that the run follows; None if that says nothing of the next one.
    """

    def __init__(
        self,
        directory: Path,
        ground: Ground,
        staging: Staging,
        *,
        before: Lock | None,
        inputs: Inputs,
        followed: Mapping[str, DestinationState] | None,
    ) -> None:
        self._directory = directory
        self._ground = ground
        self._staging = staging
        self._before = before
        self._inputs = inputs
        self._followed = followed
        self._swap = Swap(os.path.abspath(directory))
        self._is_whole = True
        self.is_lock_changed = False
        self.released: dict[str, str] = {}
        """Destinations that were left behind, and why."""
        self.notes: list[str] = []

    def carry_out(
        self,
        lock: Lock,
        pieces: Sequence[Piece],
        states: Mapping[str, DestinationState],
        wishes: Sequence[Dependency],
        *,
        is_whole: bool = True,
    ) -> None:
        """All of it; after an error nothing has changed. An interrupt that comes too late to take it back, waits.

        `states` has what to remember of the destinations that stay as they are. Unless the project `is_whole` after
        this, the next run is to look at everything.
        """
        is_done = False
        self._is_whole = is_whole
        now = dict(states)
        try:
            if pieces:
                settle()
            for piece in pieces:
                entry = lock.dependencies[piece.dependency.name]
                now[piece.dependency.to] = piece.staged.record(entry, keep=piece.dependency.keep)
            if pieces or self._ground.left:
                # Told before the first rename: should this process die, the next one knows both sides.
                State(destinations=now).write_next(self._directory)
            self._place(pieces)
            for left in self._ground.left:
                self._remove(left, wishes)
            self._write_lock(lock)
            is_done = True
            self._conclude(lock, now)
        except BaseException:
            insist((lambda: self._conclude(lock, now)) if is_done else self._take_back)
            raise

    def _place(self, pieces: Sequence[Piece]) -> None:
        staged = {piece.dependency.name: piece.staged.path for piece in pieces}
        sheltered: set[str] = set()
        for shelter, inside in self._ground.shelters.items():
            if not self._ground.is_ours(shelter):
                raise _changed_meanwhile(shelter)
            sheltered.update(each.name for each in inside)
            parts = {each.to.removeprefix(f"{shelter}/"): staged[each.name] for each in inside}
            path = self._ground.path(shelter)
            self._swap.replace(self._staging.frame(path, parts), path)
        for piece in pieces:
            if piece.dependency.name in sheltered:
                continue
            path = self._ground.path(piece.dependency.to)
            if os.path.isdir(path):
                carry_over(path, piece.staged.path, kept=kept_by(piece.dependency.keep))
            self._swap.replace(piece.staged.path, path)

    def _remove(self, left: Left, wishes: Sequence[Dependency]) -> None:
        """Take away what a dependency that left the manifest had laid; what somebody changed is left to them."""
        path = self._ground.path(left.to)
        is_covered = any(each.to == left.to or left.to.startswith(f"{each.to}/") for each in wishes)
        if is_covered or left.to in self._ground.shelters:
            return
        is_behind_link = find_obstacle(os.path.abspath(self._directory), left.to) is not None
        if not os.path.isdir(path):
            if not is_behind_link:
                self._swap.tidy(os.path.dirname(path))  # a run was killed before it could
        elif any(each.to.startswith(f"{left.to}/") for each in wishes):
            self.released[left.to] = "it has local changes, and another destination lies in it"
        elif is_behind_link:
            self.released[left.to] = "it lies behind a symbolic link"
        elif not self._ground.is_ours(left.to):
            self.released[left.to] = "it has local changes"
        else:
            self._swap.remove(path)

    def _write_lock(self, lock: Lock) -> None:
        path = self._directory / LOCK_NAME
        if self._before is not None and lock.dump() == self._before.dump():
            return
        refuse_other_lock(self._directory, self._inputs)
        kept = self._directory / STATE_DIRECTORY / _BEFORE
        with suppress(FileNotFoundError):
            kept.unlink()
        if os.path.lexists(path):
            try:
                os.link(path, kept, follow_symlinks=False)
            except (OSError, NotImplementedError):
                shutil.copy2(path, kept, follow_symlinks=False)
            self._swap.on_roll_back(lambda: _put_back(kept, path))
        else:
            self._swap.on_roll_back(lambda: _drop(path))
        self.is_lock_changed = lock.write(path)

    def _take_back(self) -> None:
        self._swap.roll_back()
        self._staging.close()
        _drop(self._directory / STATE_DIRECTORY / _BEFORE)
        State.forget_next(self._directory)

    def _conclude(self, lock: Lock, states: Mapping[str, DestinationState]) -> None:
        """What comes after everything is in place; may be done again."""
        self._swap.finish()
        self._staging.close()
        _drop(self._directory / STATE_DIRECTORY / _BEFORE)
        state = State(
            inputs=self._final_inputs(lock),
            destinations=dict(states),
            followed=dict(self._followed or {}),
            dependencies=len(lock.dependencies),
        )
        try:
            state.write(self._directory)
        except OSError as error:
            # Everything is in place; without state the next run only has to hash.
            self.notes.append(f"the state could not be written ({error.strerror}); the next run will take longer")
            State.forget_next(self._directory)

    def _final_inputs(self, lock: Lock) -> Inputs | None:
        """How manifest and lock look now; None if this run does not certainly answer them."""
        if not self._is_whole or self._followed is None:
            return None
        now = look_at_inputs(self._directory)
        if _seen(now, MANIFEST_NAME) != _seen(self._inputs, MANIFEST_NAME):
            return None
        if _seen(now, LOCK_NAME) == _seen(self._inputs, LOCK_NAME):
            return now
        raw = read_capped(self._directory / LOCK_NAME, _MAX_LOCK_BYTES)
        return now if raw.replace(b"\r\n", b"\n") == lock.dump() else None


def look_at_inputs(directory: Path) -> Inputs:
    """How manifest and lock look, at a moment that is late enough to see every later change of them."""
    inputs = Inputs.record(directory, INPUTS)
    if not inputs.are_unchanged(directory, INPUTS):
        settle()
        inputs = Inputs.record(directory, INPUTS)
    return inputs


def refuse_other_lock(directory: Path, inputs: Inputs) -> None:
    """Conflict (code `changed-meanwhile`) if the lock is not the one that was read when `inputs` were looked at."""
    if _seen(inputs, LOCK_NAME) != _seen(Inputs.record(directory, INPUTS), LOCK_NAME):
        raise _changed_meanwhile(LOCK_NAME)


def clean_up_after_kill(directory: Path, destinations: set[str]) -> None:
    """Put right what a killed run left beside `destinations`, the lock and the state. The caller holds the lock."""
    root = os.path.abspath(directory)
    announced = Staging.announced(root)
    for to in sorted({*destinations, *announced}):
        if find_obstacle(root, to) not in (None, to):
            continue
        path = os.path.join(root, *to.split("/"))
        recover(path)
        if to in announced:
            prune(os.path.dirname(path), root)
    place = directory / STATE_DIRECTORY
    _drop(place / _BEFORE)
    for folder, starts in ((directory, (f".{LOCK_NAME}.",)), (place, (".state.", ".index.", "..gitignore."))):
        for name in os.listdir(folder):
            if is_temporary(name) and name.startswith(starts):
                _drop(folder / name)


def _put_back(kept: Path, path: Path) -> None:
    if os.path.lexists(kept):
        os.replace(kept, path)
        _drop(kept)  # two names of one file: renaming them does nothing


def _drop(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.unlink()


def _seen(inputs: Inputs, name: str) -> object:
    return next((entry for entry in inputs.files if entry.path == name), None)


def _changed_meanwhile(what: str) -> Conflict:
    return Conflict(
        f"{what} was changed while this ran; nothing was done",
        code="changed-meanwhile",
        where=what,
        hint="run again",
        exit_status=75,
        retryable=True,
    )
