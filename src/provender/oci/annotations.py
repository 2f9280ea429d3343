"""Annotation keys with a meaning: image-spec's own (annotations.md) and the ORAS conventions on layers. Pure."""

from __future__ import annotations

from typing import Final

__all__ = ["COMPAT_TYPE", "CREATED", "REF_NAME", "TITLE", "UNPACK", "UNPACKED_DIGEST", "VERSION"]

CREATED: Final = "org.opencontainers.image.created"
REF_NAME: Final = "org.opencontainers.image.ref.name"
TITLE: Final = "org.opencontainers.image.title"
VERSION: Final = "org.opencontainers.image.version"

# Ours, on an artifact that poses as an image: what it really is.
COMPAT_TYPE: Final = "dev.provender.artifact.type"

# A directory packed as one layer: the digest of its uncompressed tar, and the request to unpack it.
UNPACKED_DIGEST: Final = "io.deis.oras.content.digest"
UNPACK: Final = "io.deis.oras.content.unpack"
