"""The body of an upload that goes from a file to the socket without being read: it was hashed before.

Registry layer, between the uploader and the transport. It keeps the uploader's promise another way: the last bytes
leave only if the file is still the one that was hashed, untouched.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import IO, Final, Self

from provender.errors import IntegrityError
from provender.oci import Descriptor
from provender.storage.abilities import BlobReader
from provender.storage.rewindable import HashedContent

__all__ = ["SentFile", "sent_file"]

# Below, hashing a second time is nothing beside the requests.
_FROM_BYTES: Final = 1 << 20
_PIECE_BYTES: Final = 4 << 20  # between two looks at whether it is cancelled


def sent_file(reader: BlobReader, descriptor: Descriptor, where: str) -> SentFile | None:
    """The body for the content of `reader`; None if it has to be read, and hashed, on its way."""
    if descriptor.size < _FROM_BYTES or not isinstance(reader, HashedContent):
        return None
    file = reader.hashed_file(descriptor.digest)
    return None if file is None else SentFile(reader, file, descriptor, where)


class SentFile:
    """A reader of a file, for transports that read, and its `pieces` for those that need not."""

    def __init__(self, content: HashedContent, file: IO[bytes], descriptor: Descriptor, where: str) -> None:
        self._content = content
        self._file = file
        self._descriptor = descriptor
        self._where = where
        self._position = 0
        self.is_verified = False

    def pieces(self) -> Iterator[tuple[IO[bytes], int, int]]:
        """The file, with the offset and the length of what is to be sent next. Raises IntegrityError for a change."""
        while count := min(_PIECE_BYTES, self._descriptor.size - self._position):
            self._look(count)
            yield self._file, self._position, count
            self._passed(count)

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes."""
        count = min(_PIECE_BYTES if size < 0 else size, self._descriptor.size - self._position)
        if not count:
            return b""
        self._look(count)
        self._file.seek(self._position)
        chunk = self._file.read(count)
        self._passed(len(chunk))
        return chunk

    def close(self) -> None:
        """Nothing: whoever gave the content closes it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    def _look(self, count: int) -> None:
        """Before the last bytes: is it what was hashed?"""
        if self._position + count < self._descriptor.size:
            return
        if self._content.hashed_file(self._descriptor.digest) is None:
            raise IntegrityError(
                f"{self._descriptor.digest} is not in its file any more: it was changed while it was sent",
                code="digest-mismatch",
                where=self._where,
                hint="push again when nothing writes to the file",
            )
        self.is_verified = True

    def _passed(self, count: int) -> None:
        self._position += count
        self._content.passed(count)
