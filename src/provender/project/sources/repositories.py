"""Repositories as the sources see them: a wish becomes a document once, content comes verified, from the cache first.

Project layer, below the sources `oci`, `image` and `helmChart`. What `storages` may not reach (offline) comes from the
cache or is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from provender.artifact.pull import resolve_manifest
from provender.errors import IntegrityError, NotFound
from provender.oci import Descriptor, Digest, Document, Manifest, Platform, Reference
from provender.project.lock_entry import LockedArtifact
from provender.project.origin import Requested
from provender.project.sources import Contents
from provender.project.sources.companions import NO_COMPANIONS, companions_of
from provender.project.sources.emptying import empty
from provender.storage.abilities import BlobReader, TagLister
from provender.storage.cache import BlobCache, CachedFetcher
from provender.storage.open import Storages
from provender.transfer.pool import Cancellation
from provender.transfer.related import Related
from provender.versions import Range, nearest
from provender.versions import select as newest

__all__ = ["Found", "Repositories", "lay_undamaged"]

_T = TypeVar("_T")


class Found(msgspec.Struct, frozen=True):
    """What a wish means: the document that was named, and the manifest in it that is laid."""

    tag: str | None
    document: Document
    child: Document

    @property
    def manifest(self) -> Manifest:
        return self.child.manifest()

    @property
    def child_digest(self) -> Digest | None:
        """The manifest's digest, if the document is an index."""
        return self.child.digest if self.document.is_index else None


class Repositories:
    """Access to the repositories of a project's dependencies."""

    def __init__(self, storages: Storages, cache: BlobCache) -> None:
        self._storages = storages
        self._cache = cache

    def find(self, reference: Reference, requested: Requested, platform: str | None = None) -> Found:
        """What `requested` of the repository means now.

        Raises NotFound (no such repository, tag or version; the nearest tags are listed), and what the storage raises.
        A lock is for every machine: this one's platform does not count.
        """
        storage = self._storages.open(reference).storage
        tag = _tag(reference, requested, storage)
        document = storage.resolve(requested.digest or tag or "")
        self._keep(document)
        wanted = None if platform is None else Platform.parse(platform)
        child = resolve_manifest(storage, document, platform=wanted, here=False)
        self._keep(child)
        return Found(tag, document, child)

    def fetcher(self, reference: Reference) -> CachedFetcher:
        """A fetcher of the repository's blobs, which reads the cache first and fills it."""
        return CachedFetcher(_Origin(self._storages, reference), self._cache)

    def document(self, reference: Reference, digest: Digest) -> Document:
        """The document of that digest, from the cache or its repository."""
        origin = _Origin(self._storages, reference)
        return CachedFetcher(origin, self._cache).document(digest, lambda: origin.resolve(digest))

    def contents(self, reference: Reference, entry: LockedArtifact, related: Related) -> Contents:
        """The documents and blobs that `entry` names, and what of `related` belongs to them.

        Its layers are those that are laid, not all there may be.
        """
        named = self.document(reference, entry.digest)
        used = named if entry.manifest is None else self.document(reference, entry.manifest)
        config = used.manifest().config
        layers = [Descriptor(media_type=x.media_type, digest=x.digest, size=x.size) for x in entry.layers]
        documents = (named,) if used is named else (named, used)
        companions = NO_COMPANIONS
        if not related.is_none:
            companions = companions_of(self._storages.open(reference).storage, documents, related)
        return Contents(
            documents=documents,
            blobs=(*([] if config is None else [config.bare]), *layers),
            fetcher=self.fetcher(reference),
            companions=companions,
        )

    def tags(self, reference: Reference) -> list[str]:
        """All tags of the repository."""
        return list(self._storages.open(reference).storage.tags())

    def _keep(self, document: Document) -> None:
        """Put the document into the cache, as far as that can be written."""
        CachedFetcher(self._cache, self._cache).document(document.digest, lambda: document)


def lay_undamaged(attempt: Callable[[Cancellation], _T], staging: str, *, blobs: int, cancellation: Cancellation) -> _T:
    """What `attempt` gives, which fills the empty directory `staging` from so many blobs.

    A damaged entry of the cache is met as it is read, and removed; then all is laid once more, without it.
    """
    for _ in range(blobs):
        try:
            return attempt(_Attempt(cancellation))
        except IntegrityError as error:
            if error.code != "damaged-cache-entry":
                raise
            cancellation.check()
            empty(staging)
    return attempt(_Attempt(cancellation))


class _Attempt(Cancellation):
    """Cancelled with the run that it is part of, but not the other way round: a failed attempt may be made again."""

    def __init__(self, run: Cancellation) -> None:
        super().__init__()
        self._run = run

    @property
    def is_cancelled(self) -> bool:
        return self._run.is_cancelled or super().is_cancelled

    def check(self) -> None:
        self._run.check()
        super().check()


class _Origin:
    """The storage behind a reference, opened when the cache lacks something and not before."""

    def __init__(self, storages: Storages, reference: Reference) -> None:
        self._storages = storages
        self._reference = reference

    def fetch(self, descriptor: Descriptor, *, offset: int = 0) -> BlobReader:
        return self._storages.open(self._reference).storage.fetch(descriptor, offset=offset)

    def exists(self, descriptor: Descriptor) -> bool:
        return self._storages.open(self._reference).storage.exists(descriptor)

    def resolve(self, digest: Digest) -> Document:
        return self._storages.open(self._reference).storage.resolve(digest)


def _tag(reference: Reference, requested: Requested, storage: TagLister) -> str | None:
    if requested.digest is not None or requested.version is None:
        return requested.tag
    wanted = Range.parse(requested.version)
    tags = list(storage.tags())
    found = newest(tags, wanted)
    if found is None:
        near = ", ".join(nearest(tags, wanted)) or "none"
        raise NotFound(
            f"no tag of {reference} is in the range {requested.version!r}",
            code="no-version-matched",
            hint=f"nearest of its {len(tags)} tags: {near}",
        )
    return found
