"""The source `manual`: a directory that somebody else keeps. Project layer; `standing` checks that it is there."""

from __future__ import annotations

from provender.artifact.tree import Entry
from provender.project.dependency import Dependency
from provender.project.lock_entry import LockedDependency, LockedManual
from provender.transfer.pool import Cancellation
from provender.transfer.progress import Progress

__all__ = ["ManualSource"]


class ManualSource:
    """Resolves to a place and lays nothing."""

    def resolve(self, dependency: Dependency) -> LockedDependency:
        """The entry, which holds nothing but the place."""
        return LockedManual(to=dependency.to)

    def lay(
        self,
        dependency: Dependency,
        locked: LockedDependency,  # noqa: ARG002
        staging: str,  # noqa: ARG002
        *,
        jobs: int,  # noqa: ARG002
        progress: Progress,  # noqa: ARG002
        cancellation: Cancellation,  # noqa: ARG002
    ) -> tuple[Entry, ...]:
        """Never: a directory that is kept by hand is not replaced."""
        raise TypeError(f"{dependency.name} is kept by hand")
