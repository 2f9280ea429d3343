"""Directories as a bundle: what goes in, checked, and the one layer or two that it becomes.

The rules are imgpkg's: files and directories alone, `.imgpkg/images.yml` in one of the inputs, no path twice. A hybrid
has imgpkg's layer, before compression byte for byte; our own has the lock as a layer of its own, so that whoever copies
or describes a bundle need not read all of it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from provender.artifact.names import shown, split_path
from provender.artifact.pack import Member, PackedLayer, pack_members
from provender.bundle.image_config import image_config
from provender.bundle.locks import LOCK_PATH, read_images_lock
from provender.bundle.reading import BUNDLE_TYPE, IMGPKG_LAYER, LABEL, LOCK_TYPE
from provender.errors import IntegrityError, InvalidProject, InvalidReference, NotFound, Unsupported
from provender.oci import EMPTY_BYTES, EMPTY_DESCRIPTOR, Descriptor, Document, Manifest
from provender.oci.annotations import TITLE, UNPACK, UNPACKED_DIGEST
from provender.oci.media_types import IMAGE_CONFIG, LAYER_TAR_GZIP, MANIFEST
from provender.transfer.pool import Cancellation

__all__ = ["Packed", "pack_bundle"]

_DIRECTORY: Final = ".imgpkg"
_MAX_LOCK_BYTES: Final = 8 << 20


class Packed(msgspec.Struct, frozen=True):
    """A bundle ready to be pushed: its manifest, and the blobs that it names."""

    document: Document
    blobs: tuple[tuple[Descriptor, bytes | PackedLayer], ...]


def pack_bundle(
    paths: Sequence[str],
    scratch: str,
    *,
    is_hybrid: bool = False,
    excluded: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    cancellation: Cancellation | None = None,
) -> Packed:
    """The bundle of these files and directories, packed into the directory `scratch`.

    `excluded` are paths as they would be in the bundle. With `is_hybrid` imgpkg reads it, too, and it may have
    `labels`. Raises NotFound (`no-such-file`, `no-lock`), InvalidReference (`duplicate-path`, `several-locks`),
    InvalidProject (a lock that cannot be used, with its place), Unsupported (`special-file`, `bad-name`).
    """
    members = _members(paths, frozenset(excluded))
    lock = _lock(members, paths)
    if is_hybrid:
        return _hybrid(members, scratch, labels or {}, annotations, cancellation)
    return _own(members, lock, scratch, annotations, cancellation)


def _hybrid(
    members: Sequence[Member],
    scratch: str,
    labels: Mapping[str, str],
    annotations: Mapping[str, str] | None,
    cancellation: Cancellation | None,
) -> Packed:
    layer, unpacked = pack_members(members, scratch, IMGPKG_LAYER, has_devices=True, cancellation=cancellation)
    raw = image_config(unpacked, {**labels, LABEL: "true"})
    config = Descriptor.of(raw, IMAGE_CONFIG)
    document = _document(config, (layer.descriptor,), annotations)
    return Packed(document, ((config, raw), (layer.descriptor, layer)))


def _own(
    members: Sequence[Member],
    lock: bytes,
    scratch: str,
    annotations: Mapping[str, str] | None,
    cancellation: Cancellation | None,
) -> Packed:
    chosen = [_plain(member) for member in members if member.name not in (".", LOCK_PATH)]
    layer, unpacked = pack_members(chosen, scratch, LAYER_TAR_GZIP, cancellation=cancellation)
    notes = {UNPACKED_DIGEST: unpacked, UNPACK: "true", TITLE: "."}
    files = msgspec.structs.replace(layer.descriptor, annotations=dict(notes))
    locked = Descriptor.of(lock, LOCK_TYPE, annotations={TITLE: LOCK_PATH})
    document = _document(EMPTY_DESCRIPTOR, (locked, files), annotations)
    return Packed(document, ((EMPTY_DESCRIPTOR, EMPTY_BYTES), (locked.bare, lock), (layer.descriptor, layer)))


def _plain(member: Member) -> Member:
    """The member as our own archives have it."""
    if member.kind == b"5":
        return msgspec.structs.replace(member, name=f"{member.name}/", mode=0o755)
    return msgspec.structs.replace(member, mode=0o755 if member.mode & 0o100 else 0o644)


def _document(config: Descriptor, layers: tuple[Descriptor, ...], annotations: Mapping[str, str] | None) -> Document:
    return Document.author(
        Manifest(
            schema_version=2,
            media_type=MANIFEST,
            artifact_type=BUNDLE_TYPE,
            config=config,
            layers=layers,
            annotations=dict(sorted((annotations or {}).items())) or None,
        )
    )


def _members(paths: Sequence[str], excluded: frozenset[str]) -> list[Member]:
    """What goes into the bundle, in imgpkg's order: a directory before what is in it, names bytewise."""
    members: list[Member] = []
    found: dict[str, str] = {}
    for path in paths:
        try:
            status = os.stat(path)
        except FileNotFoundError as error:
            raise NotFound(
                f"no such file: {shown(path)}", code="no-such-file", where=path, hint="check the path"
            ) from error
        if stat.S_ISDIR(status.st_mode):
            members.append(Member(".", path, b"5", 0o700))
            inside = _walk(path, "", excluded)
        else:
            inside = iter([_file(path, os.path.basename(path), status)])
        for member in inside:
            if member.name in found:
                raise InvalidReference(
                    f"{shown(member.name)} comes twice: from {shown(found[member.name])} and {shown(member.path)}",
                    code="duplicate-path",
                    where=member.path,
                    hint="name each file once; --file-exclusion leaves a path out",
                )
            found[member.name] = member.path
            members.append(member)
    return members


def _walk(directory: str, prefix: str, excluded: frozenset[str]) -> Iterator[Member]:
    with os.scandir(directory) as listing:
        children = sorted(listing, key=lambda child: os.fsencode(child.name))
    for child in children:
        name = prefix + child.name
        if name in excluded:
            continue
        status = child.stat(follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode):
            yield _file(child.path, name, status)
            continue
        _check_name(name, child.path)
        yield Member(name, child.path, b"5", 0o700)
        yield from _walk(child.path, f"{name}/", excluded)


def _file(path: str, name: str, status: os.stat_result) -> Member:
    if not stat.S_ISREG(status.st_mode):
        raise Unsupported(
            f"{shown(path)} is no regular file, and a bundle holds nothing else",
            code="special-file",
            where=path,
            hint="put a copy in its place, or leave it out with --file-exclusion",
            exit_status=66,
        )
    _check_name(name, path)
    return Member(name, path, b"0", status.st_mode & 0o700, size=status.st_size)


def _check_name(name: str, path: str) -> None:
    try:
        split_path(name, where=path)
    except IntegrityError as error:
        raise Unsupported(
            error.message, code=error.code, where=path, hint="rename it; it could not be unpacked everywhere"
        ) from error


def _lock(members: Sequence[Member], paths: Sequence[str]) -> bytes:
    """The bytes of the lock, which has to be the only one and right."""
    inner = [each for each in members if each.kind == b"5" and each.name.rpartition("/")[2] == _DIRECTORY]
    strays = [each for each in inner if each.name != _DIRECTORY]
    if strays:
        raise InvalidReference(
            f"there is a bundle inside: {shown(strays[0].path)}",
            code="several-locks",
            where=strays[0].path,
            hint=f"only one {_DIRECTORY} may be there, directly below what --file names; push the other by itself",
        )
    lock = next((each for each in members if each.name == LOCK_PATH), None)
    if lock is None:
        named = ", ".join(shown(path) for path in paths[:5])
        raise NotFound(
            f"no bundle: there is no {LOCK_PATH} in {named}",
            code="no-lock",
            where=paths[0] if paths else ".",
            hint="write one with the images that it needs, by digest (kbld does), or with 'images: []'",
        )
    with open(lock.path, "rb") as file:
        raw = file.read(_MAX_LOCK_BYTES + 1)
    if len(raw) > _MAX_LOCK_BYTES:
        raise InvalidProject(
            f"the lock has more than {_MAX_LOCK_BYTES} bytes",
            code="lock-too-large",
            where=lock.path,
            hint="split the bundle into several",
        )
    read_images_lock(raw, where=lock.path)
    return raw
