"""Readers that can start again: what an upload needs to be repeated by itself. Storage layer, below every backend.

Content that is on disk or in memory can be read twice; content that arrives from elsewhere cannot. An upload asks with
`isinstance(reader, Rewindable)`.
"""

from __future__ import annotations

from types import TracebackType
from typing import IO, Protocol, Self, runtime_checkable

from provender.storage.abilities import BlobReader

__all__ = ["FileReader", "Rewindable"]


@runtime_checkable
class Rewindable(BlobReader, Protocol):
    """A reader whose next `read` after `rewind` starts at the first byte again."""

    def rewind(self) -> None: ...


class FileReader:
    """The content of a file on disk."""

    def __init__(self, path: str) -> None:
        self._file: IO[bytes] = open(path, "rb", buffering=0)  # noqa: SIM115 - closed by `close`

    def read(self, size: int = -1, /) -> bytes:
        return self._file.read(size)

    def rewind(self) -> None:
        """Go on with the first byte."""
        self._file.seek(0)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()
