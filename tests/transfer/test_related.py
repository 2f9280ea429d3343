"""Digest tags and kinds of evidence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provender.errors import InvalidReference
from provender.oci import Digest
from provender.oci.reference import is_tag
from provender.storage.layout_index import fallback_tag
from provender.transfer.related import DigestTag, Related, kinds_of, stems_of

HEX = "a" * 64


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        (f"sha256-{HEX}", None),
        (f"sha256-{HEX}.sig", "sig"),
        (f"sha256-{HEX}.att", "att"),
        (f"sha256-{HEX}.image-locations.imgpkg", "image-locations.imgpkg"),
        (f"sha512-{HEX}", None),
    ],
)
def test_a_digest_tag_is_read(name: str, suffix: str | None) -> None:
    found = DigestTag.parse(name)
    assert found is not None
    assert found.suffix == suffix
    assert found.stem == name.split(".", maxsplit=1)[0]


@pytest.mark.parametrize(
    "name", ["1.0", f"sha256-{HEX[1:]}", f"sha256-{HEX}sig", f"sha256-{HEX.upper()}", f"md5-{HEX}", f"sha256-{HEX}-sig"]
)
def test_other_tags_are_none(name: str) -> None:
    assert DigestTag.parse(name) is None


@given(st.sampled_from(["sha256", "sha512"]), st.binary())
def test_the_stems_of_a_digest_are_found_in_its_tags(algorithm: str, content: bytes) -> None:
    digest = Digest.of(content, algorithm)
    tag = DigestTag.parse(fallback_tag(digest))
    assert tag is not None
    assert tag.stem in stems_of(digest)
    assert all(is_tag(stem[:128]) for stem in stems_of(digest))


BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"


@pytest.mark.parametrize(
    ("artifact_type", "annotations", "expected"),
    [
        (BUNDLE, {}, {"signature", "attestation"}),
        (BUNDLE, {"dev.sigstore.bundle.predicateType": "https://sigstore.dev/cosign/sign/v1"}, {"signature"}),
        (BUNDLE, {"dev.sigstore.bundle.predicateType": "https://slsa.dev/provenance/v1"}, {"attestation"}),
        (BUNDLE, {"dev.sigstore.bundle.predicateType": "https://spdx.dev/Document"}, {"attestation", "sbom"}),
        (BUNDLE, {"dev.sigstore.bundle.content": "message-signature"}, {"signature"}),
        ("application/vnd.cncf.notary.signature", {}, {"signature"}),
        ("application/spdx+json", {}, {"sbom"}),
        ("application/vnd.cyclonedx+json", {}, {"sbom"}),
        ("application/vnd.acme.thing", {}, set()),
        (None, {}, set()),
    ],
)
def test_evidence_is_known_by_its_type(
    artifact_type: str | None, annotations: dict[str, str], expected: set[str]
) -> None:
    assert kinds_of(artifact_type, annotations) == expected


@pytest.mark.parametrize("text", ["", "signatures", "all,sbom", "a b/c", "signature,"])
def test_a_selection_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidReference):
        Related.parse(text)
