"""Annotation keys with a meaning: image-spec's own (annotations.md) and the ORAS conventions on layers. Pure."""

from __future__ import annotations

from typing import Final

__all__ = [
    "COMPAT_TYPE",
    "CREATED",
    "EXPORT_ORIGIN",
    "EXPORT_SOURCE",
    "REF_NAME",
    "TITLE",
    "UNPACK",
    "UNPACKED_DIGEST",
    "VERSION",
]

CREATED: Final = "org.opencontainers.image.created"
REF_NAME: Final = "org.opencontainers.image.ref.name"
TITLE: Final = "org.opencontainers.image.title"
VERSION: Final = "org.opencontainers.image.version"

# Ours, on an artifact that poses as an image: what it really is.
COMPAT_TYPE: Final = "dev.provender.artifact.type"

# Ours, on an entry of an export: the kind of source; for an artifact, the registry or its alias and the repository.
EXPORT_SOURCE: Final = "dev.provender.export.source"
EXPORT_ORIGIN: Final = "dev.provender.export.origin"

# A directory packed as one layer: the digest of its uncompressed tar, and the request to unpack it.
UNPACKED_DIGEST: Final = "io.deis.oras.content.digest"
UNPACK: Final = "io.deis.oras.content.unpack"
