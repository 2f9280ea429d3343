"""A repository read through the blob cache: what was read once is not asked for again.

Storage layer, over the cache and any storage that resolves and fetches. For artifacts one at a time: a project's sync
fills the cache itself.
"""

from __future__ import annotations

from types import TracebackType
from typing import Final, Protocol, Self

from provender.oci import Descriptor, Digest, Document
from provender.storage.abilities import BlobReader, Fetcher, Resolver
from provender.storage.cache import BlobCache, CachedFetcher
from provender.storage.cache_flight import Flight

__all__ = ["LARGEST_KEPT_BYTES", "CachedSource"]

# A larger blob is read from the cache if it is there, but does not stay in it: a pull that writes 1 GiB twice takes
# twice as long (measured), and few ask for the same one again. Until the source is left its file is there.
LARGEST_KEPT_BYTES: Final = 64 << 20


class _Origin(Resolver, Fetcher, Protocol):
    """What is read."""


class CachedSource:
    """Resolver and Fetcher: tags are asked of `origin` every time; documents and blobs only if the cache lacks them.

    To be left, as a context manager, when what was read is where it belongs.
    """

    def __init__(self, origin: _Origin, cache: BlobCache, *, largest_bytes: int = LARGEST_KEPT_BYTES) -> None:
        self._origin = origin
        self._cache = cache
        self._fetcher = CachedFetcher(origin, cache)
        self._largest_bytes = largest_bytes
        self._spooled: list[Flight] = []

    def resolve(self, target: str) -> Document:
        """The document of a tag, by asking, or of a digest."""
        if ":" in target:
            return self._fetcher.document(Digest(target), lambda: self._origin.resolve(target))
        document = self._origin.resolve(target)
        return self._fetcher.document(document.digest, lambda: document)

    def fetch(self, descriptor: Descriptor, *, offset: int = 0) -> BlobReader:
        """A reader of the content (see `Fetcher.fetch`)."""
        if descriptor.size <= self._largest_bytes:
            return self._fetcher.fetch(descriptor, offset=offset)
        if offset:
            return self._cache.open(descriptor, offset=offset) or self._origin.fetch(descriptor, offset=offset)
        return self._fetcher.spool(descriptor, self._spooled.append)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Forget the files of large blobs: what was read is where it belongs now. After an error they stay.

        So the next attempt need not fetch again what had come whole.
        """
        while self._spooled:
            flight = self._spooled.pop()
            flight.discard() if kind is None else flight.abandon()

    def exists(self, descriptor: Descriptor) -> bool:
        """True if the cache or the origin has the content."""
        return self._fetcher.exists(descriptor)
