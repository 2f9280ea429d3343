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

from provender.artifact.names import shown
from provender.artifact.tree import Entry
from provender.errors import Conflict
from provender.storage.verify import CHUNK_BYTES

__all__ = ["Placing"]

_OPEN_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


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
        todo: list[Entry] = []
        differing: list[str] = []
        for entry in entries:
            state = self._state(entry)
            if state != "same":
                todo.append(entry)
            if state == "other":
                differing.append(entry.path)
        if differing and not force:
            listed = ", ".join(shown(path) for path in differing[:5]) + (", ..." if len(differing) > 5 else "")
            raise Conflict(
                f"{len(differing)} of {len(entries)} files are there with other content: {listed}",
                code="files-differ",
                where=self._where,
                hint="pull into another directory, or use --force to overwrite them",
            )
        for entry in todo:
            parent, name = _split(entry.path)
            with self._below(self._from, parent) as source, self._below(self._to, parent, make=True) as target:
                os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
        self._make_empty_directories()
        return tuple(entry.path for entry in todo)

    def _state(self, entry: Entry) -> str:
        """`new`, `same` or `other`: what is at the entry's path already."""
        parent, name = _split(entry.path)
        try:
            with self._below(self._to, parent) as directory:
                status = os.lstat(name, dir_fd=directory)
                if stat.S_ISDIR(status.st_mode):
                    raise self._clash(entry.path, "is a directory")
                if stat.S_ISLNK(status.st_mode):
                    is_same = entry.kind == "l" and os.readlink(name, dir_fd=directory) == entry.content
                elif not stat.S_ISREG(status.st_mode):
                    raise self._clash(entry.path, "is no regular file")
                else:
                    is_same = _is_file(entry, status) and _sha256(name, directory) == entry.content
                return "same" if is_same else "other"
        except FileNotFoundError:
            return "new"

    @contextmanager
    def _below(self, root: int, parts: Sequence[str], *, make: bool = False) -> Iterator[int]:
        """The directory `parts` below `root`, open. FileNotFoundError without it."""
        fd = os.dup(root)
        try:
            for number, part in enumerate(parts, start=1):
                try:
                    above, fd = fd, self._step(fd, part, make=make)
                except OSError as error:
                    if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                        raise
                    raise self._not_a_directory("/".join(parts[:number])) from error
                os.close(above)
            yield fd
        finally:
            os.close(fd)

    def _step(self, fd: int, part: str, *, make: bool) -> int:
        if make:
            with suppress(FileExistsError):
                os.mkdir(part, 0o755, dir_fd=fd)
        return os.open(part, _OPEN_DIRECTORY, dir_fd=fd)

    def _make_empty_directories(self) -> None:
        """Makes the directories of the artifact that hold no file."""
        for path, _, _, _ in os.fwalk(".", dir_fd=self._from):
            parts = [part for part in path.split("/") if part != "."]
            with self._below(self._to, parts, make=True):
                pass

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


def _split(path: str) -> tuple[list[str], str]:
    *parent, name = path.split("/")
    return parent, name


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
