"""Verified files moved from a staging directory into one that has other files already. Artifact layer, below `pull`.

Directories are opened one below the other and never through a symbolic link, so that a link in the destination cannot
lead a file out of it. POSIX only, as the tree writer is.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Final, Self

import msgspec

from provender.artifact.names import shown
from provender.artifact.tree import Entry
from provender.errors import Conflict
from provender.storage.verify import CHUNK_BYTES

__all__ = ["Placing"]

_OPEN_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class _Found(msgspec.Struct, frozen=True):
    """The entries by path, and which of them are in the destination, with the same content or with other content."""

    entries: dict[str, Entry]
    same: set[str] = msgspec.field(default_factory=set)
    other: set[str] = msgspec.field(default_factory=set)


class Placing:
    """Moves the content of `staging` into `out`; both exist, on one file system."""

    def __init__(self, staging: str, out: str) -> None:
        self._where = out
        self._from = os.open(staging, _OPEN_DIRECTORY)
        try:
            # The destination itself may be a link: the user named it.
            self._to = os.open(out, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            os.close(self._from)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        os.close(self._from)
        os.close(self._to)

    def run(self, entries: Sequence[Entry], *, force: bool) -> tuple[str, ...]:
        """The paths that were new or changed. Everything is compared before anything moves.

        Raises Conflict: `files-differ` unless `force`; `kind-clash` and `through-link` in any case.
        """
        found = _Found({entry.path: entry for entry in entries})
        self._compare("", self._from, self._to, found)
        if found.other and not force:
            differing = [entry.path for entry in entries if entry.path in found.other]
            listed = ", ".join(shown(path) for path in differing[:5]) + (", ..." if len(differing) > 5 else "")
            raise Conflict(
                f"{len(differing)} of {len(entries)} files are there with other content: {listed}",
                code="files-differ",
                where=self._where,
                hint="pull into another directory, or use --force to overwrite them",
            )
        self._move("", self._from, self._to, found)
        return tuple(entry.path for entry in entries if entry.path not in found.same)

    def _compare(self, prefix: str, source: int, target: int, found: _Found) -> None:
        """Finds what of the directory `source` is in `target` already, of which `prefix` is the path."""
        for name, is_directory in _listing(source):
            path = prefix + name
            if not is_directory:
                self._look(found, found.entries[path], name, source, target)
                continue
            with self._both(path, name, source, target) as (inner, there):
                if there is not None:
                    self._compare(f"{path}/", inner, there, found)

    def _move(self, prefix: str, source: int, target: int, found: _Found) -> None:
        for name, is_directory in _listing(source):
            path = prefix + name
            if not is_directory:
                if path not in found.same:
                    os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
                continue
            with self._both(path, name, source, target) as (inner, there):
                if there is None:
                    # Nothing of it is there: one step for the directory and all that is in it, not one for each file.
                    os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
                else:
                    self._move(f"{path}/", inner, there, found)

    def _look(self, found: _Found, entry: Entry, name: str, source: int, target: int) -> None:
        """Notes whether the file or link `name` is there with the content of `entry`, or with other content."""
        try:
            status = os.lstat(name, dir_fd=target)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(status.st_mode):
            raise self._clash(entry.path, "is a directory")
        if stat.S_ISLNK(status.st_mode):
            is_same = entry.kind == "l" and os.readlink(name, dir_fd=target) == entry.content
        elif not stat.S_ISREG(status.st_mode):
            raise self._clash(entry.path, "is no regular file")
        else:
            is_same = _is_file(entry, status) and _sha256(name, target) == (entry.content or _sha256(name, source))
        (found.same if is_same else found.other).add(entry.path)

    @contextmanager
    def _both(self, path: str, name: str, source: int, target: int) -> Iterator[tuple[int, int | None]]:
        """The directory `name` of the artifact and its like in the destination, open; None where there is none."""
        there: int | None = None
        with suppress(FileNotFoundError):
            there = self._open(path, name, target)
        try:
            inner = self._open(path, name, source)
            try:
                yield inner, there
            finally:
                os.close(inner)
        finally:
            if there is not None:
                os.close(there)

    def _open(self, path: str, name: str, directory: int) -> int:
        try:
            return os.open(name, _OPEN_DIRECTORY, dir_fd=directory)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            raise self._not_a_directory(path) from error

    def _not_a_directory(self, path: str) -> Conflict:
        return Conflict(
            f"{shown(path)} is there and is no directory, but the artifact has files below it",
            code="through-link" if os.path.islink(os.path.join(self._where, path)) else "kind-clash",
            where=self._where,
            hint="move it away, or pull into another directory; links are not followed",
        )

    def _clash(self, path: str, what: str) -> Conflict:
        return Conflict(
            f"{shown(path)} {what}, but a file in the artifact",
            code="kind-clash",
            where=self._where,
            hint="move it away, or pull into another directory",
        )


def _listing(directory: int) -> list[tuple[str, bool]]:
    """The names in a directory, and whether each is a directory; a list, since what is listed is moved meanwhile."""
    with os.scandir(directory) as found:
        return [(item.name, item.is_dir(follow_symlinks=False)) for item in found]


def _is_file(entry: Entry, status: os.stat_result) -> bool:
    mode = "755" if status.st_mode & 0o100 else "644"
    return entry.kind == "f" and entry.size == status.st_size and entry.mode == mode


def _sha256(name: str, directory: int) -> str:
    hasher = hashlib.sha256()
    fd = os.open(name, _OPEN_FILE, dir_fd=directory)
    with os.fdopen(fd, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            hasher.update(chunk)
    return hasher.hexdigest()
