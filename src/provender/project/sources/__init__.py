"""Sources: where a dependency's files come from. Each kind resolves a wish to a locked entry, and lays files on disk.

Project layer, below `sync`. A source knows nothing of destinations, drift or swaps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import msgspec

from provender.artifact.tree import Entry
from provender.errors import Unsupported
from provender.oci import Descriptor, Document
from provender.project.dependency import Dependency
from provender.project.lock_entry import LockedDependency
from provender.project.sources.companions import NO_COMPANIONS, Companions
from provender.storage.abilities import Fetcher
from provender.transfer.pool import Cancellation
from provender.transfer.progress import Progress
from provender.transfer.related import NONE, Related

__all__ = ["Contents", "Portable", "Source", "Versioned", "source_of"]


class Source(Protocol):
    """One kind of origin."""

    def resolve(self, dependency: Dependency) -> LockedDependency:
        """What `dependency` means now, pinned; its `tree` is empty until the files were laid, if it is not known."""
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


@runtime_checkable
class Versioned(Protocol):
    """What a source has besides, if there are versions to choose from."""

    def versions(self, dependency: Dependency) -> list[str]:
        """Every tag or version that a range of `dependency` could choose; asked of the origin, unsorted."""
        ...


class Contents(msgspec.Struct, frozen=True):
    """What a locked dependency is made of, where that is content of a registry."""

    documents: tuple[Document, ...]
    """The manifest or index that is locked first, then the manifest that was used."""
    blobs: tuple[Descriptor, ...]
    fetcher: Fetcher
    """Gives the blobs, from the cache where it can."""
    companions: Companions = NO_COMPANIONS
    """What belongs to it, as far as that was wanted."""


@runtime_checkable
class Portable(Protocol):
    """What a source has besides, if its content is content of a registry and can be carried as it is."""

    def contents(self, dependency: Dependency, locked: LockedDependency, *, related: Related = NONE) -> Contents:
        """What has to be there to lay `locked` without asking the origin, and what of `related` belongs to that."""
        ...


def source_of(sources: Mapping[str, Source], dependency: Dependency) -> Source:
    """The source that handles the dependency; Unsupported if there is none of its kind."""
    found = sources.get(dependency.source)
    if found is None:
        raise Unsupported(
            f"the source {dependency.source!r} is not available here",
            code="unsupported-source",
            hint=f"available: {', '.join(sources)}",
        )
    return found
