"""A source of which the cache may have what the lock names: brought by `import`, then no origin is asked.

Project layer, around the sources whose content has no digest that their origin could be asked for.
"""

from __future__ import annotations

from provender.artifact.tree import Entry
from provender.errors import IntegrityError, NotFound
from provender.project.carried_tree import lay_carried
from provender.project.dependency import Dependency
from provender.project.lock_entry import LockedDependency
from provender.project.sources import Source, Versioned
from provender.project.sources.emptying import empty
from provender.storage.cache import BlobCache
from provender.transfer.pool import Cancellation
from provender.transfer.progress import Progress

__all__ = ["CarriedSource"]


class CarriedSource:
    """Lays a locked tree from the cache if all of it is there, else as `source` does."""

    def __init__(self, source: Source, cache: BlobCache) -> None:
        self._source = source
        self._cache = cache

    def resolve(self, dependency: Dependency) -> LockedDependency:
        """As the source."""
        return self._source.resolve(dependency)

    def versions(self, dependency: Dependency) -> list[str]:
        """As the source, if it has versions; else none."""
        return self._source.versions(dependency) if isinstance(self._source, Versioned) else []

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
        """The files of `locked` in the empty directory `staging`."""
        if locked.tree is not None:
            try:
                laid = lay_carried(self._cache, locked.tree, staging, progress=progress, cancellation=cancellation)
            except (IntegrityError, NotFound):  # a damaged or vanished entry of the cache: there is the origin
                empty(staging)
            else:
                if laid is not None:
                    return laid
        return self._source.lay(dependency, locked, staging, jobs=jobs, progress=progress, cancellation=cancellation)
