"""The one reader through which all content passes: it checks size and digest as the bytes go by.

Storage layer, below every backend.
"""

from __future__ import annotations

from types import TracebackType
from typing import IO, TYPE_CHECKING, Final, Protocol, Self, runtime_checkable

from provender.errors import IntegrityError
from provender.oci import Descriptor

if TYPE_CHECKING:
    from provender.oci.digest import Hasher

__all__ = ["CHUNK_BYTES", "BytesReader", "VerifiedReader", "Verifying", "read_all", "verifying"]

CHUNK_BYTES: Final = 1 << 20


class _Source(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...
    def close(self) -> None: ...


@runtime_checkable
class Verifying(Protocol):
    """A reader whose content is verified when it gives `b""`; `verified` from then on."""

    @property
    def verified(self) -> bool: ...

    def proves(self, descriptor: Descriptor) -> bool:
        """True if whoever reads it to the end from now on has the whole content of the descriptor, verified."""
        ...

    def read(self, size: int = -1, /) -> bytes: ...
    def close(self) -> None: ...


def verifying(source: _Source, descriptor: Descriptor, *, where: str = "") -> Verifying:
    """A reader of exactly the content of `descriptor`: `source` itself if it verifies, so that nobody hashes twice."""
    if isinstance(source, Verifying) and source.proves(descriptor):
        return source
    return VerifiedReader(source, descriptor, where=where)


class VerifiedReader:
    """A reader of exactly the content of `descriptor`.

    More bytes than the declared size raise at once; the read that meets the end raises unless size and digest are
    right. With `offset` the stream starts there and only its length is checked, unless `hasher` has hashed what comes
    before it. Closing before the end is no claim.
    """

    def __init__(
        self,
        source: _Source | IO[bytes],
        descriptor: Descriptor,
        *,
        offset: int = 0,
        where: str = "",
        hasher: Hasher | None = None,
    ) -> None:
        self._source = source
        self._descriptor = descriptor
        self._left = descriptor.size - offset
        self._hasher = descriptor.digest.hasher() if offset == 0 and hasher is None else hasher
        self._where = where or None
        self._ended = False

    @property
    def descriptor(self) -> Descriptor:
        """What is being read."""
        return self._descriptor

    @property
    def verified(self) -> bool:
        """True once the end was read and size and digest were right."""
        return self._ended and self._hasher is not None

    def proves(self, descriptor: Descriptor) -> bool:
        """True for its own content, as long as nothing was read (see `Verifying`)."""
        own = self._descriptor
        is_whole = self._left == own.size and self._hasher is not None and not self._ended
        return is_whole and (own.digest, own.size) == (descriptor.digest, descriptor.size)

    def so_far(self) -> tuple[int, str]:
        """The position in the content, and the hash of everything before it (empty where that is not known)."""
        return self._descriptor.size - self._left, self._hasher.hexdigest() if self._hasher is not None else ""

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes (at most 1 MiB when negative); `b""` only after everything was verified."""
        if self._ended:
            return b""
        want = CHUNK_BYTES if size < 0 else size
        if want == 0:
            return b""
        # One byte more than is left, so that a longer body is met, not cut.
        chunk = self._source.read(min(want, self._left + 1))
        if len(chunk) > self._left:
            raise self._wrong(f"has more than the {self._descriptor.size} bytes declared", "size-mismatch")
        self._left -= len(chunk)
        if chunk:
            if self._hasher is not None:
                self._hasher.update(chunk)
            return chunk
        if self._left:
            got = self._descriptor.size - self._left
            raise self._wrong(f"ended after {got} of {self._descriptor.size} bytes", "size-mismatch")
        if self._hasher is not None and (found := self._hasher.hexdigest()) != self._descriptor.digest.encoded:
            raise self._wrong(f"has other content ({self._descriptor.digest.algorithm}:{found})", "digest-mismatch")
        self._ended = True
        return b""

    def release(self) -> _Source | IO[bytes]:
        """What is read, for a reader above that verifies the whole; this one is not to be used any more."""
        return self._source

    def close(self) -> None:
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    def _wrong(self, what: str, code: str) -> IntegrityError:
        return IntegrityError(
            f"{self._descriptor.digest} {what}",
            code=code,
            where=self._where,
            hint="the content is damaged at its source or on the way; nothing was kept",
        )


class BytesReader:
    """A reader of bytes in memory, for small content that we hold anyway."""

    def __init__(self, content: bytes) -> None:
        self._view = memoryview(content)
        self._position = 0

    def read(self, size: int = -1, /) -> bytes:
        """The next `size` bytes; all that is left when negative."""
        end = len(self._view) if size < 0 else self._position + size
        chunk = bytes(self._view[self._position : end])
        self._position += len(chunk)
        return chunk

    def rewind(self) -> None:
        """Go on with the first byte."""
        self._position = 0

    def close(self) -> None:
        self._view = memoryview(b"")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()


def read_all(reader: _Source, limit: int) -> bytes:
    """All bytes of `reader`, at most `limit`; IntegrityError (code `too-large`) beyond it. For documents, not blobs."""
    chunks: list[bytes] = []
    total = 0
    while chunk := reader.read(CHUNK_BYTES):
        total += len(chunk)
        if total > limit:
            raise IntegrityError(f"the content is over the limit of {limit} bytes", code="too-large")
        chunks.append(chunk)
    return b"".join(chunks)
