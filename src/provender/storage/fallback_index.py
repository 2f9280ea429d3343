"""The index under a fallback tag, where a storage has no list of referrers: what it lists, and edits of it. Pure.

Storage layer, below the registry's referrers and the layout (distribution-spec, "Unavailable Referrers API"). What
others wrote into it stays as it is; only our entries are added or taken away.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import msgspec

from provender.errors import Conflict
from provender.oci import Descriptor, Digest, Document, Index, Manifest
from provender.oci.document import parse_json
from provender.oci.media_types import INDEX

__all__ = ["adding", "check_image_index", "dropping", "entry_of", "lists"]

_NEW = {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}


def entry_of(document: Document, view: Manifest | Index) -> Descriptor:
    """The descriptor of a referrer as a referrers list has it: with the type and all annotations of its manifest."""
    artifact_type = view.artifact_type
    if not artifact_type and isinstance(view, Manifest) and view.config is not None:
        artifact_type = view.config.media_type
    return msgspec.structs.replace(
        document.descriptor.bare, artifact_type=artifact_type or None, annotations=view.annotations or None
    )


def lists(index: Document | None, digest: Digest) -> bool:
    """True if the index has an entry for the digest."""
    return index is not None and any(entry.digest == digest for entry in index.index().manifests)


def adding(index: Document | None, entries: Sequence[Descriptor]) -> Document | None:
    """The index with the entries that it lacks, a new one if there is none; None if it lacks none."""
    there = set() if index is None else {entry.digest for entry in index.index().manifests}
    lacking = [entry for entry in entries if entry.digest not in there]
    if not lacking:
        return None
    fields: Mapping[str, object] = _NEW if index is None else parse_json(index.raw, "the index of referrers")
    added: list[dict[str, object]] = [msgspec.to_builtins(entry, enc_hook=str) for entry in lacking]
    return _encode({**fields, "manifests": [*_entries(fields), *added]})


def dropping(index: Document | None, digest: Digest) -> Document | None:
    """The index without the entries of a digest; None if it has none of them."""
    if index is None or not lists(index, digest):
        return None
    fields = parse_json(index.raw, "the index of referrers")
    kept = [item for item in _entries(fields) if not (isinstance(item, dict) and item.get("digest") == digest)]
    return _encode({**fields, "manifests": kept})


def check_image_index(document: Document, where: str) -> None:
    """Nothing, if this is an image index that may be edited; else Conflict."""
    if document.descriptor.media_type != INDEX:
        raise Conflict(
            f"the tag that lists the referrers holds something else ({document.descriptor.media_type[:100]})",
            code="referrers-tag-taken",
            where=where,
            hint="nothing was overwritten; remove the tag if nobody needs it, then try again",
        )


def _entries(fields: Mapping[str, object]) -> list[object]:
    entries = fields.get("manifests")
    return entries if isinstance(entries, list) else []


def _encode(fields: Mapping[str, object]) -> Document:
    # Escapes rather than UTF-8: what another tool wrote may hold a lone surrogate.
    raw = json.dumps(fields, separators=(",", ":")).encode("ascii")
    return Document.read(raw, media_type=INDEX)
