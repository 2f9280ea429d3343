"""Archives of `docker save` before Docker 25, of skopeo's docker-archive, crane, kaniko and bazel, read as images.

Storage layer. Such an archive has a config and layers for each image, but no manifest. The one that is made here is the
one that skopeo makes of it, byte for byte: schema 2, every layer as `…rootfs.diff.tar.gzip`, also the plain ones, which
every client recognises by their content. Digests are of what is in the archive; nothing is compressed on the way.

Plain layers are known by the digests in the config (`rootfs.diff_ids`), compressed ones are hashed once.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from provender.errors import InvalidDocument, InvalidReference
from provender.oci import MAX_DOCUMENT_BYTES, Descriptor, Digest
from provender.oci.annotations import REF_NAME
from provender.oci.document import parse_json
from provender.oci.media_types import DOCKER_CONFIG, DOCKER_MANIFEST
from provender.storage.archive_contents import MANIFEST_FILE, Contents, items_of, qualified, small_file
from provender.storage.layout_index import LayoutIndex
from provender.storage.tar_table import Member, scan
from provender.storage.volume import Cursor, read_exactly

__all__ = ["docker_contents"]

_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_ZSTD_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar.zstd"
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_COMPRESSED: Final = (b"\x1f\x8b", _ZSTD_MAGIC, b"BZh", b"\xfd7zXZ\0")
_CHUNK_BYTES: Final = 1 << 20
_MOST_IMAGES: Final = 10_000
_MOST_LAYERS: Final = 1_000
_MOST_LINKS: Final = 16


class _Image(msgspec.Struct, frozen=True):
    """One object of `manifest.json`."""

    config: str = msgspec.field(name="Config")
    layers: tuple[str, ...] = msgspec.field(name="Layers")
    tags: tuple[str, ...] | None = msgspec.field(name="RepoTags", default=None)


class _RootFs(msgspec.Struct, frozen=True):
    diff_ids: tuple[str, ...] = ()


class _Config(msgspec.Struct, frozen=True):
    rootfs: _RootFs = _RootFs()


class _Layer(msgspec.Struct, frozen=True):
    member: Member
    digest: Digest
    media_type: str


def docker_contents(cursor: Cursor, table: Mapping[str, Member]) -> Contents:
    """The images of the archive; InvalidDocument (`invalid-docker-archive`) if it does not fit together."""
    images = _images(items_of(cursor, table[MANIFEST_FILE]))
    reader = _Reader(cursor, images)
    entries: list[Descriptor] = []
    for image in images:
        described = reader.manifest(image)
        names = [qualified(tag) for tag in image.tags or ()]
        if not names:
            entries.append(described)
        entries += [msgspec.structs.replace(described, annotations={REF_NAME: name}) for name in names]
    return Contents("docker", LayoutIndex.listed(entries), reader.members, reader.made)


def _images(items: Sequence[Mapping[str, object]]) -> list[_Image]:
    try:
        images = [msgspec.convert(item, _Image) for item in items]
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from error
    if len(images) > _MOST_IMAGES or any(len(image.layers) > _MOST_LAYERS for image in images):
        raise _invalid(f"it has more than {_MOST_IMAGES} images, or one with more than {_MOST_LAYERS} layers")
    return images


class _Reader:
    def __init__(self, cursor: Cursor, images: Sequence[_Image]) -> None:
        self._cursor = cursor
        wanted = {_plain(name) for image in images for name in (image.config, *image.layers)}
        # A layer may be a link to where it really lies, so every name counts.
        self._links: dict[str, str] = {}
        self._files = scan(cursor, lambda name: name in wanted or name.endswith((".tar", ".json")), links=self._links)
        self._hashed: dict[Member, str] = {}  # many names may lead to one file by links
        self.members: dict[Digest, Member] = {}
        self.made: dict[Digest, bytes] = {}

    def manifest(self, image: _Image) -> Descriptor:
        """The entry for an image; its manifest is in `made`, its config and layers in `members`."""
        config = self._member(image.config)
        raw = small_file(self._cursor, config, MAX_DOCUMENT_BYTES)
        diff_ids = _diff_ids(raw)
        if len(diff_ids) != len(image.layers):
            raise _invalid(f"{image.config[:100]} names {len(diff_ids)} layers, and there are {len(image.layers)}")
        layers = [self._layer(name, diff_id) for name, diff_id in zip(image.layers, diff_ids, strict=True)]
        digest = Digest.of(raw)
        self.members[digest] = config
        self.members |= {layer.digest: layer.member for layer in layers}
        described = [(layer.media_type, layer.member.size, layer.digest) for layer in layers]
        fields = {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": {"mediaType": DOCKER_CONFIG, "size": config.size, "digest": str(digest)},
            "layers": [
                {"mediaType": media_type, "size": size, "digest": str(digest)} for media_type, size, digest in described
            ],
        }
        manifest = json.dumps(fields, separators=(",", ":")).encode()
        entry = Descriptor.of(manifest, DOCKER_MANIFEST)
        self.made[entry.digest] = manifest
        return entry

    def _layer(self, name: str, diff_id: Digest) -> _Layer:
        member = self._member(name)
        self._cursor.seek(member.offset)
        start = read_exactly(self._cursor, min(8, member.size))
        if not start.startswith(_COMPRESSED):
            return _Layer(member, diff_id, _LAYER)
        digest = Digest(f"sha256:{self._sha256(member)}")
        return _Layer(member, digest, _ZSTD_LAYER if start.startswith(_ZSTD_MAGIC) else _LAYER)

    def _sha256(self, member: Member) -> str:
        known = self._hashed.get(member)
        if known is not None:
            return known
        hasher = hashlib.sha256()
        self._cursor.seek(member.offset)
        left = member.size
        while left and (chunk := self._cursor.read(min(left, _CHUNK_BYTES))):
            hasher.update(chunk)
            left -= len(chunk)
        return self._hashed.setdefault(member, hasher.hexdigest())

    def _member(self, name: str) -> Member:
        path = _plain(name)
        for _ in range(_MOST_LINKS):
            member = self._files.get(path)
            if member is not None:
                return member
            target = self._links.get(path)
            if target is None:
                break
            path = _plain(posixpath.join(posixpath.dirname(path), target))
        raise _invalid(f"it has no {name[:150]!r}")


def _plain(name: str) -> str:
    return posixpath.normpath(name).lstrip("/")


def _diff_ids(raw: bytes) -> list[Digest]:
    try:
        config = msgspec.convert(parse_json(raw, "a config"), _Config)
        return [Digest(each) for each in config.rootfs.diff_ids]
    except (msgspec.ValidationError, InvalidReference) as error:
        raise _invalid(f"a config cannot be used: {error}") from error


def _invalid(why: str) -> InvalidDocument:
    return InvalidDocument(
        f"the docker archive does not fit together: {why[:300]}",
        code="invalid-docker-archive",
        hint="save the image again",
    )
