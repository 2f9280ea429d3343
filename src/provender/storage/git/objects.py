"""Objects of a Git repository: the entries of a tree, and the content of blobs as a stream. Storage layer."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Final

import msgspec

from provender.errors import IntegrityError, Unavailable
from provender.storage.git.command import GitCommand, stop

__all__ = ["GitEntry", "ObjectReader"]

_CHUNK_BYTES: Final = 1 << 20
_MAX_HEADER_BYTES: Final = 512
_DIGITS: Final = frozenset("0123456789abcdef")


class GitEntry(msgspec.Struct, frozen=True, gc=False):
    """One entry of a commit's tree."""

    path: bytes
    """As the repository has it: relative, with `/`, in whatever encoding."""
    mode: str
    """`100644`, `100755`, `120000` (a link) or `160000` (a submodule)."""
    name: str
    """Of the object; of a submodule, its commit."""


class ObjectReader:
    """Gives blobs by name from a `git cat-file` that runs beside; not for several threads."""

    def __init__(self, process: subprocess.Popen[bytes], stdin: IO[bytes], stdout: IO[bytes], where: str) -> None:
        self._process = process
        self._stdin = stdin
        self._stdout = stdout
        self._where = where

    @classmethod
    @contextmanager
    def start(cls, git: GitCommand, path: str) -> Iterator[ObjectReader]:
        """A reader of the bare repository at `path`."""
        process = git.start(
            "--git-dir=.",
            "cat-file",
            "--batch",
            cwd=path,
            is_online=False,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            if process.stdin is None or process.stdout is None:
                raise OSError("no pipes to git")
            yield cls(process, process.stdin, process.stdout, path)
        finally:
            _close(process)

    def size(self, name: str) -> int:
        """Begin with the blob of that name: its size in bytes. `pieces` has to follow and be read to its end."""
        if not set(name) <= _DIGITS:
            raise ValueError(f"not a name of an object: {name!r}")
        try:
            self._stdin.write(f"{name}\n".encode("ascii"))
            self._stdin.flush()
        except BrokenPipeError as error:
            raise self._ended() from error
        header = self._stdout.readline(_MAX_HEADER_BYTES).split()
        if len(header) != 3 or header[1] != b"blob" or not header[2].isdigit():
            raise IntegrityError(
                f"the clone lacks the file {name}, or it is damaged",
                code="missing-object",
                where=self._where,
                hint="remove this directory and run again: it is a cache",
            )
        return int(header[2])

    def pieces(self, size: int) -> Iterator[bytes]:
        """The content of the blob that was begun."""
        left = size
        while left:
            piece = self._stdout.read(min(left, _CHUNK_BYTES))
            if not piece:
                raise self._ended()
            left -= len(piece)
            yield piece
        if self._stdout.read(1) != b"\n":
            raise self._ended()

    def content(self, name: str, *, limit_bytes: int) -> bytes:
        """A small blob; IntegrityError (code `too-large`) if it is not."""
        size = self.size(name)
        if size > limit_bytes:
            raise IntegrityError(
                f"the file {name} has {size} bytes, more than {limit_bytes}", code="too-large", where=self._where
            )
        return b"".join(self.pieces(size))

    def _ended(self) -> Unavailable:
        return Unavailable("git ended while a file was read", code="git-ended", where=self._where, hint="run again")


def _close(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except BrokenPipeError:
                continue
    stop(process)
