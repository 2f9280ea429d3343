"""Document: a manifest or index as `(descriptor, raw bytes)`, and its strict parsing. Pure.

The bytes are the truth; `Manifest` and `Index` are views of them. Nothing that we did not author is encoded again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NoReturn, TypeVar

import msgspec

from provender.errors import IntegrityError, InvalidDocument, Unsupported
from provender.oci.annotations import COMPAT_TYPE
from provender.oci.descriptor import Descriptor
from provender.oci.digest import Digest, decode_digest
from provender.oci.media_types import (
    ARTIFACT_MANIFEST_TYPES,
    EMPTY,
    IMAGE_CONFIG,
    INDEX,
    INDEX_TYPES,
    MANIFEST,
    MANIFEST_TYPES,
    SCHEMA1_TYPES,
    is_valid,
)

__all__ = ["MAX_DOCUMENT_BYTES", "Document", "Index", "Manifest", "is_text", "parse_json"]

MAX_DOCUMENT_BYTES: Final = 8 << 20  # read; registries accept at least 4 MiB (distribution-spec, "Pushing Manifests")
_MAX_DEPTH: Final = 64
_SMALL_BYTES: Final = 16 << 10


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """An image manifest: one artifact (image-spec manifest.md). `config` is None only in pre-1.1 artifact manifests."""

    schema_version: int | None = None
    media_type: str | None = None
    artifact_type: str | None = None
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None

    @property
    def effective_type(self) -> str | None:
        """What the artifact is: `artifactType`, else the config's media type (manifest.md, artifact guidance).

        A manifest that had to pose as an image, for a registry that takes nothing else, says its type in an annotation.
        """
        if self.artifact_type:
            return self.artifact_type
        if self.config is not None and self.config.media_type == IMAGE_CONFIG and self.annotations:
            noted = self.annotations.get(COMPAT_TYPE, "")
            if is_valid(noted):
                return noted
        if self.config is not None and self.config.media_type != EMPTY:
            return self.config.media_type
        return None

    def successors(self) -> tuple[Descriptor, ...]:
        """All content that this document points down to: config and layers, in order (not the subject)."""
        return self.layers if self.config is None else (self.config, *self.layers)


class Index(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """An image index: a list of manifests (image-spec image-index.md)."""

    schema_version: int | None = None
    media_type: str | None = None
    artifact_type: str | None = None
    manifests: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None

    @property
    def effective_type(self) -> str | None:
        """What the index is: its `artifactType`, if it has one."""
        return self.artifact_type or None

    def successors(self) -> tuple[Descriptor, ...]:
        """The children, in order."""
        return self.manifests


_View = TypeVar("_View", Manifest, Index)

# msgspec learns a type when it first meets it, and a second thread that comes meanwhile crashes the process (it uses
# the half that is there). Here, under the lock of the import, nobody comes second.
_LEARNED: Final = (msgspec.json.Decoder(Manifest), msgspec.json.Decoder(Index))


class Document(msgspec.Struct, frozen=True):
    """A manifest or index: its descriptor and its exact bytes, which match."""

    descriptor: Descriptor
    raw: bytes

    @classmethod
    def read(cls, raw: bytes, *, media_type: str | None = None, expected: Digest | None = None) -> Document:
        """The checked document in `raw`.

        `media_type` is what the carrier says (Content-Type or parent descriptor), without parameters; a field
        `mediaType` that differs is refused. `expected` is the digest asked for. Raises InvalidDocument, IntegrityError
        (digest) or Unsupported (Docker schema 1).
        """
        if len(raw) > MAX_DOCUMENT_BYTES:
            _refuse(f"{len(raw)} bytes are over the limit of {MAX_DOCUMENT_BYTES}", "document-too-large")
        digest = Digest.of(raw, expected.algorithm if expected else "sha256")
        if expected is not None and digest != expected:
            raise IntegrityError(
                f"the document has digest {digest}, not {expected}",
                code="digest-mismatch",
                hint="the registry or a proxy in between returned other content; nothing was kept",
            )
        view = _view(raw, media_type)
        named = view.media_type or media_type or (INDEX if isinstance(view, Index) else MANIFEST)
        descriptor = Descriptor(media_type=named, digest=digest, size=len(raw), artifact_type=view.artifact_type)
        return cls(descriptor, raw)

    @classmethod
    def author(cls, view: Manifest | Index) -> Document:
        """The document of a view that we made: fixed key order, no whitespace, UTF-8, no trailing newline."""
        raw = msgspec.json.encode(view, enc_hook=str)
        media_type = view.media_type or (INDEX if isinstance(view, Index) else MANIFEST)
        return cls(Descriptor.of(raw, media_type, artifact_type=view.artifact_type), raw)

    @property
    def digest(self) -> Digest:
        return self.descriptor.digest

    @property
    def is_index(self) -> bool:
        return self.descriptor.media_type in INDEX_TYPES

    def parse(self) -> Manifest | Index:
        """The view of the bytes; the same checks as `read`."""
        return _view(self.raw, self.descriptor.media_type)

    def manifest(self) -> Manifest:
        """The view as a manifest; InvalidDocument if it is an index."""
        view = self.parse()
        if isinstance(view, Index):
            _refuse(f"{self.digest} is an index, not a manifest", "not-a-manifest")
        return view

    def index(self) -> Index:
        """The view as an index; InvalidDocument if it is a manifest."""
        view = self.parse()
        if isinstance(view, Manifest):
            _refuse(f"{self.digest} is a manifest, not an index", "not-an-index")
        return view


def is_text(value: str) -> bool:
    """False for text that no encoding has: JSON may hold halves of characters (lone surrogates), and so may paths."""
    return value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value)


def parse_json(raw: bytes, what: str) -> dict[str, object]:
    """The JSON object in `raw`, read strictly (UTF-8, no duplicate keys, no NaN, bounded depth), or InvalidDocument."""
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise InvalidDocument(f"{what} is not UTF-8", code="invalid-json") from error
    except RecursionError as error:
        raise InvalidDocument(f"{what} is nested too deeply", code="invalid-json") from error
    except ValueError as error:
        raise InvalidDocument(f"{what} is not JSON: {error}", code="invalid-json") from error
    if not isinstance(value, dict):
        _refuse(f"{what} is not a JSON object", "invalid-json")
    if raw.count(b"{") + raw.count(b"[") > _MAX_DEPTH:
        _check_depth(value, what)
    return value


def _view(raw: bytes, media_type: str | None) -> Manifest | Index:
    return (_recent if len(raw) <= _SMALL_BYTES else _latest)(raw, media_type)


@lru_cache(maxsize=256)
def _recent(raw: bytes, media_type: str | None) -> Manifest | Index:
    """The view of a small document; what was just read is parsed by the next who looks at it."""
    return _parse(raw, media_type)


@lru_cache(maxsize=1)
def _latest(raw: bytes, media_type: str | None) -> Manifest | Index:
    """The same for a large one, of which one is kept."""
    return _parse(raw, media_type)


def _parse(raw: bytes, media_type: str | None) -> Manifest | Index:
    fields = parse_json(raw, "the document")
    named = _agreed_type(fields, media_type)
    is_index = named in INDEX_TYPES if named else "manifests" in fields
    _check_kind(fields, is_index=is_index)
    present = _without_nulls(fields) if b"null" in raw else fields
    if is_index:
        return _convert({"manifests": [], **present}, Index)
    if named in ARTIFACT_MANIFEST_TYPES:
        present["layers"] = present.pop("blobs", [])
    return _convert({"layers": [], **present}, Manifest)


def _agreed_type(fields: Mapping[str, object], carried: str | None) -> str | None:
    own = fields.get("mediaType")
    if own is not None and not isinstance(own, str):
        _refuse("mediaType is not a string", "invalid-document")
    named = own or carried
    if named in SCHEMA1_TYPES or fields.get("schemaVersion") == 1:
        raise Unsupported(
            "the image is a Docker schema 1 manifest, a format that was withdrawn in 2017",
            code="docker-schema-1",
            hint="push it again with a current client",
        )
    if own and carried and own != carried:
        _refuse(f"the document calls itself {own!r}, its carrier calls it {carried!r}", "media-type-conflict")
    if named is not None and named not in MANIFEST_TYPES and named not in INDEX_TYPES:
        _refuse(f"{named[:150]!r} is not the media type of a manifest or an index", "not-a-document")
    return named


def _check_kind(fields: Mapping[str, object], *, is_index: bool) -> None:
    # One document that is valid as both kinds is read differently by different clients (CVE-2021-41190).
    own = {"manifests"} if is_index else {"config", "layers", "fsLayers"}
    other = {"config", "layers", "fsLayers"} if is_index else {"manifests"}
    found = sorted(key for key in other if fields.get(key) is not None)
    if found:
        kind, wrong = ("an index", "a manifest") if is_index else ("a manifest", "an index")
        _refuse(f"the document is {kind} but has {', '.join(found)} like {wrong}", "ambiguous-document")
    if not is_index and not any(key in fields for key in (*own, "blobs")):
        _refuse("the document is neither a manifest nor an index", "not-a-document")


def _without_nulls(fields: Mapping[str, object]) -> dict[str, object]:
    """Go encoders write `null` for an empty collection; absence means the same."""
    return {key: _strip(value) for key, value in fields.items() if value is not None}


def _strip(value: object) -> object:
    if isinstance(value, dict):
        return {key: _strip(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_strip(item) for item in value]
    return value


def _convert(fields: Mapping[str, object], kind: type[_View]) -> _View:
    try:
        view: _View = msgspec.convert(fields, kind, strict=True, dec_hook=decode_digest)
    except msgspec.ValidationError as error:
        raise InvalidDocument(f"invalid {kind.__name__.lower()}: {error}", code="invalid-document") from error
    if view.schema_version not in (None, 2):
        _refuse(f"schemaVersion is {view.schema_version}, not 2", "invalid-document")
    _check_artifact_type(view.artifact_type)
    for descriptor in (*view.successors(), *(() if view.subject is None else (view.subject,))):
        _check_descriptor(descriptor)
    return view


def _check_artifact_type(name: str | None) -> None:
    """A type goes into locks, plans and archives, which are UTF-8; what else holds half a character stays in here."""
    if name is not None and not is_text(name):
        _refuse(f"the artifactType {name[:150]!r} holds half a character", "invalid-document")


def _check_descriptor(descriptor: Descriptor) -> None:
    if descriptor.size < 0:
        _refuse(f"{descriptor.digest} has the negative size {descriptor.size}", "invalid-document")
    if descriptor.size >= 1 << 63:
        _refuse(f"{descriptor.digest} has a size beyond 64 bits", "invalid-document")
    if not is_valid(descriptor.media_type):
        _refuse(f"{descriptor.media_type[:150]!r} is not a media type", "invalid-document")
    _check_artifact_type(descriptor.artifact_type)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        keys = [key for key, _ in pairs]
        key = next(key for key in keys if keys.count(key) > 1)
        raise InvalidDocument(f"the key {key[:80]!r} stands twice in one object", code="duplicate-key")
    return fields


def _no_constant(text: str) -> NoReturn:
    raise InvalidDocument(f"{text} is not a JSON number", code="invalid-json")


def _check_depth(value: dict[str, object], what: str) -> None:
    level: list[dict[str, object] | list[object]] = [value]
    for _ in range(_MAX_DEPTH - 1):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, (dict, list))
        ]
    if any(level):
        _refuse(f"{what} is nested deeper than {_MAX_DEPTH} levels", "invalid-json")


def _refuse(message: str, code: str) -> NoReturn:
    raise InvalidDocument(message, code=code)
