"""zstd in independent frames with a table of them at the end, so that any stretch can be read without what is before.

Storage layer, between the archive's writer and its reader. The table is a skippable frame, as zstd's own "seekable
format" (zstd, contrib/seekable_format) defines it, so every zstd tool reads the whole; equal input and library give
equal bytes. A cursor holds one decompressed frame: 4 MiB of what we write, 16 MiB at most.
"""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_right
from itertools import accumulate
from types import TracebackType
from typing import Final, Protocol, Self, cast

from provender.errors import IntegrityError
from provender.storage.limits import DEFAULT_LIMITS
from provender.storage.volume import Cursor, Volume, read_exactly

__all__ = ["SeekableVolume", "SeekableWriter"]

_FRAME_BYTES: Final = 4 << 20
_MAX_FRAME_BYTES: Final = 16 << 20
_MAX_FRAMES: Final = 1 << 20
_SKIPPABLE: Final = 0x184D2A5E
_TABLE_MAGIC: Final = 0x8F92EAB1
_HEADER: Final = struct.Struct("<II")
_ENTRY: Final = struct.Struct("<II")
_FOOTER: Final = struct.Struct("<IBI")
_HAS_CHECKSUMS: Final = 0x80
_RESERVED: Final = 0x7C


class _Writable(Protocol):
    def write(self, content: bytes, /) -> object: ...


class SeekableWriter:
    """A writable that compresses; the last frame and the table are written when its block is left without an error."""

    def __init__(self, out: _Writable, *, level: int) -> None:
        self._out = out
        self._level = level
        self._pending = bytearray()
        self._frames: list[tuple[int, int]] = []

    def write(self, content: bytes, /) -> None:
        """Take `content`; whole frames go on."""
        self._pending += content
        while len(self._pending) >= _FRAME_BYTES:
            self._emit(bytes(self._pending[:_FRAME_BYTES]))
            del self._pending[:_FRAME_BYTES]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if kind is not None:
            return
        if self._pending:
            self._emit(bytes(self._pending))
        entries = b"".join(_ENTRY.pack(*frame) for frame in self._frames)
        table = entries + _FOOTER.pack(len(self._frames), 0, _TABLE_MAGIC)
        self._out.write(_HEADER.pack(_SKIPPABLE, len(table)) + table)

    def _emit(self, content: bytes) -> None:
        if len(self._frames) >= _MAX_FRAMES:
            raise IntegrityError(
                f"a compressed archive has at most {_MAX_FRAMES * _FRAME_BYTES >> 40} TiB",
                code="archive-too-large",
                hint="write it without compression",
            )
        compressed = _compressed(content, self._level)
        self._out.write(compressed)
        self._frames.append((len(compressed), len(content)))


class SeekableVolume:
    """What is in `inner`, decompressed frame by frame as it is read."""

    def __init__(self, inner: Volume, frames: tuple[array[int], array[int]]) -> None:
        self._inner = inner
        # Where each frame starts, compressed and not, and behind them the ends.
        self.starts, self.content_starts = frames

    @classmethod
    def of(cls, inner: Volume) -> Self | None:
        """The volume, if `inner` ends in a table that fits it; None otherwise.

        What the table says is checked frame by frame as they are read: each range has to be exactly one zstd frame of
        the size that is named, so nobody reads anything else from it front to back.
        """
        frames = _table(inner)
        return None if frames is None else cls(inner, frames)

    @property
    def size_bytes(self) -> int:
        """The decompressed size."""
        return self.content_starts[-1]

    def open(self) -> Cursor:
        """See `Volume.open`."""
        return _FrameCursor(self, self._inner.open())

    def is_current(self) -> bool:
        """See `Volume.is_current`."""
        return self._inner.is_current()

    def blame(self) -> None:
        """See `Volume.blame`."""
        self._inner.blame()

    def close(self) -> None:
        """See `Volume.close`."""
        self._inner.close()


class _FrameCursor:
    def __init__(self, volume: SeekableVolume, inner: Cursor) -> None:
        self._volume = volume
        self._inner = inner
        self._position = 0
        self._number = -1
        self._frame = memoryview(b"")

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._position = offset + (0, self._position, self._volume.size_bytes)[whence]
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        starts = self._volume.content_starts
        if not 0 <= self._position < starts[-1]:
            return b""
        number = bisect_right(starts, self._position) - 1
        if number != self._number:
            self._frame, self._number = memoryview(self._decompressed(number)), number
        at = self._position - starts[number]
        chunk = bytes(self._frame[at:] if size < 0 else self._frame[at : at + size])
        self._position += len(chunk)
        return chunk

    def close(self) -> None:
        self._inner.close()

    def _decompressed(self, number: int) -> bytes:
        start, end = self._volume.starts[number : number + 2]
        first, last = self._volume.content_starts[number : number + 2]
        self._inner.seek(start)
        raw = read_exactly(self._inner, end - start)
        decompressor = _decompressor()
        try:
            content = decompressor.decompress(raw, last - first + 1)
        except _error() as error:
            raise _damaged(number) from error
        if len(content) != last - first or not decompressor.eof or decompressor.unused_data:
            raise _damaged(number)
        return content


def _table(volume: Volume) -> tuple[array[int], array[int]] | None:
    end = volume.size_bytes - _FOOTER.size
    if end < _HEADER.size:
        return None
    cursor = volume.open()
    try:
        cursor.seek(end)
        count, descriptor, magic = _FOOTER.unpack(read_exactly(cursor, _FOOTER.size))
        if magic != _TABLE_MAGIC or descriptor & _RESERVED or not 0 < count <= _MAX_FRAMES:
            return None
        entry_bytes = _ENTRY.size + (4 if descriptor & _HAS_CHECKSUMS else 0)
        start = end - count * entry_bytes - _HEADER.size
        if start <= 0:
            return None
        cursor.seek(start)
        raw = read_exactly(cursor, _HEADER.size + count * entry_bytes)
    finally:
        cursor.close()
    if _HEADER.unpack(raw[: _HEADER.size]) != (_SKIPPABLE, count * entry_bytes + _FOOTER.size):
        return None
    sizes = [_ENTRY.unpack_from(raw, at) for at in range(_HEADER.size, len(raw), entry_bytes)]
    if any(not 0 < size <= _MAX_FRAME_BYTES or not packed <= 2 * _MAX_FRAME_BYTES for packed, size in sizes):
        return None
    starts = array("Q", accumulate((packed for packed, _ in sizes), initial=0))
    return (starts, array("Q", accumulate((size for _, size in sizes), initial=0))) if starts[-1] == start else None


def _damaged(number: int) -> IntegrityError:
    return IntegrityError(
        f"frame {number} of the compressed archive is damaged",
        code="corrupt",
        hint="make or fetch the archive again; nothing was read from it",
    )


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


def _decompressor() -> _Decompressor:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    window = DEFAULT_LIMITS.zstd_window_log
    made: _Decompressor = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: window})
    return made


def _compressed(content: bytes, level: int) -> bytes:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return bytes(zstd.compress(content, level=level))


def _error() -> type[Exception]:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return cast("type[Exception]", zstd.ZstdError)
