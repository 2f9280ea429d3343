"""Digest: the name of content by its hash (image-spec, descriptor.md "Digests"). Pure."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final, Self

from provender.errors import InvalidReference

if TYPE_CHECKING:
    from typing import Protocol

    class Hasher(Protocol):
        """What `hashlib` gives."""

        def update(self, data: bytes | bytearray | memoryview, /) -> None: ...
        def hexdigest(self) -> str: ...


__all__ = ["ALGORITHMS", "Digest", "decode_digest"]

# The encoded length by algorithm. Both are registered in image-spec; anything else cannot be verified here.
ALGORITHMS: Final = {"sha256": 64, "sha512": 128}

_SHAPE = re.compile(r"([a-z0-9]+(?:[+._-][a-z0-9]+)*):([a-zA-Z0-9=_-]+)")
_HEX = re.compile(r"[0-9a-f]+")
_USUAL = re.compile(r"sha256:[0-9a-f]{64}")


class Digest(str):
    """A checked `algorithm:encoded`: sha256 or sha512 with lower-case hexadecimal of the right length.

    It is a string, so that it is a key, sorts and encodes as one; it cannot be made from text that is not a digest.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        if isinstance(text, cls):
            return text
        return super().__new__(cls, _checked(text))

    @classmethod
    def of(cls, content: bytes, algorithm: str = "sha256") -> Digest:
        """The digest of `content`."""
        if algorithm not in ALGORITHMS:
            raise _unsupported(algorithm, algorithm)
        return str.__new__(cls, f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}")

    @property
    def algorithm(self) -> str:
        return self.partition(":")[0]

    @property
    def encoded(self) -> str:
        return self.partition(":")[2]

    @property
    def short(self) -> str:
        """Twelve characters for people; never for look-ups."""
        return self.encoded[:12]

    def hasher(self) -> Hasher:
        """A fresh hash object of this digest's algorithm; its `hexdigest()` is to equal `encoded`."""
        return hashlib.new(self.algorithm)


def decode_digest(kind: type, value: object) -> Digest:
    """The hook by which msgspec reads documents with digests in them; ValueError for what is none."""
    if kind is not Digest:
        raise NotImplementedError(f"no decoder for {kind.__name__}")
    if not isinstance(value, str):
        raise ValueError("a digest is a string")  # noqa: TRY004 - what msgspec takes for a fault of the document
    try:
        return Digest(value)
    except InvalidReference as error:
        raise ValueError(error.message) from error


def _checked(text: str) -> str:
    if _USUAL.fullmatch(text) is not None:
        return text
    if len(text) > 256 or (match := _SHAPE.fullmatch(text)) is None:
        raise InvalidReference(
            f"not a digest: {text[:80]!r}",
            code="invalid-digest",
            hint="a digest is sha256: and 64 lower-case hexadecimal characters",
        )
    algorithm, encoded = match.groups()
    length = ALGORITHMS.get(algorithm)
    if length is None:
        raise _unsupported(algorithm, text)
    if len(encoded) != length or _HEX.fullmatch(encoded) is None:
        raise InvalidReference(
            f"not a {algorithm} digest: {text[:150]!r} (needs {length} lower-case hexadecimal characters)",
            code="invalid-digest",
            hint="copy the whole digest; it is never shortened",
        )
    return text


def _unsupported(algorithm: str, text: str) -> InvalidReference:
    return InvalidReference(
        f"digest algorithm {algorithm!r} cannot be verified: {text[:150]!r}",
        code="unsupported-digest",
        hint="sha256 and sha512 are supported",
    )
