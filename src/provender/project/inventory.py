"""Inventory: what a project has, as far as the manifest, the lock and this machine's state tell. Asks nobody.

Project layer, for `list`, `tree` and `why`. No file is hashed: what looks as it was laid is taken to be it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from provender.project.dependency import Dependency
from provender.project.drift import is_foreign, kept_by
from provender.project.lock import LOCK_NAME, Lock
from provender.project.lock_entry import LockedDependency
from provender.project.manifest import Manifest
from provender.project.staleness import stale
from provender.project.standing import surviving_destinations
from provender.project.state import DestinationState

__all__ = ["Inventory", "Item", "Status"]

Status = Literal["as locked", "changed", "to sync", "missing", "unchecked", "by hand", "not locked", "stale"]
"""`to sync`: what lies there is not what is locked; `unchecked`: this machine does not know what it laid there."""


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One dependency of a project."""

    dependency: Dependency
    entry: LockedDependency | None
    status: Status
    reason: str | None = None
    """Why the lock does not answer the manifest, if it does not."""
    laid: DestinationState | None = None
    """What was laid, if this machine knows and it is what is locked."""

    @property
    def files(self) -> int | None:
        """How many files and links were laid; None where that is not known."""
        return None if self.laid is None else len(self.laid.files)

    @property
    def size_bytes(self) -> int | None:
        """The bytes of the files that were laid; None where that is not known."""
        if self.laid is None:
            return None
        return sum(each.size for each in self.laid.files if stat.S_ISREG(each.mode))


class Inventory(msgspec.Struct, frozen=True):
    """The dependencies of the project in `directory`, by name."""

    directory: Path
    items: tuple[Item, ...]

    @classmethod
    def take(cls, directory: Path, manifest: Manifest) -> Inventory:
        """What there is now; InvalidProject if the lock cannot be used."""
        lock = Lock.load(directory / LOCK_NAME) or Lock()
        states = surviving_destinations(directory)
        root = os.path.abspath(directory)
        items = [_item(root, each, lock.dependencies.get(each.name), states) for each in manifest.dependencies]
        return cls(directory, tuple(items))

    def holding(self, path: str) -> Item | None:
        """The dependency whose destination is, or has in it, the clean relative `path`; None if there is none."""
        for item in self.items:
            to = item.dependency.to
            if path == to or path.startswith(f"{to}/"):
                return item
        return None

    def below(self, path: str) -> tuple[Item, ...]:
        """The dependencies whose destinations lie in the directory at the clean relative `path`."""
        return tuple(each for each in self.items if not path or each.dependency.to.startswith(f"{path}/"))


def _item(
    root: str, dependency: Dependency, entry: LockedDependency | None, states: Mapping[str, DestinationState]
) -> Item:
    reason = stale(dependency, entry)
    if entry is None:
        return Item(dependency=dependency, entry=None, status="not locked", reason=reason)
    if reason is not None:
        return Item(dependency=dependency, entry=entry, status="stale", reason=reason)
    status, laid = _standing(os.path.join(root, *dependency.to.split("/")), dependency, entry, states)
    return Item(dependency=dependency, entry=entry, status=status, laid=laid)


def _standing(
    path: str, dependency: Dependency, entry: LockedDependency, states: Mapping[str, DestinationState]
) -> tuple[Status, DestinationState | None]:
    if os.path.islink(path) or not os.path.isdir(path):
        return "missing", None
    if entry.source == "manual":
        return "by hand", None
    laid = states.get(dependency.to)
    if laid is None:
        return "unchecked", None
    kept = kept_by(dependency.keep)
    comparison = laid.compare(path, kept=kept)
    if is_foreign(laid, comparison, kept=kept):
        return "unchecked", None
    if laid.identity != entry.identity:
        return "to sync", None
    return "as locked" if comparison.is_unchanged or comparison.is_uncertain else "changed", laid
