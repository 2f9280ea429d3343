"""Compressed content as a stream of what is in it: gzip and zstd, in constant memory, with caps against bombs.

Storage layer. Strict: a damaged or cut stream, and anything but further members (or, for gzip, zero padding) after the
last one, is an error, so that no two readers may see different content in the same bytes.
"""

from __future__ import annotations

import sys
import zlib
from typing import Final, Literal, Protocol, cast

from provender.errors import IntegrityError
from provender.storage.limits import DEFAULT_LIMITS, Limits

__all__ = ["Compression", "Stream", "open_stream", "sniff"]

Compression = Literal["none", "gzip", "zstd"]

_CHUNK_BYTES: Final = 1 << 20
# A member's first piece is small, then they grow: what a decompressor leaves over is copied, and a hostile stream may
# be made of nothing but tiny members.
_FIRST_FEED_BYTES: Final = 1 << 12
_FEED_BYTES: Final = 1 << 18
_GZIP_HEADER_BYTES: Final = 1 << 20
_GZIP_MAGIC: Final = b"\x1f\x8b"
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE: Final = b"\x2a\x4d\x18"


class _Reader(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes | memoryview, max_length: int) -> bytes: ...


def sniff(prefix: bytes) -> Compression | Literal["tar"] | None:
    """What content starts like this (give it 512 bytes or more): a compression, an uncompressed tar, or None."""
    if prefix.startswith(_GZIP_MAGIC):
        return "gzip"
    if prefix.startswith(_ZSTD_MAGIC) or _is_skippable(prefix):
        return "zstd"
    from provender.storage.tar_header import is_header

    return "tar" if is_header(prefix[:512]) else None


def open_stream(
    reader: _Reader, compression: Compression | None, limits: Limits = DEFAULT_LIMITS, *, where: str = ""
) -> Stream:
    """A stream of what is in `reader`; without a `compression` its first bytes decide between the three."""
    return Stream(reader, compression, limits, where=where)


class Stream:
    """Decompressed content. `read` raises IntegrityError for damaged, cut or over-large content.

    The end is only given (`b""`) once the underlying reader gave its own, so a reader that verifies has verified by
    then. Whoever needs no more content calls `drain`.
    """

    def __init__(
        self, reader: _Reader, compression: Compression | None, limits: Limits = DEFAULT_LIMITS, *, where: str = ""
    ) -> None:
        self._reader = reader
        self._limits = limits
        self._where = where or None
        # Input from `_at` on is still to be fed.
        self._input = memoryview(b"")
        self._at = 0
        self._ahead = b""
        self._decompressor: _Decompressor | None = None
        self._feed = 0
        self._members = 0
        self._taken = 0
        self._given = 0
        self.compression: Compression = compression if compression is not None else self._sniff()

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes (1 MiB when negative); `b""` at the end."""
        want = _CHUNK_BYTES if size < 0 else size
        if want == 0:
            return b""
        if self._ahead:
            piece, self._ahead = self._ahead[:want], self._ahead[want:]
            return piece
        piece = self._copy(want) if self.compression == "none" else self._decompress(want)
        self._given += len(piece)
        if self._given > self._limits.ratio_after_bytes:
            self._check()
        return piece

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end, without taking them."""
        pieces = [self._ahead]
        have = len(self._ahead)
        self._ahead = b""
        while have < size and (piece := self.read(size - have)):
            pieces.append(piece)
            have += len(piece)
        self._ahead = b"".join(pieces)
        return self._ahead[:size]

    def drain(self) -> None:
        """Reads to the end, so that everything below has been checked."""
        while self.read(_CHUNK_BYTES):
            pass

    def _sniff(self) -> Compression:
        found = sniff(self._need(len(_ZSTD_MAGIC)))
        return found if found in ("gzip", "zstd") else "none"

    def _fill(self) -> bool:
        """True if there is input; reads more when there is none left."""
        if self._at >= len(self._input):
            self._input, self._at = memoryview(self._reader.read(_CHUNK_BYTES)), 0
        return len(self._input) > 0

    def _copy(self, want: int) -> bytes:
        if self._at < len(self._input):
            piece = bytes(self._input[self._at : self._at + want])
            self._at += len(piece)
        else:
            piece = self._reader.read(want)
        self._taken += len(piece)
        return piece

    def _decompress(self, want: int) -> bytes:
        while True:
            if self._decompressor is None and not self._begin():
                return b""
            piece = self._step(want)
            if piece:
                return piece

    def _begin(self) -> bool:
        """True with a decompressor for the next member; False at the end of everything."""
        more = self._fill()
        if self._members:
            if not more:
                return False
            if self.compression == "gzip" and self._input[self._at] == 0:
                return self._skip_padding()
        self._members += 1
        if self.compression == "gzip":
            self._skip_gzip_header()
        if self._members > self._limits.members:
            raise self._wrong(f"has more than {self._limits.members} {self.compression} members", "decompression-bomb")
        self._decompressor = _gzip() if self.compression == "gzip" else _zstd(self._limits.zstd_window_log)
        self._feed = _FIRST_FEED_BYTES
        return True

    def _skip_gzip_header(self) -> None:
        """Takes a member's header (RFC 1952, 2.3): ISA-L fails on one that comes in two pieces."""
        header = self._need(10)
        flags = header[3] if len(header) == 10 else 0
        if len(header) < 10 or not header.startswith(_GZIP_MAGIC) or header[2] != 8 or flags & 0xE0:
            code = "trailing-data" if self._members > 1 else "corrupt"
            raise self._wrong("is not gzip where a gzip member has to start", code)
        end = 10
        if flags & 4:  # FEXTRA
            end = 12 + int.from_bytes(self._need(12)[10:], "little")
        for flag in (8, 16):  # FNAME, FCOMMENT
            if flags & flag:
                end = self._after_zero(end)
        if flags & 2:  # FHCRC
            end += 2
        header = self._need(end)
        if len(header) < end:
            raise self._wrong("ends in the middle of a gzip header", "truncated")
        if flags & 2 and zlib.crc32(header[:-2]) & 0xFFFF != int.from_bytes(header[-2:], "little"):
            raise self._wrong("has a damaged gzip header", "corrupt")
        self._at += end
        self._taken += end

    def _after_zero(self, start: int) -> int:
        """Where the zero-terminated text that starts at `start` of the input ends."""
        size = start + 256
        while (found := (held := self._need(size)).find(b"\0", start)) < 0:
            if len(held) < size or size > _GZIP_HEADER_BYTES:
                raise self._wrong("has a gzip header without end", "corrupt")
            size *= 2
        return found + 1

    def _need(self, size: int) -> bytes:
        """The next `size` bytes of input, fewer at its end; they are not taken."""
        while len(self._input) - self._at < size and (chunk := self._reader.read(_CHUNK_BYTES)):
            self._input, self._at = memoryview(bytes(self._input[self._at :]) + chunk), 0
        return bytes(self._input[self._at : self._at + size])

    def _skip_padding(self) -> bool:
        while self._fill():
            if bytes(self._input[self._at :]).strip(b"\0"):
                raise self._wrong("has something after its end that is not gzip", "trailing-data")
            self._at = len(self._input)
        return False

    def _step(self, want: int) -> bytes:
        """One call of the decompressor; what came out, possibly nothing."""
        decompressor = self._decompressor
        if decompressor is None:
            return b""
        data = memoryview(b"")
        if decompressor.needs_input:
            if not self._fill():
                raise self._wrong(f"ends in the middle of its {self.compression} stream", "truncated")
            data = self._input[self._at : self._at + self._feed]
            self._feed = min(self._feed * 4, _FEED_BYTES)
            self._at += len(data)
            self._taken += len(data)
        try:
            piece = decompressor.decompress(data, want)
        except _errors(self.compression) as error:
            raise self._wrong(f"is not a valid {self.compression} stream ({error})", "corrupt") from error
        if decompressor.eof:
            self._decompressor = None
            # It asked for input only when it had used all before, so what is left over is of the last piece.
            left = len(decompressor.unused_data)
            self._at -= left
            self._taken -= left
        return piece

    def _check(self) -> None:
        if self._given > self._limits.ratio * self._taken:
            raise self._wrong(f"decompresses to more than {self._limits.ratio} times its size", "decompression-bomb")
        if self._given > self._limits.stream_bytes:
            raise self._wrong(f"decompresses to more than {self._limits.stream_bytes} bytes", "decompression-bomb")

    def _wrong(self, what: str, code: str) -> IntegrityError:
        return IntegrityError(
            f"the content {what}",
            code=code,
            where=self._where,
            hint="nothing was kept; the artifact is broken or hostile",
        )


def _is_skippable(prefix: bytes) -> bool:
    return prefix[1:4] == _ZSTD_SKIPPABLE and prefix[0] & 0xF0 == 0x50


def _gzip() -> _Decompressor:
    from isal import igzip_lib

    made: _Decompressor = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP_NO_HDR_VER)
    return made


def _zstd(window_log: int) -> _Decompressor:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    made: _Decompressor = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: window_log})
    return made


def _errors(compression: Compression) -> type[Exception]:
    if compression == "gzip":
        from isal import igzip_lib

        # The type stub takes the class for an instance.
        return cast("type[Exception]", igzip_lib.IsalError)
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return cast("type[Exception]", zstd.ZstdError)
