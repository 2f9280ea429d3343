"""Standing: how a project's destinations compare with what is to be there, and whose the files in them are.

Project layer, between `drift` and `sync`. Reads, never writes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from provender.artifact.selection import matches
from provender.artifact.tree import Entry, tree_digest
from provender.errors import Conflict, NotFound, ProvenderError
from provender.oci import Digest
from provender.project.dependency import Dependency, check_destination
from provender.project.drift import (
    Kept,
    compare_with_state,
    is_foreign,
    kept_by,
    read_entries,
    recorded_entries,
)
from provender.project.links import refuse_links
from provender.project.lock import Lock, LockedDependency
from provender.project.lock_entry import LockedManual, with_tree
from provender.project.state import Comparison, DestinationState, State

__all__ = ["Ground", "Left", "Standing", "find_obstacle", "surviving_destinations"]

_MAX_MODE = 1 << 16


class Standing(msgspec.Struct, frozen=True):
    """How one destination compares with an entry of the lock.

    `right`; `adopted` (right, but nobody had noted it); `absent`; `damaged` (files are missing); `old` (clean, of other
    content); `unknown` (somebody changed it, or it is not ours).
    """

    kind: Literal["right", "adopted", "absent", "damaged", "old", "unknown"]
    state: DestinationState | None = None
    """What to remember of a destination that is `right` or `adopted`; nothing of one that is kept by hand."""


class Left(msgspec.Struct, frozen=True):
    """A destination that no dependency has any more. Without an entry in the lock it has its path for a name."""

    to: str
    name: str
    entry: LockedDependency | None = None


class Ground:
    """The destinations of the project in `root`: those of its `wishes`, and those that the lock or the state still has.

    With `is_forced` what somebody changed counts as ours.
    """

    def __init__(
        self,
        root: str,
        wishes: Sequence[Dependency],
        *,
        lock: Lock,
        destinations: dict[str, DestinationState],
        is_forced: bool = False,
    ) -> None:
        self._root = root
        self._wishes = wishes
        self._lock = lock
        self._states = destinations
        self._is_forced = is_forced
        self._left = self._find_left()
        self._shelters = self._find_shelters()

    @property
    def left(self) -> tuple[Left, ...]:
        """What the manifest has no more, sorted by destination."""
        return self._left

    @property
    def shelters(self) -> dict[str, list[Dependency]]:
        """Left destinations that dependencies lie in now, and that are ours to replace by directories with just those.

        As they were when this was made; ask `is_ours` before acting on it.
        """
        return self._shelters

    def path(self, to: str) -> str:
        """The absolute path of a destination."""
        return os.path.join(self._root, *to.split("/"))

    def base(self, to: str) -> str:
        """Beside what a dependency is staged: its destination, or the topmost left one that it lies in.

        Inside a left destination it would look like somebody's file there.
        """
        above = [left.to for left in self._left if to.startswith(f"{left.to}/") and os.path.isdir(self.path(left.to))]
        return min(above, key=len, default=to)

    def standing(self, dependency: Dependency, entry: LockedDependency) -> Standing:
        """How the destination compares with `entry`.

        Conflict if something is in its way that is no directory; NotFound if it is kept by hand and not there.
        """
        if any(dependency in inside for inside in self._shelters.values()):
            return Standing("absent")
        self._check_place(dependency.to)
        path, kept = self.path(dependency.to), kept_by(dependency.keep)
        if isinstance(entry, LockedManual):
            if os.path.isdir(path):
                return Standing("right")
            raise _missing(dependency)
        if not os.path.isdir(path):
            return Standing("absent")
        known = self._look(dependency.to, kept)
        if known is None:
            adopted = self._adopted(dependency, entry)
            if adopted is not None:
                return Standing("adopted", adopted)
            return Standing("unknown" if os.listdir(path) else "absent")
        laid, comparison = known
        taken = None if comparison.is_unchanged else _taken(path, dependency, laid)
        drift = compare_with_state(path, laid, kept=kept, comparison=comparison)
        if drift.local:
            return Standing("unknown")
        if entry.tree is None or laid.identity != entry.identity:
            return Standing("old")
        if drift.missing or not _covers(laid, dependency.keep):
            return Standing("damaged")
        return Standing("right", _refreshed(laid, dependency, taken))

    def known_tree(self, dependency: Dependency, entry: LockedDependency) -> Digest | None:
        """The tree of an entry that was just resolved, if the lock or untouched files tell it; saves unpacking it."""
        for old in self._lock.dependencies.values():
            if old.revision == entry.revision and with_tree(entry, old.tree).identity == old.identity:
                return old.tree
        laid = self._states.get(dependency.to)
        if laid is None or with_tree(entry, Digest(laid.tree)).identity != laid.identity:
            return None
        # Only from files that are certainly as we laid them: a state may be made up.
        kept = kept_by(dependency.keep)
        path = self.path(dependency.to)
        is_certain = os.path.isdir(path) and laid.compare(path, kept=kept).is_unchanged
        return Digest(laid.tree) if is_certain and laid.files else None

    def losses(self, dependency: Dependency, entries: Iterable[Entry]) -> list[str]:
        """Paths of what somebody made in the destination and `entries`, laid in its place, would not bring back."""
        if any(dependency in inside for inside in self._shelters.values()):
            return []
        path, kept = self.path(dependency.to), kept_by(dependency.keep)
        made = self._made_here(dependency, path, kept)
        if not made:
            return []
        new = {entry.path: entry for entry in entries}
        now = read_entries(path, kept=lambda each: each not in made)
        return [
            f"{dependency.to}/{each}" for each in sorted(made) if now.get(each) is None or now[each] != new.get(each)
        ]

    def changed_files(self, dependency: Dependency) -> list[str]:
        """Paths of what somebody made in the destination, whatever is going to be laid there."""
        return self.losses(dependency, ())

    def is_ours(self, left: str) -> bool:
        """True if a left destination has nothing but what we laid there; anything goes if forced."""
        path = self.path(left)
        if find_obstacle(self._root, left) is not None:
            return False
        return self._is_forced or not self._changes_of_left(left, path)

    # --- whose files are these

    def _made_here(self, dependency: Dependency, path: str, kept: Kept | None) -> frozenset[str]:
        """Files of a destination that are not ours, as paths in it."""
        to = dependency.to
        known = self._look(to, kept)
        if known is not None:
            made = set(compare_with_state(path, known[0], kept=kept, comparison=known[1]).local)
        else:
            found = read_entries(path, kept=kept)
            made = set() if self._is_recognised(found.values(), to, dependency.name) else set(found)
        for left in self._left:
            if not made:
                break
            if left.to.startswith(f"{to}/"):
                inner = left.to.removeprefix(f"{to}/")
                theirs = {f"{inner}/{each}" for each in self._changes_of_left(left.to, self.path(left.to))}
                made = {each for each in made if not each.startswith(f"{inner}/") or each in theirs}
            elif to.startswith(f"{left.to}/"):
                prefix = f"{to.removeprefix(f'{left.to}/')}/"
                made &= {
                    each.removeprefix(prefix)
                    for each in self._changes_of_left(left.to, self.path(left.to))
                    if each.startswith(prefix)
                }
        return frozenset(made)

    def _changes_of_left(self, to: str, path: str) -> frozenset[str]:
        """Files of a left destination that are not ours. Nothing is kept there: what was, is the user's."""
        known = self._look(to, None)
        if known is not None:
            return frozenset(compare_with_state(path, known[0], kept=None, comparison=known[1]).local)
        found = read_entries(path, kept=None)
        return frozenset() if self._is_recognised(found.values(), to, None) else frozenset(found)

    def _is_recognised(self, found: Iterable[Entry | None], to: str, name: str | None) -> bool:
        """True if these are exactly the files that the lock has for that destination or dependency."""
        whole = tuple(found)
        entries = tuple(each for each in whole if each is not None)
        if len(entries) < len(whole):
            return False
        tree = tree_digest(entries)
        return any(old.tree == tree and (old.to == to or at == name) for at, old in self._lock.dependencies.items())

    def _look(self, to: str, kept: Kept | None) -> tuple[DestinationState, Comparison] | None:
        """The state of a destination and how it compares; None without one that was written for these files."""
        laid = self._states.get(to)
        if laid is None:
            return None
        comparison = laid.compare(self.path(to), kept=kept)
        return None if is_foreign(laid, comparison, kept=kept) else (laid, comparison)

    def _adopted(self, dependency: Dependency, entry: LockedDependency) -> DestinationState | None:
        """The state of files that nobody noted, from a checkout perhaps, if they are exactly those of `entry`."""
        if entry.tree is None:
            return None
        path, kept = self.path(dependency.to), kept_by(dependency.keep)
        taken = DestinationState.record(path, tree=entry.tree, identity=entry.identity, keep=dependency.keep, kept=kept)
        found = read_entries(path, kept=kept)
        whole = [each for each in found.values() if each is not None]
        if len(whole) < len(found) or tree_digest(whole) != entry.tree:
            return None
        return _filled(taken, {each.path: each.content for each in whole})

    # --- what is left, and what lies in it

    def _find_left(self) -> tuple[Left, ...]:
        names, places = {each.name for each in self._wishes}, {each.to for each in self._wishes}
        left = {to: Left(to, to) for to in self._states if to not in places}
        for name, entry in self._lock.dependencies.items():
            if not isinstance(entry, LockedManual) and (entry.to not in places or name not in names):
                left[entry.to] = Left(entry.to, name, entry)
        return tuple(left[to] for to in sorted(left))

    def _find_shelters(self) -> dict[str, list[Dependency]]:
        shelters: dict[str, list[Dependency]] = {}
        # What is kept by hand would go with the directory around it.
        fixed = {self.base(each.to) for each in self._wishes if each.source == "manual"}
        for each in self._wishes:
            base = self.base(each.to)
            if base != each.to and base not in fixed and (base in shelters or self.is_ours(base)):
                shelters.setdefault(base, []).append(each)
        return shelters

    def _check_place(self, to: str) -> None:
        refuse_links(self._root, [to])
        found = find_obstacle(self._root, to)
        if found is not None:
            raise Conflict(
                f"{found} is no directory, but a destination lies {'there' if found == to else 'in it'}",
                code="destination-occupied",
                where=to,
                hint="move it away, or choose another destination with 'to'",
            )


def _missing(dependency: Dependency) -> NotFound:
    return NotFound(
        f"{dependency.name} is kept by hand, but there is no directory {dependency.to}",
        code="manual-missing",
        where=dependency.to,
        hint="make it, or give the dependency another source",
    )


def find_obstacle(root: str, to: str) -> str | None:
    """The first of a destination and the directories above it, inside `root`, that is there and is no directory."""
    parts = to.split("/")
    for number in range(1, len(parts) + 1):
        try:
            mode = os.lstat(os.path.join(root, *parts[:number])).st_mode
        except FileNotFoundError:
            return None
        if not stat.S_ISDIR(mode):
            return "/".join(parts[:number])
    return None


def surviving_destinations(directory: Path) -> dict[str, DestinationState]:
    """The state's destinations, as far as they are usable, with what a killed run had put in place already."""
    found = {to: laid for to, laid in State.load(directory).destinations.items() if _is_usable(to, laid)}
    for to, laid in State.load_next(directory).destinations.items():
        path = os.path.join(directory, *to.split("/"))
        if not _is_usable(to, laid) or not os.path.isdir(path):
            continue
        kept = kept_by(laid.keep)
        comparison = laid.compare(path, kept=kept)
        if not is_foreign(laid, comparison, kept=kept) and (
            compare_with_state(path, laid, kept=kept, comparison=comparison).is_none
        ):
            found[to] = laid
    return found


def _is_usable(to: str, laid: DestinationState) -> bool:
    """False for what we cannot have written: a state is a file that anybody can edit or check in."""
    try:
        is_clean = check_destination(to) == to
        Digest(laid.tree)
        Digest(laid.identity)
        for pattern in laid.keep:
            matches("probe", (pattern,))
    except ProvenderError:
        return False
    is_whole = len(laid.contents) == len(laid.files)
    return is_clean and is_whole and all(0 <= entry.mode < _MAX_MODE for entry in laid.files)


def _covers(laid: DestinationState, keep: tuple[str, ...]) -> bool:
    """True if the state tells all that the tree has, as far as `keep`, which may be new, leaves it to us."""
    return laid.keep == keep or tree_digest(recorded_entries(laid)) == laid.tree


def _taken(path: str, dependency: Dependency, laid: DestinationState) -> DestinationState:
    """How the files look before they are hashed, so that a change in between is seen next time."""
    return DestinationState.record(
        path,
        tree=Digest(laid.tree),
        identity=Digest(laid.identity),
        keep=dependency.keep,
        kept=kept_by(dependency.keep),
    )


def _refreshed(laid: DestinationState, dependency: Dependency, taken: DestinationState | None) -> DestinationState:
    """The state of a right destination, so that what had to be hashed now, or is kept now, is known next time."""
    contents = {entry.path: content for entry, content in zip(laid.files, laid.contents, strict=True)}
    if taken is not None:
        return _filled(taken, contents) or laid
    if laid.keep == dependency.keep:
        return laid
    kept = kept_by(dependency.keep)
    files = [entry for entry in laid.files if kept is None or not kept(entry.path)]
    return msgspec.structs.replace(
        laid, keep=dependency.keep, files=files, contents=[contents[each.path] for each in files], directories=[]
    )


def _filled(taken: DestinationState, contents: dict[str, str]) -> DestinationState | None:
    """The state with what its files hold; None if there is a file of which that is not known."""
    if any(entry.path not in contents for entry in taken.files):
        return None
    return msgspec.structs.replace(taken, contents=[contents[entry.path] for entry in taken.files])
