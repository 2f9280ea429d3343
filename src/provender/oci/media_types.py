"""Media types of OCI and Docker documents and layers, and what can be asked of them (media-types.md). Pure."""

from __future__ import annotations

import re
from typing import Final, Literal

__all__ = [
    "ARTIFACT_MANIFEST_TYPES",
    "DOCKER_CONFIG",
    "DOCKER_INDEX",
    "DOCKER_MANIFEST",
    "EMPTY",
    "IMAGE_CONFIG",
    "IMAGE_LAYER_TYPES",
    "INDEX",
    "INDEX_TYPES",
    "LAYER_TAR",
    "LAYER_TAR_GZIP",
    "MANIFEST",
    "MANIFEST_ACCEPT",
    "MANIFEST_TYPES",
    "SCHEMA1_TYPES",
    "UNKNOWN_ARTIFACT",
    "UNKNOWN_CONFIG",
    "Compression",
    "archive_compression",
    "is_document",
    "is_valid",
]

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX: Final = "application/vnd.oci.image.index.v1+json"
IMAGE_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
EMPTY: Final = "application/vnd.oci.empty.v1+json"
LAYER_TAR: Final = "application/vnd.oci.image.layer.v1.tar"
LAYER_TAR_GZIP: Final = "application/vnd.oci.image.layer.v1.tar+gzip"

DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"

# What oras gives an artifact whose author named no type; kept for what its users expect to see.
UNKNOWN_ARTIFACT: Final = "application/vnd.unknown.artifact.v1"
UNKNOWN_CONFIG: Final = "application/vnd.unknown.config.v1+json"

# The two artifact manifests of release candidates: readable (field `blobs`), never written (reference: image-spec 1.1).
OCI_ARTIFACT_MANIFEST: Final = "application/vnd.oci.artifact.manifest.v1+json"
ORAS_ARTIFACT_MANIFEST: Final = "application/vnd.cncf.oras.artifact.manifest.v1+json"

ARTIFACT_MANIFEST_TYPES: Final = frozenset({OCI_ARTIFACT_MANIFEST, ORAS_ARTIFACT_MANIFEST})

MANIFEST_TYPES: Final = frozenset({MANIFEST, DOCKER_MANIFEST, *ARTIFACT_MANIFEST_TYPES})
INDEX_TYPES: Final = frozenset({INDEX, DOCKER_INDEX})
SCHEMA1_TYPES: Final = frozenset(
    {
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    }
)

# Every request for a manifest carries the whole list: some registries answer 404 for a type that is not accepted.
MANIFEST_ACCEPT: Final = (
    MANIFEST,
    INDEX,
    DOCKER_MANIFEST,
    DOCKER_INDEX,
    OCI_ARTIFACT_MANIFEST,
    ORAS_ARTIFACT_MANIFEST,
)

IMAGE_LAYER_TYPES: Final = frozenset(
    {
        LAYER_TAR,
        LAYER_TAR_GZIP,
        f"{LAYER_TAR}+zstd",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    }
)

# RFC 6838 section 4.2, without parameters (image-spec schema/defs-descriptor.json).
_GRAMMAR = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")

Compression = Literal["none", "gzip", "zstd"]


def is_valid(media_type: str) -> bool:
    """True for a media or artifact type that image-spec allows."""
    return _GRAMMAR.fullmatch(media_type) is not None


def is_document(media_type: str) -> bool:
    """True for what is stored as a manifest (image manifest, index, and their Docker and pre-1.1 forms)."""
    return media_type in MANIFEST_TYPES or media_type in INDEX_TYPES


def archive_compression(media_type: str) -> Compression | None:
    """How a tar layer of this type is compressed; None if the type does not say that it is a tar."""
    if media_type.endswith((".tar+gzip", "/tar+gzip", ".tar.gzip", ".tar.gz")):
        return "gzip"
    if media_type.endswith((".tar+zstd", "/tar+zstd", ".tar.zstd", ".tar.zst")):
        return "zstd"
    if media_type.endswith((".tar", "/tar", "/x-tar")):
        return "none"
    return None
