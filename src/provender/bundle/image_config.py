"""The config of an image of one layer, as imgpkg writes it, and the image of locations. Pure but for the storage."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from provender.artifact.deflate import GzipWriter
from provender.bundle.locks import ImageLocations
from provender.bundle.reading import IMGPKG_LAYER, LOCATIONS_PATH
from provender.oci import Descriptor, Digest, Document, Manifest
from provender.oci.media_types import IMAGE_CONFIG, MANIFEST
from provender.storage.abilities import Pusher
from provender.storage.ustar import END_OF_ARCHIVE, header, padding
from provender.storage.verify import BytesReader

__all__ = ["image_config", "push_locations"]

_NEVER = "0001-01-01T00:00:00Z"


def image_config(unpacked: Digest, labels: Mapping[str, str]) -> bytes:
    """The config of an image whose only layer has this digest before compression."""
    fields = {
        "architecture": "",
        "created": _NEVER,
        "history": [{"author": "imgpkg", "created": _NEVER, "created_by": "imgpkg"}],
        "os": "",
        "rootfs": {"type": "layers", "diff_ids": [unpacked]},
        "config": {"Labels": dict(sorted(labels.items()))} if labels else {},
    }
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


def push_locations(locations: ImageLocations, target: Pusher) -> Document:
    """The image that says where the images of a bundle are, pushed without a tag; the same for the same content."""
    text = locations.text()
    archive = b"".join(
        (
            header(".", b"5", 0o700, 0, "", 0, has_devices=True),
            header(LOCATIONS_PATH, b"0", 0o600, len(text), "", 0, has_devices=True),
            text,
            padding(len(text)),
            END_OF_ARCHIVE,
        )
    )
    packed = bytearray()
    gzip = GzipWriter(packed.extend)
    gzip.write(archive)
    gzip.close()
    config = image_config(Digest(f"sha256:{hashlib.sha256(archive).hexdigest()}"), {})
    blobs = ((config, IMAGE_CONFIG), (bytes(packed), IMGPKG_LAYER))
    described = [Descriptor.of(content, media_type) for content, media_type in blobs]
    for descriptor, (content, _) in zip(described, blobs, strict=True):
        target.push(descriptor, BytesReader(content))
    document = Document.author(
        Manifest(schema_version=2, media_type=MANIFEST, config=described[0], layers=(described[1],))
    )
    target.push_document(document)
    return document
