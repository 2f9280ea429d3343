"""The body of an upload that is hashed on its way: its end leaves only once the whole was found right.

Registry layer, below the uploader.
"""

from __future__ import annotations

from provender.storage.registry.borrowed import Borrowed
from provender.storage.verify import CHUNK_BYTES, Verifying

__all__ = ["Withheld"]


class Withheld(Borrowed):
    """A reader that hands out its last chunk only after the verifying reader below has met the end."""

    def __init__(self, reader: Verifying) -> None:
        self._reader = reader
        self._next: bytes | None = None

    @property
    def verified(self) -> bool:
        """True once everything was read and found right."""
        return self._reader.verified

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes: one chunk behind what was read below."""
        want = CHUNK_BYTES if size < 0 else size
        current = self._reader.read(want) if self._next is None else self._next
        if current:
            self._next = self._reader.read(want)
        return current
