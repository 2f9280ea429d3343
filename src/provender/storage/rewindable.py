"""Readers that can start again: what an upload needs to be repeated by itself. Storage layer, below every backend.

Content that is on disk or in memory can be read twice; content that arrives from elsewhere cannot. An upload asks with
`isinstance(reader, Rewindable)`.
"""

from __future__ import annotations

import os
import time
from types import TracebackType
from typing import IO, Final, NamedTuple, Protocol, Self, runtime_checkable

from provender.oci import Digest
from provender.storage.abilities import BlobReader

__all__ = ["CountedContent", "FileReader", "HashedContent", "HashedFile", "Rewindable", "Stamp"]

# Within this time the clock of a file system may give two changes the same time.
_UNSETTLED_NS: Final = 2_000_000_000


@runtime_checkable
class Rewindable(BlobReader, Protocol):
    """A reader whose next `read` after `rewind` starts at the first byte again."""

    def rewind(self) -> None: ...


@runtime_checkable
class HashedContent(BlobReader, Protocol):
    """Content of a file that was hashed before, and need not be again as long as nobody touched the file."""

    def vouches(self, digest: Digest) -> bool:
        """True if it is still the content that had this digest; False if it has to be hashed to tell."""
        ...

    def skip(self, n: int) -> None:
        """Go on behind the next `n` bytes, which are where they are to go."""
        ...


@runtime_checkable
class CountedContent(BlobReader, Protocol):
    """Content whose bytes are counted as they are read, for whoever reports what was sent."""

    def not_sent(self, n: int) -> None:
        """The next `n` bytes are read to be hashed alone: they are there already."""
        ...


class Stamp(NamedTuple):
    """What the system says of a file, and changes whenever somebody writes to it."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, file: IO[bytes]) -> Stamp:
        """The stamp of an open file."""
        return cls.from_status(os.fstat(file.fileno()))

    @classmethod
    def from_status(cls, status: os.stat_result) -> Stamp:
        """The stamp that the system tells of."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    @property
    def is_settled(self) -> bool:
        """True if a change from now on gives another stamp."""
        return max(self.mtime_ns, self.ctime_ns) < time.time_ns() - _UNSETTLED_NS


class FileReader:
    """The content of a file on disk."""

    def __init__(self, path: str) -> None:
        self._file: IO[bytes] = open(path, "rb", buffering=0)  # noqa: SIM115 - closed by `close`

    def read(self, size: int = -1, /) -> bytes:
        return self._file.read(size)

    def rewind(self) -> None:
        """Go on with the first byte."""
        self._file.seek(0)

    def skip(self, n: int) -> None:
        """Go on behind the next `n` bytes."""
        self._file.seek(n, os.SEEK_CUR)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()


class HashedFile(FileReader):
    """A `HashedContent`: the file had `digest` when it had `stamp`, which was settled then."""

    def __init__(self, path: str, digest: Digest, stamp: Stamp) -> None:
        super().__init__(path)
        self._digest = digest
        self._stamp = stamp

    def vouches(self, digest: Digest) -> bool:
        """True if the file is untouched."""
        return digest == self._digest and Stamp.of(self._file) == self._stamp
