"""What kind of archive a tar is, and its content as an OCI layout has it: an index, and content by digest.

Storage layer, between the tar's table and the archive storage. Four things are told apart by the names in them: an
OCI layout (with hauler's annotations or without), a package of zarf (its `images/` is a layout), an archive of
`docker save` and one of `imgpkg copy --to-tar`; the last two have modules of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal

import msgspec

from provender.errors import InvalidDocument
from provender.oci import Descriptor, Digest
from provender.oci.annotations import REF_NAME
from provender.oci.document import parse_json
from provender.oci.reference import is_tag
from provender.storage.layout_index import (
    INDEX_FILE,
    LAYOUT_FILE,
    MAX_INDEX_BYTES,
    MAX_LAYOUT_FILE_BYTES,
    LayoutIndex,
    check_layout_version,
    fallback_tag,
    not_a_layout,
)
from provender.storage.tar_table import Member
from provender.storage.volume import Cursor, read_exactly

__all__ = [
    "ArchiveKind",
    "Contents",
    "full_name",
    "is_content",
    "items_of",
    "layout_contents",
    "recognise",
    "split_name",
]

ArchiveKind = Literal["layout", "haul", "zarf", "docker", "imgpkg"]

MANIFEST_FILE: Final = "manifest.json"
_IMAGES: Final = "images/"
_ZARF_FILE: Final = "zarf.yaml"
_BLOB: Final = re.compile(r"(?:images/)?blobs/(?P<algorithm>sha256|sha512)/(?P<encoded>[0-9a-f]{64,128})")
_CONTAINERD_NAME: Final = "io.containerd.image.name"
_BASE_NAME: Final = "org.opencontainers.image.base.name"
_HAUL_KIND: Final = "kind"
_HAUL: Final = "dev.hauler/"
_HAUL_IMAGES: Final = ("dev.hauler/image", "dev.hauler/imageIndex")
_HAUL_SUFFIXES: Final = {"dev.hauler/sigs": "sig", "dev.hauler/atts": "att", "dev.hauler/sboms": "sbom"}
_LIBRARY: Final = "docker.io/library/"


class Contents(msgspec.Struct, frozen=True):
    """An archive as a layout: its index, where content lies in the tar, and documents that it has in another form."""

    kind: ArchiveKind
    index: LayoutIndex
    members: Mapping[Digest, Member]
    made: Mapping[Digest, bytes] = {}


def is_content(name: str) -> bool:
    """True for the names that tell what an archive is, and for the content of layouts."""
    if name in (LAYOUT_FILE, INDEX_FILE, MANIFEST_FILE, _ZARF_FILE, _IMAGES + LAYOUT_FILE, _IMAGES + INDEX_FILE):
        return True
    return _BLOB.fullmatch(name) is not None


def recognise(cursor: Cursor, table: Mapping[str, Member], where: str) -> ArchiveKind:
    """What the archive is; InvalidDocument (`not-a-layout`) for a tar that is nothing of what is known."""
    if INDEX_FILE in table and (LAYOUT_FILE in table or MANIFEST_FILE in table):
        return "layout"  # hauler leaves oci-layout away for containerd, and adds a manifest.json
    if _ZARF_FILE in table:
        return "zarf"
    if MANIFEST_FILE in table:
        items = items_of(cursor, table[MANIFEST_FILE])
        if items and all("Config" in item and "Layers" in item for item in items):
            return "docker"
        if items and all("Image" in item or "ImageIndex" in item for item in items):
            return "imgpkg"
    missing = INDEX_FILE if LAYOUT_FILE in table else LAYOUT_FILE
    raise not_a_layout(where, f"the archive has no {missing}, and is no other kind of archive that is known")


def layout_contents(cursor: Cursor, table: Mapping[str, Member], kind: ArchiveKind, where: str) -> Contents:
    """The content of a layout, also of a haul and of the one in a package of zarf."""
    prefix = _IMAGES if kind == "zarf" else ""
    if prefix + INDEX_FILE not in table:
        if kind != "zarf":
            raise not_a_layout(where, f"the archive has no {INDEX_FILE}")
        return Contents("zarf", LayoutIndex.empty(), {})  # a package without images
    if prefix + LAYOUT_FILE in table:
        check_layout_version(small_file(cursor, table[prefix + LAYOUT_FILE], MAX_LAYOUT_FILE_BYTES), where)
    index = LayoutIndex.parse(small_file(cursor, table[prefix + INDEX_FILE], MAX_INDEX_BYTES))
    members = {}
    for name, member in table.items():
        found = _BLOB.fullmatch(name)
        if found is not None and name.startswith(prefix + "blobs/") and _is_digest(found):
            members[Digest(f"{found['algorithm']}:{found['encoded']}")] = member
    if any((each.annotations or {}).get(_HAUL_KIND, "").startswith(_HAUL) for each in index.descriptors):
        return Contents("haul", LayoutIndex.listed(_of_haul(index.descriptors)), members)
    if kind == "zarf":
        index = LayoutIndex.listed(_renamed(each, full_name(each)) for each in index.descriptors)
    return Contents(kind, index, members)


def small_file(cursor: Cursor, member: Member, limit: int) -> bytes:
    """The bytes of a file of at most `limit`."""
    if member.size > limit:
        raise InvalidDocument(f"a file of the archive has more than {limit} bytes", code="not-a-layout")
    cursor.seek(member.offset)
    return read_exactly(cursor, member.size)


def items_of(cursor: Cursor, member: Member) -> list[dict[str, object]]:
    """The objects in the array of a `manifest.json`; InvalidDocument for anything else."""
    raw = small_file(cursor, member, MAX_INDEX_BYTES)
    found = parse_json(b'{"items":' + raw + b"}", MANIFEST_FILE)["items"]
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise InvalidDocument(f"{MANIFEST_FILE} is not a list of objects", code="not-a-layout")
    return found


def full_name(entry: Descriptor) -> str | None:
    """The full reference by which an archive knows an entry, `HOST/REPOSITORY:TAG` or `…@DIGEST`; None without one."""
    annotations = entry.annotations or {}
    for key in (REF_NAME, _CONTAINERD_NAME, _BASE_NAME):
        name = annotations.get(key, "")
        if "/" in name or (":" in name and not is_tag(name)):
            return name
    return None


def split_name(name: str) -> tuple[str, str | None]:
    """The repository of a full reference, and its tag if it has one."""
    repository, _, digest = name.partition("@")
    head, colon, tag = repository.rpartition(":")
    if colon and "/" not in tag:
        return head, None if digest else tag
    return repository, None


def qualified(name: str) -> str:
    """A name as docker writes it, with its host."""
    first, slash, rest = name.partition("/")
    if first == "index.docker.io":
        name = f"docker.io/{rest}"
    elif not slash:
        return _LIBRARY + name
    elif not ("." in first or ":" in first or first == "localhost"):
        name = f"docker.io/{name}"
    if name.startswith("docker.io/") and name.count("/") == 1:
        name = _LIBRARY + name.removeprefix("docker.io/")
    return name


def _is_digest(found: re.Match[str]) -> bool:
    return len(found["encoded"]) == (64 if found["algorithm"] == "sha256" else 128)


def _of_haul(entries: Iterable[Descriptor]) -> Iterable[Descriptor]:
    """hauler gives signatures and referrers the name of their image, and says in `kind` what they are."""
    kept = list(entries)
    images = {_haul_name(each): each.digest for each in kept if _haul_kind(each) in _HAUL_IMAGES}
    for each in kept:
        kind, name = _haul_kind(each), _haul_name(each)
        if kind.startswith(f"{_HAUL}referrers"):
            name = None
        elif kind in _HAUL_SUFFIXES and name is not None:
            image = images.get(name)
            suffix = _HAUL_SUFFIXES[kind]
            name = None if image is None else f"{split_name(name)[0]}:{fallback_tag(image)}.{suffix}"
        yield _renamed(each, name)


def _haul_kind(entry: Descriptor) -> str:
    return (entry.annotations or {}).get(_HAUL_KIND, "")


def _haul_name(entry: Descriptor) -> str | None:
    annotations = entry.annotations or {}
    # The name without its host is in the other annotation.
    name = annotations.get(_CONTAINERD_NAME) or annotations.get(REF_NAME)
    return None if name is None else qualified(name)


def _renamed(entry: Descriptor, name: str | None) -> Descriptor:
    annotations = {key: value for key, value in (entry.annotations or {}).items() if key != REF_NAME}
    if name is not None:
        annotations[REF_NAME] = name
    return msgspec.structs.replace(entry, annotations=annotations or None)
