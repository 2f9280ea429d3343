"""Readers for tests that are what a blob may come from."""

from __future__ import annotations

from types import TracebackType
from typing import Self

__all__ = ["Stream"]


class Stream:
    """Content that arrives from elsewhere: it can be read once."""

    def __init__(self, content: bytes) -> None:
        self._rest = memoryview(content)

    def read(self, size: int = -1, /) -> bytes:
        cut = len(self._rest) if size < 0 else size
        chunk, self._rest = bytes(self._rest[:cut]), self._rest[cut:]
        return chunk

    def close(self) -> None:
        self._rest = memoryview(b"")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()
