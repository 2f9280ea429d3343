"""An artifact pulled into a directory of the user's: unpacked aside, then moved in. Artifact layer.

Other files of the directory stay. No file is ever half written under its final name: everything is verified in a
staging directory first, conflicts are found before anything moves, and each file arrives by rename.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from provender.artifact.destination import Destination
from provender.artifact.platforms import choose_platform
from provender.artifact.tree import Entry
from provender.artifact.unpack import UnpackOptions, unpack
from provender.errors import InvalidDocument
from provender.oci import Document, Platform
from provender.storage.abilities import Fetcher, Resolver
from provender.transfer.pool import Cancellation
from provender.transfer.progress import NO_PROGRESS, Progress

__all__ = ["PullSource", "Pulled", "pull", "resolve_manifest"]

# An index may list indexes; more than this many levels is no artifact but a maze.
_MAX_INDEXES = 8


class PullSource(Resolver, Fetcher, Protocol):
    """What a pull needs of a storage."""


class Pulled(msgspec.Struct, frozen=True):
    """What a pull did: the document that the target named, the manifest that was used, and the files."""

    resolved: Document
    manifest: Document
    entries: tuple[Entry, ...]
    changed: tuple[str, ...]
    """Paths of the entries that were not there with the same content before."""


def pull(
    storage: PullSource,
    target: str,
    out: str,
    *,
    platform: Platform | None = None,
    options: UnpackOptions | None = None,
    force: bool = False,
    progress: Progress = NO_PROGRESS,
    cancellation: Cancellation | None = None,
) -> Pulled:
    """Lays the files of the artifact that `target` (tag or digest) names into the directory `out`, made if absent.

    A file that is there with other content is a Conflict (code `files-differ`, all of them listed) unless `force`.
    """
    resolved = storage.resolve(target)
    manifest = resolve_manifest(storage, resolved, platform=platform)
    with Destination.opened(out) as destination:
        entries = unpack(
            manifest.manifest(),
            storage,
            destination.staging,
            options=options,
            progress=progress,
            cancellation=cancellation,
        )
        return Pulled(resolved, manifest, entries, destination.fill(entries, force=force))


def resolve_manifest(
    storage: Resolver, document: Document, *, platform: Platform | None = None, here: bool = True
) -> Document:
    """The manifest itself, or the one that the index leads to for the platform (see `choose_platform`)."""
    for _ in range(_MAX_INDEXES):
        if not document.is_index:
            return document
        document = storage.resolve(choose_platform(document.index(), platform, here=here).digest)
    raise InvalidDocument(
        f"more than {_MAX_INDEXES} indexes lead from one to the next",
        code="invalid-document",
        hint="name the manifest that you want by its digest",
    )
