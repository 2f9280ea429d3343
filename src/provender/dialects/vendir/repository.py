"""A repository of a registry, read through the blob cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from provender.errors import Denied, NotFound, Unauthorized
from provender.storage.abilities import Fetcher, Resolver, TagLister
from provender.storage.cache import BlobCache
from provender.storage.cached_source import CachedSource

__all__ = ["CachedRepository", "Repository"]


class _Origin(Resolver, Fetcher, TagLister, Protocol):
    """What is asked of a storage."""


class Repository(_Origin, Protocol):
    """What is asked of a repository."""

    def has(self, target: str) -> bool:
        """Whether this very repository has that tag or manifest; the cache, which is for all of them, is not asked.

        A refusal counts as no, as in imgpkg: it may be somebody else's repository.
        """
        ...


class CachedRepository(CachedSource):
    """A repository through the blob cache; its tags are asked every time."""

    def __init__(self, origin: _Origin, cache: BlobCache) -> None:
        super().__init__(origin, cache)
        self._asked = origin

    def tags(self) -> Iterator[str]:
        """All tags (see `TagLister`)."""
        return self._asked.tags()

    def has(self, target: str) -> bool:
        """Whether this very repository has it (see `Repository`)."""
        try:
            self._asked.resolve(target)
        except (NotFound, Unauthorized, Denied):
            return False
        return True
