"""Claims: what one origin says that a path of a tree is. Artifact layer, below the tree writer; pure."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from provender.artifact.entry import Entry
from provender.artifact.names import shown
from provender.errors import Conflict

__all__ = ["UNHASHED", "Claim", "compare", "conflict", "entry_of"]

UNHASHED: Final = "-"


class Claim(msgspec.Struct, gc=False):
    """What one origin says that a path is. A hard link ("h") becomes a file when the tree is finished."""

    path: str
    kind: Literal["f", "l", "h"]
    origin: str
    executable: bool = False
    content: str = ""
    size: int = 0

    def written(self, content: str) -> None:
        """Takes the digest of a file that is written; empty if it was not asked for."""
        self.content = content or UNHASHED


def compare(first: Claim, second: Claim) -> None:
    """Nothing, if both say the same of their path; else Conflict."""
    if (first.kind, first.content, first.executable) != (second.kind, second.content, second.executable):
        raise conflict(first.path, first.origin, second.origin)


def conflict(path: str, first: str, second: str) -> Conflict:
    """The error for a path of which two origins say different things."""
    return Conflict(
        f"{shown(path)} comes from {first} and differently from {second}",
        code="layer-conflict",
        exit_status=65,
        hint="layers of an artifact are not stacked; select the layers that you want",
    )


def entry_of(claim: Claim) -> Entry:
    """The entry that a claim makes in the finished tree."""
    if claim.kind == "l":
        return Entry(claim.path, "l", "-", claim.content, 0)
    content = "" if claim.content == UNHASHED else claim.content
    return Entry(claim.path, "f", "755" if claim.executable else "644", content, claim.size)
