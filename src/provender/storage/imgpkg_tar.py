"""Archives of `imgpkg copy --to-tar`, read as the images and indexes that they were, byte for byte.

Storage layer. Manifests and configs stand in `manifest.json` as text; each layer is a file named by its digest. Digests
are imgpkg's claims: every reader of the storage verifies them. A config that was no UTF-8 is damaged by imgpkg itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from provender.errors import InvalidDocument
from provender.oci import Descriptor, Digest
from provender.oci.annotations import REF_NAME
from provender.oci.digest import decode_digest
from provender.storage.archive_contents import MANIFEST_FILE, Contents, items_of, qualified, split_name
from provender.storage.layout_index import LayoutIndex
from provender.storage.tar_table import Member, scan
from provender.storage.volume import Cursor

__all__ = ["imgpkg_contents"]

_LAYER: Final = re.compile(r"(?P<algorithm>sha256|sha512)-(?P<encoded>[0-9a-f]{64,128})\.tar\.gz")
_MOST_DOCUMENTS: Final = 100_000


class _Raw(msgspec.Struct, frozen=True, rename="pascal"):
    digest: Digest
    raw: str
    media_type: str = ""


class _Image(msgspec.Struct, frozen=True, rename="pascal"):
    manifest: _Raw
    config: _Raw
    refs: tuple[str, ...] | None = None
    tag: str = ""
    labels: dict[str, str] | None = None


class _Index(msgspec.Struct, frozen=True, rename="pascal"):
    digest: Digest
    raw: str
    media_type: str = ""
    refs: tuple[str, ...] | None = None
    tag: str = ""
    labels: dict[str, str] | None = None
    images: tuple[_Image, ...] | None = None
    indexes: tuple[_Index, ...] | None = None


class _Item(msgspec.Struct, frozen=True, rename="pascal"):
    image: _Image | None = None
    image_index: _Index | None = None


def imgpkg_contents(cursor: Cursor, table: Mapping[str, Member]) -> Contents:
    """The images of the archive; InvalidDocument (`invalid-imgpkg-tar`) for a `manifest.json` that cannot be used.

    An entry of the index has the labels of imgpkg among its annotations; one of them marks the root bundle.
    """
    found = items_of(cursor, table[MANIFEST_FILE])
    try:
        items = [msgspec.convert(item, _Item, dec_hook=decode_digest) for item in found]
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from error
    made: dict[Digest, bytes] = {}
    entries: list[Descriptor] = []
    for item in items:
        if (image := item.image) is not None:
            _take_image(image, made)
            entries.append(_entry(image.manifest.digest, image.manifest.media_type, image, made))
        if (index := item.image_index) is not None:
            _take_index(index, made)
            entries.append(_entry(index.digest, index.media_type, index, made))
    files = scan(cursor, lambda name: _LAYER.fullmatch(name) is not None)
    return Contents("imgpkg", LayoutIndex.listed(entries), dict(_layers(files)), made)


def _take_image(image: _Image, made: dict[Digest, bytes]) -> None:
    for document in (image.manifest, image.config):
        made[document.digest] = document.raw.encode()
    if len(made) > _MOST_DOCUMENTS:
        raise _invalid(f"it has more than {_MOST_DOCUMENTS} documents")


def _take_index(index: _Index, made: dict[Digest, bytes]) -> None:
    made[index.digest] = index.raw.encode()
    for image in index.images or ():
        _take_image(image, made)
    for child in index.indexes or ():
        _take_index(child, made)


def _entry(digest: Digest, media_type: str, source: _Image | _Index, made: Mapping[Digest, bytes]) -> Descriptor:
    annotations = dict(source.labels or {})
    if source.refs:
        reference = qualified(source.refs[0])
        annotations[REF_NAME] = f"{split_name(reference)[0]}:{source.tag}" if source.tag else reference
    elif source.tag:
        annotations[REF_NAME] = source.tag
    return Descriptor(media_type=media_type, digest=digest, size=len(made[digest]), annotations=annotations or None)


def _layers(files: Mapping[str, Member]) -> Iterable[tuple[Digest, Member]]:
    for name, member in files.items():
        found = _LAYER.fullmatch(name)
        if found is not None and len(found["encoded"]) == (64 if found["algorithm"] == "sha256" else 128):
            yield Digest(f"{found['algorithm']}:{found['encoded']}"), member


def _invalid(why: str) -> InvalidDocument:
    return InvalidDocument(
        f"the archive of imgpkg cannot be used: {why[:300]}",
        code="invalid-imgpkg-tar",
        hint="make it again with 'imgpkg copy --to-tar'",
    )
