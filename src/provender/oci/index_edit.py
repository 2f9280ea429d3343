"""Edits of an index that somebody else wrote: what is not asked for stays as it stands there. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

import msgspec

from provender.oci.descriptor import Descriptor
from provender.oci.digest import Digest
from provender.oci.document import Document, parse_json

__all__ = ["changing", "selecting"]


def selecting(index: Document, is_wanted: Callable[[Descriptor], bool]) -> Document:
    """The index with the wanted children only, in their order: another document, unless all are wanted."""
    children = index.index().manifests
    wanted = [is_wanted(child) for child in children]
    if all(wanted):
        return index
    fields, entries = _read(index)
    return _written(index, fields, [entry for entry, kept in zip(entries, wanted, strict=True) if kept])


def changing(index: Document, *, add: Sequence[Descriptor] = (), remove: Sequence[Digest] = ()) -> Document:
    """The index without the children `remove`, and with those of `add` that it lacks behind the others."""
    kept = selecting(index, lambda child: child.digest not in remove)
    there = {child.digest for child in kept.index().manifests}
    fresh = {child.digest: child for child in add if child.digest not in there}
    if not fresh:
        return kept
    fields, entries = _read(kept)
    return _written(index, fields, [*entries, *(msgspec.to_builtins(each, enc_hook=str) for each in fresh.values())])


def _read(index: Document) -> tuple[Mapping[str, object], list[object]]:
    fields = parse_json(index.raw, "the index")
    entries = fields.get("manifests")
    return fields, list(entries) if isinstance(entries, list) else []


def _written(index: Document, fields: Mapping[str, object], entries: Sequence[object]) -> Document:
    # Escapes rather than UTF-8: what another tool wrote may hold a lone surrogate.
    raw = json.dumps({**fields, "manifests": list(entries)}, separators=(",", ":")).encode("ascii")
    return Document.read(raw, media_type=index.descriptor.media_type)
