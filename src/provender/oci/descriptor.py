"""Descriptor: what content is (media type), which bytes (digest), how many (size); image-spec descriptor.md. Pure."""

from __future__ import annotations

import base64
import binascii

import msgspec

from provender.errors import IntegrityError
from provender.oci.annotations import TITLE
from provender.oci.digest import Digest
from provender.oci.media_types import EMPTY, is_document
from provender.oci.platform import Platform

__all__ = ["EMPTY_BYTES", "EMPTY_DESCRIPTOR", "Descriptor"]


class Descriptor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A typed, sized, digested pointer to content. `size` in bytes. Equality is by all fields; `key` is by content."""

    media_type: str
    digest: Digest
    size: int
    urls: tuple[str, ...] | None = None
    annotations: dict[str, str] | None = None
    data: str | None = None
    platform: Platform | None = None
    artifact_type: str | None = None

    @classmethod
    def of(
        cls,
        content: bytes,
        media_type: str,
        *,
        annotations: dict[str, str] | None = None,
        artifact_type: str | None = None,
    ) -> Descriptor:
        """The descriptor of `content`, by sha256."""
        return cls(
            media_type=media_type,
            digest=Digest.of(content),
            size=len(content),
            annotations=annotations or None,
            artifact_type=artifact_type,
        )

    @property
    def is_document(self) -> bool:
        """True for a manifest or an index, which registries keep apart from blobs."""
        return is_document(self.media_type)

    @property
    def title(self) -> str | None:
        """The file name that the author gave (annotation `org.opencontainers.image.title`); unchecked text."""
        return (self.annotations or {}).get(TITLE)

    @property
    def bare(self) -> Descriptor:
        """Media type, digest and size alone: the content without what one place says about it."""
        return Descriptor(media_type=self.media_type, digest=self.digest, size=self.size)

    def embedded(self) -> bytes | None:
        """The content in the field `data`, checked against size and digest; None without one.

        Raises IntegrityError if `data` is not base64 of exactly this content.
        """
        if self.data is None:
            return None
        try:
            content = base64.b64decode(self.data, validate=True)
        except (binascii.Error, ValueError) as error:
            raise self._bad_data("is not base64") from error
        if len(content) != self.size or Digest.of(content, self.digest.algorithm) != self.digest:
            raise self._bad_data("is not the content that its digest names")
        return content

    def _bad_data(self, why: str) -> IntegrityError:
        return IntegrityError(f"the embedded data of {self.digest} {why}", code="embedded-data-mismatch")


EMPTY_BYTES = b"{}"
EMPTY_DESCRIPTOR = Descriptor.of(EMPTY_BYTES, EMPTY)
