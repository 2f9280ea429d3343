"""An OCI image layout written as a tar, front to back: deterministic, streaming, the index first.

Storage layer; `archive` reads what this writes. Memory does not grow with blobs: what is held are descriptors.

The order of members is `oci-layout`, `index.json`, the documents, the other blobs, both by digest. Times, owners and
modes are the same everywhere, so equal content gives equal bytes (uncompressed; zstd is its library's affair).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal, Protocol

import msgspec

from provender.errors import IntegrityError
from provender.oci import Descriptor, Digest
from provender.oci.media_types import INDEX, is_document
from provender.storage.abilities import BlobReader
from provender.storage.layout_index import INDEX_FILE, LAYOUT_FILE
from provender.storage.seekable_zstd import SeekableWriter
from provender.storage.ustar import END_OF_ARCHIVE, header, padding
from provender.storage.verify import CHUNK_BYTES, VerifiedReader

__all__ = ["Part", "archive_size", "write_archive"]

_LAYOUT_BYTES: Final = b'{"imageLayoutVersion":"1.0.0"}'
_MODE: Final = 0o644
_ZSTD_LEVEL: Final = 3

Compression = Literal["none", "zstd"]


class Writable(Protocol):
    """Where an archive goes: a file, a pipe."""

    def write(self, content: bytes, /) -> object: ...


class Part(msgspec.Struct, frozen=True):
    """Content of an archive. `open` is called when its turn comes; its reader need not verify."""

    descriptor: Descriptor
    open: Callable[[], BlobReader]


def write_archive(
    out: Writable, entries: Sequence[Descriptor], parts: Iterable[Part], *, compression: Compression = "none"
) -> None:
    """Write the layout whose index has `entries` (as they are, annotations too) and whose blobs are `parts`.

    A digest comes once, however many parts have it. Every byte is verified on its way; after any error, also one of a
    part's own, what was written is to be thrown away. Raises IntegrityError if two parts give one digest two sizes.
    """
    ordered = _ordered(parts)
    if compression == "zstd":
        with SeekableWriter(out, level=_ZSTD_LEVEL) as compressed:
            _write(compressed, entries, ordered)
    else:
        _write(out, entries, ordered)


def archive_size(entries: Sequence[Descriptor], descriptors: Iterable[Descriptor]) -> int:
    """The bytes of the uncompressed archive, for a progress display or a check of the space that is left."""
    sizes = {each.digest: each.size for each in descriptors}
    members = [(LAYOUT_FILE, len(_LAYOUT_BYTES)), (INDEX_FILE, len(_index(entries)))]
    members += [(_name(digest), size) for digest, size in sizes.items()]
    return sum(len(_header(name, size)) + size + len(padding(size)) for name, size in members) + len(END_OF_ARCHIVE)


def _ordered(parts: Iterable[Part]) -> list[Part]:
    unique: dict[Digest, Part] = {}
    for part in parts:
        digest, size = part.descriptor.digest, part.descriptor.size
        first = unique.setdefault(digest, part)
        if first.descriptor.size != size:
            raise IntegrityError(
                f"{digest} is said to have {first.descriptor.size} bytes, and {size} bytes elsewhere",
                code="size-mismatch",
                hint="one of the manifests is wrong; nothing was written",
            )
    return sorted(
        unique.values(), key=lambda part: (not is_document(part.descriptor.media_type), part.descriptor.digest)
    )


def _write(out: Writable, entries: Sequence[Descriptor], parts: Sequence[Part]) -> None:
    for name, content in ((LAYOUT_FILE, _LAYOUT_BYTES), (INDEX_FILE, _index(entries))):
        out.write(_header(name, len(content)))
        out.write(content)
        out.write(padding(len(content)))
    for part in parts:
        size = part.descriptor.size
        out.write(_header(_name(part.descriptor.digest), size))
        with VerifiedReader(part.open(), part.descriptor) as reader:
            _pour(reader, out)
        out.write(padding(size))
    out.write(END_OF_ARCHIVE)


def _pour(reader: VerifiedReader, out: Writable) -> None:
    while chunk := reader.read(CHUNK_BYTES):
        out.write(chunk)


def _index(entries: Sequence[Descriptor]) -> bytes:
    fields = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries)}
    return msgspec.json.encode(fields, enc_hook=str)


def _header(name: str, size: int) -> bytes:
    return header(name, b"0", _MODE, size, "", 0)


def _name(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.encoded}"
