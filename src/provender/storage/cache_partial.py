"""Unfinished large blobs of the cache, kept for the next attempt: `partial/<algorithm>/<hex>` and a mark beside it.

Storage layer, part of the cache. The mark says how many bytes are good and what they hash to; it is written behind the
bytes, so whatever a kill, a full disk or a bad sector left is met before anybody reads it. Whoever holds the blob's
flight lock is alone with both files.
"""

from __future__ import annotations

import io
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from provender.errors import Unsupported
from provender.oci import Descriptor
from provender.storage.files import FileLock
from provender.storage.verify import CHUNK_BYTES

if TYPE_CHECKING:
    from provender.oci.digest import Hasher

__all__ = ["MARK_BYTES", "PARTIAL_FROM_BYTES", "PartialFile", "tidy_partials"]

PARTIAL_FROM_BYTES: Final = 8 << 20
MARK_BYTES: Final = 8 << 20  # between two marks: what a kill costs

_MARK = re.compile(rb"(\d{19}) ([0-9a-f]{64,128})\n")
_AGE_S: Final = 7 * 24 * 3600
_CREATING: Final[int] = (
    os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
)
_FLAGS: Final[int] = os.O_RDWR | _CREATING
_MARK_FLAGS: Final[int] = os.O_WRONLY | _CREATING


class PartialFile:
    """The file of a blob on its way to `final`, with the `kept` good bytes of an earlier attempt, which `hasher` has.

    Opening it reads those bytes. Raises OSError as files do.
    """

    def __init__(self, root: Path, descriptor: Descriptor, final: Path) -> None:
        digest = descriptor.digest
        self._final = final
        self._path = root / "partial" / digest.algorithm / digest.encoded
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._mark = self._path.with_name(f"{digest.encoded}.mark")
        self._size = descriptor.size
        self.kept = 0
        self.hasher: Hasher = digest.hasher()
        self._fd: int | None = os.open(self._path, _FLAGS, 0o644)
        try:
            self._verify(descriptor)
            os.ftruncate(self._fd, self.kept)
            os.lseek(self._fd, self.kept, os.SEEK_SET)
        except OSError:
            self.discard()
            raise
        self._position = self._marked = self.kept

    @property
    def wants_mark(self) -> bool:
        """True when so much came since the last mark that the next is due."""
        return self._position - self._marked >= MARK_BYTES

    def reader(self) -> io.FileIO:
        """The kept bytes, and whatever is written behind them, from the start."""
        return io.FileIO(self._path, "rb")

    def write(self, chunk: bytes) -> None:
        """Append `chunk`, all of it."""
        if self._fd is None:
            raise ValueError("the file is finished")
        rest = memoryview(chunk)
        while rest:
            rest = rest[os.write(self._fd, rest) :]
        self._position += len(chunk)

    def mark(self, position: int, encoded: str) -> None:
        """Note that the first `position` bytes are good and hash to `encoded`."""
        if self._fd is None or position != self._position or not encoded:
            return
        # Over the last mark, which is as long, in one write: a kill leaves the one or the other.
        fd = os.open(self._mark, _MARK_FLAGS, 0o644)
        try:
            os.write(fd, b"%019d %s\n" % (position, encoded.encode("ascii")))
        finally:
            os.close(fd)
        self._marked = position

    def commit(self) -> None:
        """Give the file its final name, replacing what has it now."""
        self._close()
        try:
            os.replace(self._path, self._final)
        except OSError:
            self.discard()
            raise
        with suppress(OSError):
            os.unlink(self._mark)

    @property
    def device(self) -> int:
        """The file system that the file is on."""
        return os.lstat(self._path).st_dev

    def take(self, directory: int, name: str) -> None:
        """Move the file into the open `directory`; what has the name there is replaced."""
        self._close()
        os.rename(self._path, name, dst_dir_fd=directory)

    def keep(self) -> None:
        """Leave it for the next attempt, as far as a mark says that it is good."""
        if not self._marked:
            self.discard()
        with suppress(OSError):
            self._close()

    def discard(self) -> None:
        """Leave nothing behind."""
        with suppress(OSError):
            self._close()
        for path in (self._mark, self._path):
            with suppress(OSError):
                os.unlink(path)

    def _verify(self, descriptor: Descriptor) -> None:
        """Find out how many bytes are there and good: all that the mark names, or none."""
        marked = _read_mark(self._mark)
        if marked is None or marked.position > self._size or self._fd is None:
            return
        hasher, left = descriptor.digest.hasher(), marked.position
        while left and (chunk := os.read(self._fd, min(left, CHUNK_BYTES))):
            hasher.update(chunk)
            left -= len(chunk)
        if not left and hasher.hexdigest() == marked.encoded:
            self.kept, self.hasher = marked.position, hasher

    def _close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


class _Mark(NamedTuple):
    position: int
    encoded: str


def _read_mark(path: Path) -> _Mark | None:
    try:
        with open(path, "rb") as file:
            match = _MARK.fullmatch(file.read(200))
    except OSError:
        return None
    return None if match is None else _Mark(int(match[1]), match[2].decode("ascii"))


class _Left(NamedTuple):
    mtime: float
    size: int
    path: Path


def tidy_partials(root: Path, max_bytes: int) -> None:
    """Remove what nobody came back for in a week, and the oldest of what is over `max_bytes` together."""
    left: list[_Left] = []
    for path in (root / "partial").glob("*/*"):
        with suppress(OSError):
            status = path.lstat()
            left.append(_Left(status.st_mtime, status.st_size, path))
    total = sum(item.size for item in left)
    too_old = time.time() - _AGE_S
    for item in sorted(left):
        if item.mtime >= too_old and total <= max_bytes:
            return
        if _remove(root, item.path):
            total -= item.size


def _remove(root: Path, path: Path) -> bool:
    """Remove one file of a partial unless somebody works on it."""
    name = f"{path.parent.name}-{path.name.removesuffix('.mark')}"
    lock = FileLock(root / "locks" / name, timeout_s=0, what="a download", remove=True, is_signed=False)
    with suppress(OSError, Unsupported):
        if lock.try_acquire():
            try:
                path.unlink()
            finally:
                lock.release()
            return True
    return False
