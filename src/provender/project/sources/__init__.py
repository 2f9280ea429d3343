"""Sources: where a dependency's files come from. Each kind resolves a wish to a locked entry, and lays files on disk.

Project layer, below `sync`. A source knows nothing of destinations, drift or swaps.
"""

from __future__ import annotations

from typing import Protocol

from provender.artifact.tree import Entry
from provender.project.lock import LockedDependency
from provender.project.manifest import Dependency
from provender.transfer.pool import Cancellation
from provender.transfer.progress import Progress

__all__ = ["Source"]


class Source(Protocol):
    """One kind of origin."""

    def resolve(self, dependency: Dependency) -> LockedDependency:
        """What `dependency` means now, pinned by digest; its `tree` is empty until the files were laid."""
        ...

    def lay(
        self,
        dependency: Dependency,
        locked: LockedDependency,
        staging: str,
        *,
        jobs: int,
        progress: Progress,
        cancellation: Cancellation,
    ) -> tuple[Entry, ...]:
        """The files of `locked`, verified and selected, in the empty directory `staging`; their entries, sorted."""
        ...
