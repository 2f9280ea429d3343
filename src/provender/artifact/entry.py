"""What a tree is made of, and its digest. Artifact layer; pure values."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

import msgspec

from provender.oci import Digest

__all__ = ["Entry", "SmallFile", "tree_digest", "tree_lines"]


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A file or symbolic link of a tree. Directories are not listed."""

    path: str
    """Relative, with `/`."""
    kind: Literal["f", "l"]
    mode: Literal["644", "755", "-"]
    content: str
    """The sha256 of a file in hexadecimal, empty where it was not asked for; the target of a link."""
    size: int
    """Bytes of a file; 0 for a link."""


def tree_digest(entries: Iterable[Entry]) -> Digest:
    """The digest of a tree as the lock holds it; the order of `entries` does not matter."""
    hasher = hashlib.sha256()
    for line in tree_lines(entries):
        hasher.update(line)
    return Digest(f"sha256:{hasher.hexdigest()}")


def tree_lines(entries: Iterable[Entry]) -> Iterator[bytes]:
    """The listing of a tree, whose sha256 is its digest: a line for each entry, sorted by path."""
    # Code points sort as their UTF-8 bytes do.
    for entry in sorted(entries, key=lambda entry: entry.path):
        yield f"{entry.kind} {entry.mode} {entry.content}\0{entry.path}\n".encode()


class SmallFile(NamedTuple):
    """A file of an archive with its content; `path` is checked components joined by `/`."""

    path: str
    content: bytes
    executable: bool
