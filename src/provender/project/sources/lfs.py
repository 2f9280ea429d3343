"""Git LFS: the content behind a pointer, fetched by the user's `git-lfs` and held to the pointer's digest.

Project layer, below the source `git`, which asks for it only where a dependency says `lfs: true`.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from provender.artifact.tree import TreeWriter
from provender.errors import IntegrityError, Unsupported
from provender.storage.git.clones import Clone
from provender.storage.git.command import GitFailed

__all__ = ["Pointer", "lay_pointer", "pointer_of"]

_POINTER: Final = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-[^\n]*\n)*oid sha256:([0-9a-f]{64})\nsize ([0-9]{1,15})\n?"
)


class Pointer(msgspec.Struct, frozen=True):
    """What a pointer file says; `raw` is its content."""

    raw: bytes
    sha256: str
    size: int


def pointer_of(content: bytes) -> Pointer | None:
    """The pointer that is the content of a file; None if it is something else."""
    found = _POINTER.fullmatch(content)
    return None if found is None else Pointer(content, found[1].decode(), int(found[2]))


def lay_pointer(
    pointer: Pointer, clone: Clone, parts: tuple[str, ...], writer: TreeWriter, *, executable: bool, where: str
) -> None:
    """Write what the pointer stands for. Unsupported without `git-lfs`; IntegrityError for other content."""
    try:
        with clone.smudged(pointer.raw) as content:
            writer.file(parts, content, executable=executable, size=pointer.size, origin=where)
    except GitFailed as error:
        raise Unsupported(
            f"the content of {'/'.join(parts)} in Git LFS cannot be had: {error.message}",
            code="no-lfs",
            where=where,
            hint="install git-lfs, or write 'lfs: false' to have the pointers",
        ) from error
    if writer.digest_of("/".join(parts)) != pointer.sha256:
        raise IntegrityError(
            f"the content of {'/'.join(parts)} in Git LFS is not what its pointer says",
            code="digest-mismatch",
            where=where,
            hint="nothing was laid; have the repository mended",
        )
