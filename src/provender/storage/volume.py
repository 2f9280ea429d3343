"""Where an archive's bytes lie, for reading at random: in a file, or in several that follow each other.

Storage layer, below everything that reads archives. A volume is fixed when it is made; each `open` looks whether its
files are still the same, so that an archive which is replaced is noticed, not misread.
"""

from __future__ import annotations

import os
import stat
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import IO, Final, Protocol

from provender.errors import IntegrityError, NotFound, Unsupported

__all__ = ["Cursor", "FileVolume", "Volume", "read_exactly"]

_CHUNK_BYTES: Final = 1 << 20


class Cursor(Protocol):
    """A place in a volume, with its own position; for one thread."""

    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def read(self, size: int = -1, /) -> bytes: ...
    def close(self) -> None: ...


class Volume(Protocol):
    """Bytes that are read at random, by any number of threads with a cursor each."""

    @property
    def size_bytes(self) -> int: ...

    def open(self) -> Cursor:
        """A cursor at the start. Raises IntegrityError (`archive-changed`) for a volume that is not what it was."""
        ...

    def is_current(self) -> bool:
        """True if what the volume was made from is still there, unchanged."""
        ...

    def blame(self) -> None:
        """Raise an IntegrityError that names what is damaged, if the volume can tell; called after damage was met."""
        ...

    def close(self) -> None:
        """Give back what the volume holds; for most nothing."""
        ...


class FileVolume:
    """The files at `paths`, one after the other.

    Raises NotFound for a file that is not there, Unsupported for one that is not a regular file.
    """

    def __init__(self, paths: Sequence[Path], *, where: str) -> None:
        self._paths = tuple(paths)
        self._where = where
        identities = []
        for path in self._paths:
            file = self._open(path)
            try:
                identities.append(_identity(file))
            finally:
                file.close()
        self._identities = tuple(identities)
        self._starts = [0, *accumulate(size for _, size, _, _ in self._identities)]

    @property
    def size_bytes(self) -> int:
        """All bytes together."""
        return self._starts[-1]

    def open(self) -> Cursor:
        """See `Volume.open`."""
        if len(self._paths) == 1:
            return self.open_file(0)
        return _FilesCursor(self, self._starts)

    def open_file(self, number: int) -> IO[bytes]:
        """One of the files, unbuffered."""
        file = self._open(self._paths[number])
        if _identity(file) == self._identities[number]:
            return file
        file.close()
        raise IntegrityError(
            "the archive was changed while it was in use",
            code="archive-changed",
            where=self._where,
            hint="run again when it is complete",
        )

    def is_current(self) -> bool:
        """See `Volume.is_current`."""
        try:
            for number in range(len(self._paths)):
                self.open_file(number).close()
        except (NotFound, IntegrityError, Unsupported):
            return False
        return True

    def blame(self) -> None:
        """Bytes alone do not tell where they were damaged."""

    def close(self) -> None:
        """Nothing is held."""

    def _open(self, path: Path) -> IO[bytes]:
        try:
            # Not to wait for ever for the writer of a pipe.
            fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        except FileNotFoundError as error:
            raise NotFound(
                f"no such file: {path}", code="layout-not-found", where=self._where, hint="check the path"
            ) from error
        file = open(fd, "rb", buffering=0)  # noqa: SIM115 - the cursor owns it
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            file.close()
            raise Unsupported(
                "an archive is read at random, which needs a regular file",
                code="not-a-regular-file",
                where=self._where,
                hint="save the archive to a file first",
            )
        return file


class _FilesCursor:
    """A place in several files, of which one at a time is open."""

    def __init__(self, volume: FileVolume, starts: Sequence[int]) -> None:
        self._volume = volume
        self._starts = starts
        self._position = 0
        self._file: IO[bytes] | None = None
        self._number = -1

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._position = _sought(offset, whence, self._position, self._starts[-1])
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        if self._position >= self._starts[-1]:
            return b""
        number = bisect_right(self._starts, self._position) - 1
        if self._file is None or number != self._number:
            self.close()
            self._file, self._number = self._volume.open_file(number), number
        within = self._position - self._starts[number]
        left = self._starts[number + 1] - self._position
        self._file.seek(within)
        chunk = self._file.read(min(left, _CHUNK_BYTES if size < 0 else size))
        self._position += len(chunk)
        return chunk

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


def read_exactly(cursor: Cursor, size: int) -> bytes:
    """The next `size` bytes, fewer at the end only. For small pieces."""
    chunk = cursor.read(size)
    if len(chunk) == size or not chunk:
        return chunk
    pieces = [chunk]
    left = size - len(chunk)
    while left and (chunk := cursor.read(left)):
        pieces.append(chunk)
        left -= len(chunk)
    return b"".join(pieces)


def _sought(offset: int, whence: int, position: int, end: int) -> int:
    found = offset + (0 if whence == os.SEEK_SET else position if whence == os.SEEK_CUR else end)
    if found < 0:
        raise ValueError("before the start")
    return found


def _identity(file: IO[bytes]) -> tuple[int, int, int, int]:
    status = os.fstat(file.fileno())
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev
