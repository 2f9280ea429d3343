"""An index made smaller: to one platform's manifest, or to an index of some platforms. Artifact layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from provender.artifact.platforms import platform_of
from provender.artifact.pull import resolve_manifest
from provender.errors import NotFound
from provender.oci import Descriptor, Digest, Document, Platform
from provender.oci.index_edit import selecting
from provender.storage.abilities import Fetcher, Resolver

__all__ = ["Narrowed", "narrow"]

_ABOUT: Final = "vnd.docker.reference.digest"


class _Source(Resolver, Fetcher, Protocol):
    """What is looked into."""


class Narrowed(msgspec.Struct, frozen=True):
    """The document that is left, and whether it was made here. `whole` is the index that it comes from."""

    document: Document
    is_new: bool = False
    whole: Document | None = None


def narrow(storage: _Source, document: Document, platforms: Sequence[Platform]) -> Narrowed:
    """What `document` is for these platforms alone.

    None of them: the document. One: its manifest. Several: an index of their manifests, with what BuildKit attested of
    them, which is another index unless there were no others. Raises NotFound (`no-matching-platform`) if one of them is
    not there.
    """
    if not platforms:
        return Narrowed(document)
    if not document.is_index:
        _check_platform(storage, document, platforms)
        return Narrowed(document)
    if len(platforms) == 1:
        return Narrowed(resolve_manifest(storage, document, platform=platforms[0]), whole=document)
    children = document.index().manifests
    missing = [wanted for wanted in platforms if not any(_is_for(child, wanted) for child in children)]
    if missing:
        there = ", ".join(str(child.platform) for child in children if child.platform and not child.platform.is_unknown)
        raise NotFound(
            f"the index has nothing for {', '.join(map(str, missing))}",
            code="no-matching-platform",
            hint=f"it has {there or 'no platforms'}; name some of these",
        )
    chosen = {child.digest for child in children if any(_is_for(child, wanted) for wanted in platforms)}
    smaller = selecting(document, lambda child: child.digest in chosen or _about(child) in chosen)
    if smaller is document:
        return Narrowed(document)
    return Narrowed(smaller, is_new=True, whole=document)


def _check_platform(storage: _Source, document: Document, platforms: Sequence[Platform]) -> None:
    found = platform_of(storage, document)
    if found is not None and not any(found.matches(wanted) for wanted in platforms):
        raise NotFound(
            f"the image is for {found}, not for {', '.join(map(str, platforms))}",
            code="no-matching-platform",
            hint="name the index that has the other platforms, or leave the platform out",
        )


def _is_for(child: Descriptor, wanted: Platform) -> bool:
    return child.platform is not None and child.platform.matches(wanted)


def _about(child: Descriptor) -> Digest | str | None:
    """The manifest that a child is an attestation of."""
    return (child.annotations or {}).get(_ABOUT)
