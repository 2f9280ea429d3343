"""What related content is: digest tags by their names, kinds of evidence, and which of it is wanted. Pure.

Transfer layer. Types and suffixes: cosign's tag scheme and bundles (signing reference, section 2), Notary Project,
in-toto, SPDX, CycloneDX, imgpkg.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal, Self

import msgspec

from provender.errors import InvalidReference
from provender.oci import Descriptor, Digest
from provender.oci.media_types import is_valid

__all__ = ["ALL", "NONE", "DigestTag", "Kind", "Related", "kinds_of"]

Kind = Literal["signature", "attestation", "sbom"]

_TAG = re.compile(r"(sha256-[0-9a-f]{64}|sha512-[0-9a-f]{64,128})(?:\.([A-Za-z0-9._-]+))?")
_SUFFIXES: Final[Mapping[str, Kind]] = {"sig": "signature", "att": "attestation", "sbom": "sbom"}
_TYPES: Final[Mapping[str, Kind]] = {
    "application/vnd.dev.cosign.artifact.sig.v1+json": "signature",
    "application/vnd.dev.cosign.artifact.att.v1+json": "attestation",
    "application/vnd.dev.cosign.artifact.sbom.v1+json": "sbom",
    "application/vnd.dev.cosign.simplesigning.v1+json": "signature",
    "application/vnd.cncf.notary.signature": "signature",
    "application/vnd.in-toto+json": "attestation",
    "application/vnd.in-toto.provenance+json": "attestation",
    "application/vnd.dsse.envelope.v1+json": "attestation",
    "application/spdx+json": "sbom",
    "application/vnd.cyclonedx": "sbom",
    "application/vnd.cyclonedx+json": "sbom",
    "application/vnd.cyclonedx+xml": "sbom",
    "application/vnd.syft+json": "sbom",
    "text/spdx": "sbom",
    "text/spdx+json": "sbom",
    "text/spdx+xml": "sbom",
}
_BUNDLE: Final = "application/vnd.dev.sigstore.bundle"
_PREDICATE: Final = "dev.sigstore.bundle.predicateType"
_COSIGN_SIGN: Final = "https://sigstore.dev/cosign/sign/v1"
_CONTENT: Final = "dev.sigstore.bundle.content"
_SBOM_PREDICATES: Final = ("https://spdx.dev/", "https://cyclonedx.org/")
_KINDS: Final[frozenset[str]] = frozenset({"signature", "attestation", "sbom"})


class DigestTag(msgspec.Struct, frozen=True):
    """A tag whose name is made from a digest; without `suffix` it is the fallback tag for referrers.

    `stem` is `<algorithm>-<hex>`; a sha512 digest may be cut to 64 characters in it.
    """

    name: str
    stem: str
    suffix: str | None

    @classmethod
    def parse(cls, name: str) -> DigestTag | None:
        """The digest tag of this name; None for any other tag."""
        match = _TAG.fullmatch(name)
        return None if match is None else cls(name, match[1], match[2])

    @property
    def kinds(self) -> frozenset[Kind]:
        """What the suffix says that it holds; empty for other tools' tags."""
        kind = _SUFFIXES.get(self.suffix or "")
        return frozenset() if kind is None else frozenset({kind})


def stems_of(digest: Digest) -> tuple[str, ...]:
    """The beginnings of the digest tags of a digest: the whole, and for sha512 the form that fits into a tag."""
    whole = f"{digest.algorithm}-{digest.encoded}"
    short = f"{digest.algorithm}-{digest.encoded[:64]}"
    return (whole,) if whole == short else (whole, short)


def kinds_of(artifact_type: str | None, annotations: Mapping[str, str] | None = None) -> frozenset[Kind]:
    """What kinds of evidence a referrer of this type may be. Hints for choosing, never proof.

    A sigstore bundle holds a signature or an attestation; where its annotations do not tell, it counts as both.
    """
    kind = _TYPES.get(artifact_type or "")
    if kind is not None:
        return frozenset({kind})
    if not (artifact_type or "").startswith(_BUNDLE):
        return frozenset()
    notes = annotations or {}
    predicate = notes.get(_PREDICATE)
    if predicate == _COSIGN_SIGN or notes.get(_CONTENT) == "message-signature":
        return frozenset({"signature"})
    if predicate is None:
        return frozenset({"signature", "attestation"})
    if predicate.startswith(_SBOM_PREDICATES):
        return frozenset({"attestation", "sbom"})
    return frozenset({"attestation"})


class Related(msgspec.Struct, frozen=True):
    """Which related content is wanted: all, none, or some kinds and artifact types."""

    is_all: bool = True
    names: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str) -> Self:
        """`all`, `none`, or a list with commas of signature, attestation, sbom and artifact types."""
        if text == "all":
            return cls()
        if text == "none":
            return cls(False)
        names = [name.strip() for name in text.split(",")]
        for name in names:
            if name not in _KINDS and ("/" not in name or not is_valid(name)):
                raise InvalidReference(
                    f"not related content: {name[:100]!r}",
                    code="invalid-related",
                    hint="write all, none, or a list of signature, attestation, sbom and artifact types",
                )
        return cls(False, frozenset(names))

    @property
    def is_none(self) -> bool:
        return not self.is_all and not self.names

    def wants_tag(self, tag: DigestTag) -> bool:
        """True if what the tag names is wanted. Tags of unknown meaning are with all only."""
        return self.is_all or not self.names.isdisjoint(tag.kinds)

    def wants(self, described: Descriptor) -> bool:
        """True if a referrer with this type and these annotations is wanted."""
        if self.is_all:
            return True
        kinds = kinds_of(described.artifact_type, described.annotations)
        return described.artifact_type in self.names or not self.names.isdisjoint(kinds)


ALL: Final = Related()
NONE: Final = Related(False)
