"""The bytes of an archive as a plain tar that can be read at random, however they are stored.

Storage layer, below the readers of archives. A plain tar is read in place, and so is zstd with a table of its frames,
as we write it. Any other compression can only be read front to back, while blobs are asked for in any order: such an
archive is decompressed once into a temporary file, which is compressed again on its way, quickly and with a table. So
the temporary file is about as large as the archive, never as large as its content; twice the archive's size is the
bound, and what would get larger is refused. The file lies beside the cache, has no name, and is gone with the process.
"""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import IO, Final

import msgspec

from provender.errors import IntegrityError, Unsupported
from provender.storage.compression import open_stream, sniff
from provender.storage.limits import DEFAULT_LIMITS, Limits
from provender.storage.seekable_zstd import SeekableVolume, SeekableWriter
from provender.storage.volume import Cursor, Volume, read_exactly

__all__ = ["plain_volume"]

_SPOOL_LEVEL: Final = 1
_SPOOL_FACTOR: Final = 2
_LEAST_SPOOL_BYTES: Final = 16 << 20
_CHUNK_BYTES: Final = 1 << 20
# What comes out is not laid on the disk: these bound the time alone. gzip cannot do better than 1032.
_LIMITS: Final[Limits] = msgspec.structs.replace(
    DEFAULT_LIMITS, stream_bytes=4 << 40, ratio=1100, ratio_after_bytes=1 << 30
)
_OTHERS: Final = {b"BZh": ("bzip2", "bunzip2"), b"\xfd7zXZ\0": ("xz", "unxz"), b"\x04\x22\x4d\x18": ("lz4", "unlz4")}


def plain_volume(stored: Volume, *, scratch: Path | None = None, where: str = "") -> Volume:
    """What `stored` has, decompressed. `scratch` is where a temporary file may lie, made if it is not there.

    Raises Unsupported (`compressed-archive`) for compressions that are not known, IntegrityError for a damaged stream
    and for one that is a bomb or needs too large a temporary file (`archive-too-large`).
    """
    cursor = stored.open()
    try:
        start = read_exactly(cursor, 512)
    finally:
        cursor.close()
    for magic, (name, command) in _OTHERS.items():
        if start.startswith(magic):
            raise Unsupported(
                f"the archive is compressed with {name}, which is not read in place",
                code="compressed-archive",
                where=where or None,
                hint=f"decompress it first, with {command}; gzip and zstd are read as they are",
            )
    if sniff(start) not in ("gzip", "zstd"):
        return stored
    return SeekableVolume.of(stored) or _spooled(stored, scratch, where)


def _spooled(stored: Volume, scratch: Path | None, where: str) -> Volume:
    if scratch is not None:
        scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = tempfile.TemporaryFile(dir=scratch, prefix=".archive.", suffix=".tmp")  # noqa: SIM115 - the volume owns it
    try:
        limit = max(_SPOOL_FACTOR * stored.size_bytes, _LEAST_SPOOL_BYTES)
        spool = _Spool(file, stored, limit)
        cursor = stored.open()
        try:
            stream = open_stream(cursor, None, _LIMITS, where=where)
            with SeekableWriter(spool, level=_SPOOL_LEVEL) as writer:
                while chunk := stream.read(_CHUNK_BYTES):
                    writer.write(chunk)
        finally:
            cursor.close()
        file.flush()
        spooled = SeekableVolume.of(spool)
    except BaseException:
        file.close()
        raise
    if spooled is None:  # nothing came out
        file.close()
        raise IntegrityError("the archive is empty", code="archive-truncated", where=where or None)
    return spooled


class _Spool:
    """The temporary file: written once, then a volume that threads share. It is as current as what it came from."""

    def __init__(self, file: IO[bytes], origin: Volume, limit: int) -> None:
        self._file = file
        self._origin = origin
        self._limit = limit
        self._size = 0
        self._lock = threading.Lock()

    @property
    def size_bytes(self) -> int:
        return self._size

    def write(self, content: bytes, /) -> None:
        self._size += len(content)
        if self._size > self._limit:
            raise IntegrityError(
                f"reading the archive in place takes more than {self._limit} bytes of temporary disk",
                code="archive-too-large",
                hint="decompress it first; a plain tar needs no temporary disk",
            )
        self._file.write(content)

    def open(self) -> Cursor:
        return _SpoolCursor(self)

    def read_at(self, offset: int, size: int) -> bytes:
        with self._lock:
            self._file.seek(offset)
            return self._file.read(size)

    def is_current(self) -> bool:
        return not self._file.closed and self._origin.is_current()

    def blame(self) -> None:
        self._origin.blame()

    def close(self) -> None:
        with self._lock:
            self._file.close()


class _SpoolCursor:
    def __init__(self, spool: _Spool) -> None:
        self._spool = spool
        self._position = 0

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._position = offset + (0, self._position, self._spool.size_bytes)[whence]
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        chunk = self._spool.read_at(self._position, _CHUNK_BYTES if size < 0 else size)
        self._position += len(chunk)
        return chunk

    def close(self) -> None:
        pass
