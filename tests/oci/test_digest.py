"""Digest: which texts are digests, and what they yield."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provender.errors import InvalidReference
from provender.oci import Digest

FOO = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"


def test_of_known_content() -> None:
    assert Digest.of(b"foo") == FOO
    assert Digest.of(b"{}") == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert len(Digest.of(b"foo", "sha512").encoded) == 128


@given(st.binary(), st.sampled_from(["sha256", "sha512"]))
def test_a_digest_round_trips_and_its_hasher_agrees(content: bytes, algorithm: str) -> None:
    digest = Digest.of(content, algorithm)
    assert Digest(str(digest)) == digest
    assert digest.algorithm == algorithm
    hasher = digest.hasher()
    hasher.update(content)
    assert hasher.hexdigest() == digest.encoded == hashlib.new(algorithm, content).hexdigest()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256",
        "sha256:",
        ":" + "a" * 64,
        "sha256:" + "a" * 63,
        "sha256:" + "a" * 65,
        "sha256:" + "A" * 64,
        "sha256:" + "g" * 64,
        "sha512:" + "a" * 64,
        FOO + "\n",
        " " + FOO,
        "sha256:../../etc/passwd",
        "sha256:" + "a" * 5000,
        "SHA256:" + "a" * 64,
    ],
)
def test_text_that_is_no_digest_is_refused(text: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        Digest(text)
    assert caught.value.code == "invalid-digest"
    assert caught.value.hint


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "blake3", "sha256+b64u", "test+one"])
def test_algorithms_that_cannot_be_verified_are_refused(algorithm: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        Digest(f"{algorithm}:{'a' * 64}")
    assert caught.value.code == "unsupported-digest"


@given(st.text(max_size=200))
def test_any_text_is_a_digest_or_an_invalid_reference(text: str) -> None:
    try:
        digest = Digest(text)
    except InvalidReference:
        return
    assert digest == text
    assert "/" not in digest
    assert "." not in digest
