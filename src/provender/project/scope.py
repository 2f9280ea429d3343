"""Scope: the part of a project that a run is about, and what of the lock and the destinations it has to leave alone.

Project layer, pure; between the manifest with its lock and `sync`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from provender.errors import Conflict
from provender.project.dependency import find_overlap
from provender.project.lock import Lock, LockedDependency
from provender.project.manifest import Manifest
from provender.project.state import DestinationState

__all__ = ["Scope"]


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """The dependencies of a run, as if the project had no others; `rest` is what the lock has for the others."""

    manifest: Manifest
    """With the chosen dependencies alone."""
    lock: Lock
    """With their entries alone."""
    rest: dict[str, LockedDependency] = {}
    is_whole: bool = True

    @classmethod
    def of(cls, manifest: Manifest, lock: Lock, names: Sequence[str]) -> Scope:
        """The whole project, or the dependencies that `names` lists.

        Raises NotFound for a name that the manifest lacks, and Conflict (code `destination-in-use`) if the destination
        of a chosen one is still that of another one, which may not be touched.
        """
        if not names:
            return cls(manifest=manifest, lock=lock)
        for name in names:
            manifest.require(name)
        chosen = set(names)
        rest = {name: entry for name, entry in lock.dependencies.items() if name not in chosen}
        part = msgspec.structs.replace(
            manifest, dependencies=tuple(each for each in manifest.dependencies if each.name in chosen)
        )
        _refuse_foreign_ground(part, rest)
        mine = {name: entry for name, entry in lock.dependencies.items() if name in chosen}
        return cls(manifest=part, lock=Lock(dependencies=mine), rest=rest, is_whole=False)

    def divide(
        self, states: Mapping[str, DestinationState]
    ) -> tuple[dict[str, DestinationState], dict[str, DestinationState]]:
        """The states of the destinations that this run may touch, and of those that it may not."""
        if self.is_whole:
            return dict(states), {}
        mine = {each.to for each in self.manifest.dependencies}
        mine |= {entry.to for entry in self.lock.dependencies.values()}
        mine -= {entry.to for entry in self.rest.values()}
        return (
            {to: state for to, state in states.items() if to in mine},
            {to: state for to, state in states.items() if to not in mine},
        )

    def complete(self, entries: Mapping[str, LockedDependency]) -> Lock:
        """The lock of the whole project with these entries for the dependencies of the run."""
        return Lock(dependencies=dict(sorted({**self.rest, **entries}.items())))


def _refuse_foreign_ground(part: Manifest, rest: Mapping[str, LockedDependency]) -> None:
    for each in part.dependencies:
        for other, entry in rest.items():
            if find_overlap({each.name: each.to, other: entry.to}) is None:
                continue
            raise Conflict(
                f"the destination of {each.name} ({each.to}) is still in use by {other} ({entry.to})",
                code="destination-in-use",
                where=part.places.get(each.name),
                hint="sync the whole project, without names",
            )
