"""Indexes made of manifests that are there: what their entries say. Artifact layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from provender.artifact.platforms import platform_of
from provender.oci import Descriptor, Document, Index
from provender.oci.media_types import INDEX
from provender.storage.abilities import Fetcher, Resolver
from provender.transfer.pool import run_all

__all__ = ["child_entries", "new_index"]


class _Source(Resolver, Fetcher, Protocol):
    """What is looked into."""


def child_entries(storage: _Source, targets: Sequence[str], *, jobs: int = 8) -> list[Descriptor]:
    """The entries for what tags and digests name: type, size, and the platform that an image's config names."""
    return run_all([_Entry(storage, target) for target in targets], jobs=jobs)


def new_index(
    children: Sequence[Descriptor], *, artifact_type: str | None = None, annotations: Mapping[str, str] | None = None
) -> Document:
    """An index of `children` in their order, each once."""
    unique = {child.digest: child for child in children}
    return Document.author(
        Index(
            schema_version=2,
            media_type=INDEX,
            artifact_type=artifact_type,
            manifests=tuple(unique.values()),
            annotations=dict(sorted((annotations or {}).items())) or None,
        )
    )


class _Entry:
    """The task of one entry."""

    def __init__(self, storage: _Source, target: str) -> None:
        self._storage = storage
        self._target = target

    def __call__(self) -> Descriptor:
        document = self._storage.resolve(self._target)
        platform = platform_of(self._storage, document)
        return msgspec.structs.replace(document.descriptor.bare, platform=platform)
