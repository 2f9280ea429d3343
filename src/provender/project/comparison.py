"""Comparison: the files of two versions of a dependency, side by side, and text of them as patches.

Project layer, over the sources; for `diff`. Versions are laid aside, the project is only read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from provender.artifact.tree import Entry
from provender.errors import InvalidProject, NotFound, Unsupported
from provender.oci import Digest
from provender.oci.reference import check_tag
from provender.project.dependency import Dependency
from provender.project.drift import kept_by, read_entries
from provender.project.lock_entry import LockedDependency
from provender.project.origin import (
    ChartRequested,
    GithubOrigin,
    GitOrigin,
    GitRequested,
    HelmOrigin,
    ImageOrigin,
    OciOrigin,
    Origin,
    ReleaseRequested,
    Requested,
)
from provender.project.sampling import laid_aside
from provender.project.sources import Source
from provender.transfer.progress import NO_PROGRESS, Progress

__all__ = ["DISK", "LOCK", "UPDATE", "Bench", "FileChange", "Side", "at_version", "compare", "patch"]

LOCK: Final = "@lock"
DISK: Final = "@disk"
UPDATE: Final = "@update"

_COMMIT: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_MAX_TEXT_BYTES: Final = 256 << 10
_MAX_TEXT_LINES: Final = 8_000


class Side(msgspec.Struct, frozen=True):
    """One of two trees: what to call it, where its files lie, and which they are, by path."""

    title: str
    directory: str
    entries: dict[str, Entry]


class FileChange(msgspec.Struct, frozen=True):
    """A path that is not the same on both sides; None where it is not there."""

    path: str
    before: Entry | None
    after: Entry | None

    @property
    def word(self) -> str:
        """`added`, `removed` or `changed`."""
        return "added" if self.before is None else "removed" if self.after is None else "changed"


class Bench:
    """Gives the sides of one dependency: what is locked (`entry`, if it is), what lies on disk, what a version has."""

    def __init__(
        self,
        project: Path,
        dependency: Dependency,
        entry: LockedDependency | None,
        source: Source,
        *,
        progress: Progress = NO_PROGRESS,
    ) -> None:
        self._project = project
        self._dependency = dependency
        self._entry = entry
        self._source = source
        self._progress = progress

    @contextmanager
    def side(self, name: str) -> Iterator[Side]:
        """The side called `name`: `@lock`, `@disk`, `@update`, or a tag, version, digest, branch or commit.

        Raises NotFound for what is not there, Unsupported for a version of what has none, and what the source raises.
        """
        if name == DISK:
            yield self._disk()
            return
        dependency, entry = self._named(name)
        with laid_aside(self._source, dependency, entry, progress=self._progress) as (directory, entries):
            yield Side(_title(entry, name), directory, {each.path: each for each in entries})

    def _named(self, name: str) -> tuple[Dependency, LockedDependency]:
        if self._entry is not None and self._entry.source == "manual":
            raise Unsupported(
                f"{self._dependency.name} is kept by hand; nothing is locked to compare with",
                code="no-versions",
                hint="use version control for it",
            )
        if name == LOCK:
            if self._entry is None:
                raise InvalidProject(
                    f"{self._dependency.name} is not in the lock", code="no-lock", hint="run 'provender lock'"
                )
            return self._dependency, self._entry
        if name.startswith("@") and name != UPDATE:
            raise NotFound(
                f"{name[:100]!r} names nothing to compare with",
                code="no-such-version",
                hint=f"write a tag, a digest, {LOCK}, {DISK} or {UPDATE}",
            )
        asked = self._dependency if name == UPDATE else at_version(self._dependency, name)
        return asked, self._source.resolve(asked)

    def _disk(self) -> Side:
        to = self._dependency.to
        directory = os.path.join(self._project, *to.split("/"))
        found = read_entries(directory, kept=kept_by(self._dependency.keep))
        return Side(f"{DISK} ({to})", directory, {path: each for path, each in found.items() if each is not None})


def at_version(dependency: Dependency, name: str) -> Dependency:
    """The dependency as if exactly the version `name` were asked for.

    Raises Unsupported (code `no-versions`) for an origin without versions, InvalidReference for what cannot be one.
    """
    return msgspec.structs.replace(dependency, origin=_asking(dependency.name, dependency.origin, name))


def _asking(dependency: str, origin: Origin, name: str) -> Origin:
    match origin:
        case OciOrigin() | ImageOrigin():
            is_digest = name.startswith(("sha256:", "sha512:"))
            asked = Requested(digest=Digest(name)) if is_digest else Requested(tag=check_tag(name))
            return msgspec.structs.replace(origin, requested=asked)
        case GitOrigin():
            is_commit = _COMMIT.fullmatch(name) is not None
            return msgspec.structs.replace(
                origin, requested=GitRequested(commit=name) if is_commit else GitRequested(ref=name)
            )
        case GithubOrigin():
            return msgspec.structs.replace(origin, requested=ReleaseRequested(tag=name))
        case HelmOrigin():
            return msgspec.structs.replace(origin, requested=ChartRequested(version=name))
        case _:
            raise Unsupported(
                f"{dependency} has no versions to choose from",
                code="no-versions",
                hint=f"compare {LOCK}, {DISK} and {UPDATE}",
            )


def compare(before: Mapping[str, Entry], after: Mapping[str, Entry]) -> list[FileChange]:
    """Every path that differs in kind, mode or content, sorted."""
    return [
        FileChange(path, before.get(path), after.get(path))
        for path in sorted(before.keys() | after.keys())
        if _what(before.get(path)) != _what(after.get(path))
    ]


def patch(change: FileChange, before: Side, after: Side) -> list[str] | None:
    """The change as lines of a unified diff; None if it is not one of small texts."""
    import difflib

    old, new = _lines(change.before, before.directory), _lines(change.after, after.directory)
    if old is None or new is None:
        return None
    names = (
        "/dev/null" if change.before is None else f"a/{change.path}",
        "/dev/null" if change.after is None else f"b/{change.path}",
    )
    return _with_ends(difflib.unified_diff(old, new, *names))


def _with_ends(lines: Iterable[str]) -> list[str]:
    """Lines without their ends; a line that had none is told, as diff does."""
    told: list[str] = []
    for number, line in enumerate(lines):
        told.append(line.rstrip("\r\n"))
        if number > 2 and not line.endswith("\n"):
            told.append("\\ No newline at end of file")
    return told


def _lines(entry: Entry | None, directory: str) -> list[str] | None:
    if entry is None:
        return []
    if entry.kind != "f" or entry.size > _MAX_TEXT_BYTES:
        return None
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    with open(os.open(os.path.join(directory, *entry.path.split("/")), flags), "rb") as file:
        raw = file.read(_MAX_TEXT_BYTES + 1)
    if len(raw) > _MAX_TEXT_BYTES or b"\0" in raw:
        return None
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return None
    lines = re.split(r"(?<=\n)", text)
    lines = lines[:-1] if lines[-1] == "" else lines
    return lines if len(lines) <= _MAX_TEXT_LINES else None


def _what(entry: Entry | None) -> tuple[str, str, str] | None:
    return None if entry is None else (entry.kind, entry.mode, entry.content)


def _title(entry: LockedDependency, name: str) -> str:
    pin = entry.revision.rpartition(":")[2][:12]
    told = " ".join(text for text in (entry.label, f"({pin})" if pin else "") if text)
    return f"{name} {told}" if name.startswith("@") else told or name
