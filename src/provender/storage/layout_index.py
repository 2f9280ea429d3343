"""`index.json` of an OCI image layout: names, look-ups and edits that keep what they do not understand. Pure.

Storage layer, below the layout directory, the layout archive and memory (image-spec image-layout.md).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from provender.errors import InvalidDocument, Unsupported
from provender.oci import Descriptor, Digest, Document
from provender.oci.annotations import REF_NAME
from provender.oci.digest import decode_digest
from provender.oci.document import parse_json
from provender.oci.media_types import INDEX
from provender.oci.reference import is_tag

__all__ = [
    "INDEX_FILE",
    "LAYOUT_FILE",
    "MAX_INDEX_BYTES",
    "MAX_LAYOUT_FILE_BYTES",
    "LayoutIndex",
    "check_layout_version",
    "fallback_tag",
    "not_a_layout",
]

INDEX_FILE: Final = "index.json"
LAYOUT_FILE: Final = "oci-layout"
MAX_LAYOUT_FILE_BYTES: Final = 64 << 10
MAX_INDEX_BYTES: Final = 64 << 20  # about 250,000 entries


class _Entry(msgspec.Struct, frozen=True):
    """One descriptor of the index, as it stands there and as it is understood."""

    fields: dict[str, object]
    descriptor: Descriptor
    name: str | None = None

    @property
    def digest(self) -> Digest:
        return self.descriptor.digest


class LayoutIndex:
    """The content of one `index.json`, immutable: an edit gives another one, or the same one if nothing changes.

    Where a name stands twice, its last entry counts.
    """

    def __init__(self, fields: Mapping[str, object], entries: Iterable[_Entry]) -> None:
        self._fields = fields
        self._entries = tuple(entries)
        self._by_digest = {entry.digest: entry.descriptor for entry in reversed(self._entries)}
        self._by_name: dict[str, Descriptor] = {}
        self._by_suffix: dict[str, Descriptor] = {}
        for entry in self._entries:
            if entry.name is not None:
                self._by_name[entry.name] = entry.descriptor
                if (suffix := _suffix(entry.name)) is not None:
                    self._by_suffix[suffix] = entry.descriptor

    @classmethod
    def empty(cls) -> LayoutIndex:
        """The index of a new layout."""
        return cls({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}, ())

    @classmethod
    def listed(cls, descriptors: Iterable[Descriptor]) -> LayoutIndex:
        """An index with these entries as they are, annotations and all."""
        fields = {"schemaVersion": 2, "manifests": msgspec.to_builtins(list(descriptors), enc_hook=str)}
        return cls.parse(json.dumps(fields).encode("ascii"))  # another tool's may hold a lone surrogate

    @classmethod
    def parse(cls, raw: bytes) -> LayoutIndex:
        """The index in `raw`, or InvalidDocument."""
        if len(raw) > MAX_INDEX_BYTES:
            raise _invalid(f"it is over the limit of {MAX_INDEX_BYTES} bytes", "index-too-large")
        fields = parse_json(raw, "index.json")
        if fields.get("schemaVersion", 2) != 2:
            raise _invalid("schemaVersion is not 2")
        listed = fields.get("manifests")
        if listed is None:  # Go encoders write null for an empty list
            listed = []
        if not isinstance(listed, list):
            raise _invalid("manifests is not a list")
        return cls(fields, (_read(number, item) for number, item in enumerate(listed)))

    def encode(self) -> bytes:
        """The bytes of the file; fields, entries and annotations that are not ours are as they were."""
        value = {**self._fields, "manifests": [entry.fields for entry in self._entries]}
        # Escapes rather than UTF-8: what another tool wrote may hold a lone surrogate.
        return json.dumps(value, separators=(",", ":")).encode("ascii")

    @property
    def descriptors(self) -> tuple[Descriptor, ...]:
        """Every entry in order; one digest stands once for each of its names."""
        return tuple(entry.descriptor for entry in self._entries)

    def by_name(self, name: str) -> Descriptor | None:
        """What `name` names: an entry called so, else one whose full reference ends in `:name`."""
        return self._by_name.get(name) or self._by_suffix.get(name)

    def by_digest(self, digest: Digest) -> Descriptor | None:
        """The first entry with this digest."""
        return self._by_digest.get(digest)

    def tags(self) -> list[str]:
        """Every name that is a tag, or ends in one, once and sorted."""
        return sorted({name for name in self._by_name if is_tag(name)} | self._by_suffix.keys())

    def listing(self, descriptor: Descriptor) -> LayoutIndex:
        """The index with an entry for `descriptor`, which stays without a name if it is new."""
        return self.listing_all((descriptor,))

    def listing_all(self, descriptors: Iterable[Descriptor]) -> LayoutIndex:
        """The index with entries for those of `descriptors` that have none."""
        fresh = {each.digest: each for each in descriptors if each.digest not in self._by_digest}
        return LayoutIndex(self._fields, (*self._entries, *map(_author, fresh.values()))) if fresh else self

    def naming(self, descriptor: Descriptor, name: str) -> LayoutIndex:
        """The index in which exactly `name` is `descriptor`; what had the name stays listed without it."""
        holders = [entry for entry in self._entries if entry.name == name]
        if len(holders) == 1 and holders[0].digest == descriptor.digest:
            return self
        entries = self._unnamed(lambda entry: entry.name == name)
        for position, entry in enumerate(entries):
            if entry.digest == descriptor.digest and entry.name is None:
                entries[position] = _renamed(entry, name)
                return LayoutIndex(self._fields, entries)
        return LayoutIndex(self._fields, (*entries, _renamed(_author(descriptor), name)))

    def naming_all(self, tags: Iterable[tuple[str, Document]]) -> LayoutIndex:
        """The index in which each tag is its document, the last one where a tag stands twice."""
        index = self
        for name, document in tags:
            index = index.naming(document.descriptor, name)
        return index

    def without_name(self, name: str) -> LayoutIndex:
        """The index in which `name` names nothing; what had it stays listed. The same index if nothing had it."""
        if name in self._by_name:
            return LayoutIndex(self._fields, self._unnamed(lambda entry: entry.name == name))
        if name in self._by_suffix:
            suffixed = self._unnamed(lambda entry: entry.name is not None and _suffix(entry.name) == name)
            return LayoutIndex(self._fields, suffixed)
        return self

    def without(self, digest: Digest) -> LayoutIndex:
        """The index without all entries of `digest`; the same index if there are none."""
        if digest not in self._by_digest:
            return self
        return LayoutIndex(self._fields, (entry for entry in self._entries if entry.digest != digest))

    def _unnamed(self, chosen: Callable[[_Entry], bool]) -> list[_Entry]:
        """The entries, the chosen ones without name; a chosen one whose digest is listed anyway is dropped."""
        kept = [entry for entry in self._entries if not chosen(entry)]
        listed = {entry.digest for entry in kept}
        entries: list[_Entry] = []
        for entry in self._entries:
            if not chosen(entry):
                entries.append(entry)
            elif entry.digest not in listed:
                listed.add(entry.digest)
                entries.append(_renamed(entry, None))
        return entries


def fallback_tag(digest: Digest) -> str:
    """The tag under which storages without a referrers list keep the referrers of `digest` (distribution-spec)."""
    return f"{digest.algorithm}-{digest.encoded[:64]}"


def check_layout_version(raw: bytes, where: str) -> None:
    """Nothing, if the bytes of an `oci-layout` file name a version that we can read."""
    version = parse_json(raw, LAYOUT_FILE).get("imageLayoutVersion")
    if not isinstance(version, str):
        raise not_a_layout(where, f"its file {LAYOUT_FILE} has no imageLayoutVersion")
    if re.fullmatch(r"1\.[0-9]+\.[0-9]+", version) is None:
        raise Unsupported(
            f"the layout has version {version[:40]!r}",
            code="layout-version",
            where=where,
            hint="layouts of version 1 can be read; a newer provender may know this one",
        )


def not_a_layout(where: str, why: str) -> InvalidDocument:
    """The error for something that is there and is no OCI layout."""
    return InvalidDocument(
        f"not an OCI layout: {why}",
        code="not-a-layout",
        where=where,
        hint="a layout holds the files oci-layout and index.json and the directory blobs; check the path",
    )


def _read(number: int, item: object) -> _Entry:
    if not isinstance(item, dict):
        raise _invalid(f"entry {number} is not an object")
    fields: dict[str, object] = item
    try:
        descriptor = msgspec.convert(
            {"mediaType": "", **{key: value for key, value in fields.items() if value is not None}},
            Descriptor,
            dec_hook=decode_digest,
        )
    except msgspec.ValidationError as error:
        raise _invalid(f"entry {number}: {error}") from error
    if not 0 <= descriptor.size < 1 << 63:
        raise _invalid(f"entry {number} has the size {descriptor.size}")
    return _Entry(fields, descriptor, (descriptor.annotations or {}).get(REF_NAME))


def _author(descriptor: Descriptor) -> _Entry:
    """An entry of ours: what the content is, and nothing that another place said about it."""
    ours = msgspec.structs.replace(descriptor.bare, artifact_type=descriptor.artifact_type)
    fields: dict[str, object] = msgspec.to_builtins(ours, enc_hook=str)
    return _Entry(fields, ours)


def _renamed(entry: _Entry, name: str | None) -> _Entry:
    annotations = {key: value for key, value in (entry.descriptor.annotations or {}).items() if key != REF_NAME}
    if name is not None:
        annotations[REF_NAME] = name
    fields = {**entry.fields, "annotations": annotations}
    if not annotations:
        del fields["annotations"]
    return _Entry(fields, msgspec.structs.replace(entry.descriptor, annotations=annotations or None), name)


def _suffix(name: str) -> str | None:
    """The tag at the end of a full reference (`docker.io/library/x:tag`), which skopeo and containerd write as name."""
    head, colon, tail = name.rpartition(":")
    return tail if colon and head and "@" not in name and is_tag(tail) else None


def _invalid(why: str, code: str = "invalid-index") -> InvalidDocument:
    return InvalidDocument(
        f"index.json of the layout cannot be used: {why}",
        code=code,
        hint="restore the file, or write the layout again with the tool that made it",
    )
