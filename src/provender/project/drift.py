"""Drift: how a destination differs from what was laid there, by looking at files and hashing only what looks different.

Project layer, over `state`. Reads, never writes.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from provender.artifact.selection import matches
from provender.artifact.tree import Entry
from provender.project.state import Comparison, DestinationState, StatEntry, scan

__all__ = [
    "Drift",
    "compare_with_entries",
    "compare_with_state",
    "is_foreign",
    "kept_by",
    "read_entries",
    "read_entry",
    "recorded_entries",
]

_CHUNK_BYTES: Final = 1 << 20
_SPECIAL: Final = "?"

Kept = Callable[[str], bool]


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """Paths of a destination that are not as they were laid, sorted. Files that the project keeps do not count."""

    missing: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    @property
    def is_none(self) -> bool:
        return not (self.missing or self.changed or self.extra)

    @property
    def local(self) -> tuple[str, ...]:
        """What somebody made here and would lose if the destination were replaced: changed and extra files."""
        return tuple(sorted((*self.changed, *self.extra)))


def kept_by(patterns: Sequence[str]) -> Kept | None:
    """The predicate "the project keeps this path" of the patterns of `keep`; None without patterns."""
    if not patterns:
        return None
    return lambda path: matches(path, patterns)


def is_foreign(state: DestinationState, comparison: Comparison, *, kept: Kept | None) -> bool:
    """True if no file is as the state says, so that it tells of another machine's files, or was made up.

    A state that came with a checkout could otherwise vouch for files that came along: what hashes it holds are only
    worth something where inodes and times, which no checkout can bring, show that it was written here.
    """
    files = len(state.files) if kept is None else sum(not kept(entry.path) for entry in state.files)
    present = files - len(comparison.removed)
    return present > 0 and len(comparison.modified) == present


def recorded_entries(state: DestinationState) -> tuple[Entry, ...]:
    """The tree that a state tells of, without what was kept."""
    found: list[Entry] = []
    for entry, content in zip(state.files, state.contents, strict=True):
        found.append(_as_entry(entry, content))
    return tuple(found)


def compare_with_state(
    directory: str,
    state: DestinationState,
    *,
    kept: Kept | None,
    deep: bool = False,
    comparison: Comparison | None = None,
) -> Drift:
    """How `directory` differs from its state. Hashes what looks different, or with `deep` everything.

    `comparison` is that of the directory with this state, if the caller has made it.
    """
    comparison = comparison or state.compare(directory, kept=kept)
    if comparison.is_unchanged and not deep:
        return Drift()
    was = {entry.path: content for entry, content in zip(state.files, state.contents, strict=True)}
    modes = {entry.path: entry.mode for entry in state.files}
    gone = {*comparison.removed, *comparison.added}
    suspects = [path for path in was if path not in gone] if deep else [*comparison.modified, *comparison.uncertain]
    changed = [
        path
        for path in suspects
        if not (kept and kept(path)) and not _is_same(os.path.join(directory, path), modes[path], was[path])
    ]
    return Drift(missing=comparison.removed, changed=tuple(sorted(changed)), extra=comparison.added)


def compare_with_entries(directory: str, entries: Iterable[Entry], *, kept: Kept | None) -> Drift:
    """How `directory` differs from a tree whose entries are known; hashes every file."""
    expected = {entry.path: entry for entry in entries if not (kept and kept(entry.path))}
    found = read_entries(directory, kept=kept)
    return Drift(
        missing=tuple(sorted(expected.keys() - found.keys())),
        changed=tuple(sorted(path for path, entry in found.items() if path in expected and entry != expected[path])),
        extra=tuple(sorted(found.keys() - expected.keys())),
    )


def read_entries(directory: str, *, kept: Kept | None) -> Mapping[str, Entry | None]:
    """What lies in `directory` now, every file hashed, by path; None for what no artifact can have laid.

    That is special files, names that are no UTF-8, and what vanished while it was looked at.
    """
    try:
        seen = scan(directory, kept=kept)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return {entry.path: read_entry(directory, entry) for entry in seen}


def read_entry(directory: str, seen: StatEntry) -> Entry | None:
    """One entry of `read_entries`."""
    try:
        content = _content(os.path.join(directory, seen.path), seen.mode)
    except FileNotFoundError:
        return None
    return None if content == _SPECIAL else _as_entry(seen, content)


def _as_entry(seen: StatEntry, content: str) -> Entry:
    if stat.S_ISLNK(seen.mode):
        return Entry(seen.path, "l", "-", content, 0)
    return Entry(seen.path, "f", "755" if seen.mode & stat.S_IXUSR else "644", content, seen.size)


def _is_same(path: str, mode: int, content: str) -> bool:
    try:
        now = os.lstat(path).st_mode
        same_kind = stat.S_IFMT(now) == stat.S_IFMT(mode)
        same_bit = stat.S_ISLNK(mode) or bool(now & stat.S_IXUSR) == bool(mode & stat.S_IXUSR)
        return same_kind and same_bit and _content(path, now) == content
    except FileNotFoundError:
        return False


def _content(path: str, mode: int) -> str:
    """The sha256 of a file, the target of a link, or a mark for anything else."""
    if stat.S_ISLNK(mode):
        return os.readlink(path)
    if not stat.S_ISREG(mode):
        return _SPECIAL
    hasher = hashlib.sha256()
    # Not through a link that took the file's place a moment ago, and not waiting for a pipe's other end.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    with open(os.open(path, flags), "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_BYTES):
            hasher.update(chunk)
    return hasher.hexdigest()
