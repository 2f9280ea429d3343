"""Which bundles a repository has: what its tags name, digest by digest. Tags made from digests are passed over."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final, Protocol

import msgspec

from provender.bundle.reading import BundleSource, Kind, kind_of, lock_of
from provender.errors import InvalidDocument, NotFound
from provender.oci import Descriptor, Digest, Document
from provender.oci.media_types import MANIFEST_TYPES
from provender.storage.abilities import Fetcher, Resolver, TagLister
from provender.transfer.pool import Cancellation, run_all
from provender.transfer.related import DigestTag

__all__ = ["ListedBundle", "bundles_in", "outermost"]

_MAX_TAGS: Final = 100_000
_INTERNAL: Final = ".imgpkg"
"""What the names of imgpkg's own tags end with."""


class _Repository(Resolver, Fetcher, TagLister, Protocol):
    """What is asked."""


class ListedBundle(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle with the tags that name it, sorted."""

    digest: Digest
    kind: Kind
    tags: tuple[str, ...]


def bundles_in(
    repository: _Repository, *, missing_ok: bool = False, jobs: int = 8, cancellation: Cancellation | None = None
) -> list[ListedBundle]:
    """The bundles that have a tag, by their first one. `missing_ok`: a repository that is not there has none."""
    names: list[str] = []
    try:
        for name in repository.tags():
            if DigestTag.parse(name) is None and not name.endswith(_INTERNAL):
                names.append(name)
            if len(names) > _MAX_TAGS:
                raise InvalidDocument(
                    f"the repository has more than {_MAX_TAGS} tags",
                    code="too-many-tags",
                    hint="name a bundle, and describe that",
                )
    except NotFound:
        if not missing_ok:
            raise
    tasks = [partial(_named, repository, name) for name in names]
    named = run_all(tasks, jobs=jobs, cancellation=cancellation)
    tags: dict[Digest, list[str]] = {}
    documents: dict[Digest, Document] = {}
    for name, document in zip(names, named, strict=True):
        if document is not None:
            documents[document.digest] = document
            tags.setdefault(document.digest, []).append(name)
    kinds = run_all(
        [partial(kind_of, document, repository) for document in documents.values()],
        jobs=jobs,
        cancellation=cancellation,
    )
    found = [
        ListedBundle(digest=digest, kind=kind, tags=tuple(sorted(tags[digest])))
        for digest, kind in zip(documents, kinds, strict=True)
        if kind is not None
    ]
    return sorted(found, key=lambda each: each.tags)


def outermost(
    entries: Sequence[Descriptor], archive: BundleSource, *, cancellation: Cancellation | None = None
) -> list[Digest]:
    """The bundles among the entries of an archive that are in no other bundle there."""
    documents = {entry.digest for entry in entries if entry.media_type in MANIFEST_TYPES}
    found: list[Digest] = []
    inner: set[Digest] = set()
    for digest in sorted(documents):
        if cancellation is not None:
            cancellation.check()
        document = archive.resolve(digest)
        if kind_of(document, archive) is not None:
            found.append(digest)
            inner.update(locked.digest for locked in lock_of(document, archive).images)
    return [digest for digest in found if digest not in inner]


def _named(repository: Resolver, name: str) -> Document | None:
    """What a tag names; None if it went since it was listed."""
    try:
        return repository.resolve(name)
    except NotFound:
        return None
