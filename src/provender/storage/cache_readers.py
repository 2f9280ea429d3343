"""Readers of the blob cache: of an entry, and of content on its way in.

Storage layer, part of the cache.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Final

from provender.errors import IntegrityError, ProvenderError
from provender.oci import Descriptor
from provender.storage.abilities import BlobReader
from provender.storage.cache_flight import Flight
from provender.storage.verify import CHUNK_BYTES, VerifiedReader

__all__ = ["CACHE_PLACE", "EntryReader", "SpooledReader", "TeeReader"]

CACHE_PLACE: Final = "the blob cache"


class EntryReader(VerifiedReader):
    """A reader of an entry that removes it when it turns out to be damaged."""

    def __init__(self, file: io.FileIO, descriptor: Descriptor, offset: int, drop: Callable[[], None]) -> None:
        super().__init__(file, descriptor, offset=offset, where=CACHE_PLACE)
        self._drop = drop

    def read(self, size: int = -1, /) -> bytes:
        try:
            return super().read(size)
        except IntegrityError as error:
            self._drop()
            raise _damaged("a damaged entry of the cache", error.message) from error


class TeeReader(VerifiedReader):
    """A reader of the origin's content that writes it to a flight as well, behind what the flight has kept.

    `origin` starts where the kept bytes end. One that verifies already is not verified twice: hashing is what a fast
    download spends its time on.
    """

    def __init__(self, origin: BlobReader, descriptor: Descriptor, flight: Flight, kept: BlobReader | None) -> None:
        start = flight.kept if kept is not None else 0
        super().__init__(origin, descriptor, offset=start, hasher=flight.hasher if kept is not None else None)
        self._verifying = origin if isinstance(origin, VerifiedReader) and kept is None else None
        self._flight = flight
        self._kept = kept
        self._kept_left = start

    @property
    def verified(self) -> bool:
        return super().verified if self._verifying is None else self._verifying.verified

    def so_far(self) -> tuple[int, str]:
        return super().so_far() if self._verifying is None else self._verifying.so_far()

    def read(self, size: int = -1, /) -> bytes:
        if self._kept_left and self._kept is not None and size:
            return self._read_kept(self._kept, size)
        try:
            chunk = super().read(size) if self._verifying is None else self._verifying.read(size)
        except IntegrityError as error:
            self._flight.discard()  # who waits for it need not wait for our caller to close
            if self._kept is not None:
                # Nobody can tell which of the two attempts brought the wrong bytes: the next starts anew.
                raise _damaged("the kept part of an unfinished download", error.message) from error
            raise
        except (OSError, ProvenderError):
            self._leave()
            raise
        if chunk:
            self._flight.write(chunk)
            self._flight.note(self.so_far)
        elif self.verified:
            self._arrived(self._flight)
        return chunk

    def close(self) -> None:
        self._leave()
        if self._kept is not None:
            self._kept.close()
        super().close()

    def _read_kept(self, kept: BlobReader, size: int) -> bytes:
        chunk = kept.read(min(self._kept_left, CHUNK_BYTES if size < 0 else size))
        if not chunk:
            self._flight.discard()
            raise _damaged("the kept part of an unfinished download", "it cannot be read any more")
        self._kept_left -= len(chunk)
        return chunk

    def _arrived(self, flight: Flight) -> None:
        """All of it is written, and is what it has to be."""
        flight.commit()

    def _leave(self) -> None:
        self._flight.note(self.so_far, at_once=True)
        self._flight.abandon()


class SpooledReader(TeeReader):
    """A reader of a blob that is too large to keep; until that is settled, what was read is there for the next attempt.

    `took_over` gets the flight once all of it was read: its file is the caller's to take, or to discard.
    """

    def __init__(
        self,
        origin: BlobReader,
        descriptor: Descriptor,
        flight: Flight,
        kept: BlobReader | None,
        took_over: Callable[[Flight], None],
    ) -> None:
        super().__init__(origin, descriptor, flight, kept)
        self._took_over = took_over
        self._has_arrived = False

    @property
    def flight(self) -> Flight:
        """The flight, whose file has what was read so far."""
        return self._flight

    def _arrived(self, flight: Flight) -> None:
        if not self._has_arrived:
            self._has_arrived = True
            flight.note(self.so_far, at_once=True)
            flight.rest()
            self._took_over(flight)

    def _leave(self) -> None:
        if not self._has_arrived:
            super()._leave()


def _damaged(what: str, why: str) -> IntegrityError:
    return IntegrityError(
        f"{what} was removed: {why}",
        code="damaged-cache-entry",
        where=CACHE_PLACE,
        hint="run again: it will be fetched anew",
        retryable=True,
    )
