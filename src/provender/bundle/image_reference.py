"""Image references as imgpkg takes them: without a registry Docker Hub is meant, spelled `index.docker.io`. Pure.

`ociArtifact` does not come here: it follows provender's own grammar.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from provender.errors import InvalidReference, ProvenderError
from provender.oci import Reference

__all__ = ["ImageReference"]

_HUB: Final = "index.docker.io"
_HUB_NAMES: Final = frozenset({"docker.io", _HUB})
_PARTS: Final = re.compile(r"(.+?)(:[0-9a-zA-Z_\-.]+)?(@[0-9a-z]+:[0-9a-z]+)?", re.DOTALL)


class ImageReference(msgspec.Struct, frozen=True):
    """A reference, and how imgpkg and vendir spell its repository."""

    reference: Reference
    """The tag is `latest` where neither tag nor digest was written."""
    repository: str
    """As it stands in a lock: `index.docker.io/library/nginx`."""
    typed_tag: str
    """The tag as it was written; empty if none was."""

    @classmethod
    def parse(cls, text: str) -> ImageReference:
        """The reference that `text` writes; InvalidReference if it writes none."""
        found = _PARTS.fullmatch(text)
        if found is None:
            raise InvalidReference(
                f"could not parse reference: {text[:300]!r}",
                code="invalid-reference",
                hint="write for example registry.example/team/app:1.0",
            )
        tag = (found[2] or "").removeprefix(":")
        name, rest = text, ""
        if found[3]:
            name, rest = text[: -len(found[3])], found[3]
        first, slash, path = name.partition("/")
        if not slash or not ("." in first or ":" in first or first == "localhost"):
            first, path = _HUB, name
        if first in _HUB_NAMES:
            first = _HUB
            path = path if "/" in path else f"library/{path}"
        host = "docker.io" if first == _HUB else first
        try:
            reference = Reference.parse(f"{host}/{path}{rest}")
        except ProvenderError as error:
            error.message = f"could not parse reference: {text[:300]}: {error.message}"
            raise
        if reference.target is None:
            reference = reference.with_target(tag="latest")
        return cls(reference, f"{first}/{reference.repository}", tag)
