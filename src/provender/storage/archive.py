"""An OCI image layout inside a tar, read in place: ours, `oras backup`, `skopeo copy oci-archive:`, new `docker save`.

Storage layer, over `layout_view`, `tar_table` and `archive_volume`, which reads compressed archives. Read-only; nothing
is ever extracted.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from provender.errors import IntegrityError, InvalidDocument, ProvenderError
from provender.oci import Descriptor, Digest
from provender.storage.abilities import BlobReader
from provender.storage.archive_volume import plain_volume
from provender.storage.layout_index import (
    INDEX_FILE,
    LAYOUT_FILE,
    MAX_INDEX_BYTES,
    MAX_LAYOUT_FILE_BYTES,
    LayoutIndex,
    check_layout_version,
    not_a_layout,
)
from provender.storage.layout_view import LayoutView
from provender.storage.split_files import stored_volume
from provender.storage.tar_table import Member, scan
from provender.storage.verify import CHUNK_BYTES, read_all
from provender.storage.volume import Cursor, Volume

__all__ = ["ArchiveStorage"]

_BLOB: Final = re.compile(r"blobs/(?:sha256/[0-9a-f]{64}|sha512/[0-9a-f]{128})")


class ArchiveStorage(LayoutView):
    """The layout in the tar at `path` (a file, or a first part of several), as it is now.

    An archive that is replaced later is noticed, not misread.

    A compressed archive that cannot be read at random takes a temporary file in `scratch` until `close`. Raises
    NotFound, InvalidDocument (code `not-a-layout`), Unsupported (an unknown compression, or another layout version) or
    IntegrityError (a hostile or damaged archive).
    """

    def __init__(self, path: Path, *, scratch: Path | None = None) -> None:
        super().__init__(f"layout:{path}")
        stored: Volume = stored_volume(path, where=self._where)
        try:
            self._volume = plain_volume(stored, scratch=scratch, where=self._where)
            try:
                cursor = self._volume.open()
                try:
                    self._table = scan(cursor, _is_wanted)
                finally:
                    cursor.close()
                self._names = self._read_index()
            except BaseException:
                self._volume.close()
                raise
        except ProvenderError as error:
            if isinstance(error, IntegrityError | InvalidDocument):
                stored.blame()
            error.at(self._where)
            raise

    @property
    def entries(self) -> tuple[Descriptor, ...]:
        """What `index.json` lists, in its order, annotations and all."""
        return self._names.descriptors

    def is_current(self) -> bool:
        """True if the archive is still what it was when this was made, and this was not closed."""
        return self._volume.is_current()

    def blame(self) -> None:
        """After damage was met: raise an IntegrityError that says where it is, if the archive can tell."""
        self._volume.blame()

    def close(self) -> None:
        """Give back the temporary file, if there is one; what was opened is not to be used any more."""
        self._volume.close()

    def _index(self) -> LayoutIndex:
        return self._names

    def _open(self, digest: Digest, offset: int = 0) -> tuple[BlobReader, int] | None:
        member = self._table.get(f"blobs/{digest.algorithm}/{digest.encoded}")
        if member is None:
            return None
        return self._part(member, offset), member.size

    def _read_index(self) -> LayoutIndex:
        check_layout_version(self._small_file(LAYOUT_FILE, MAX_LAYOUT_FILE_BYTES), self._where)
        return LayoutIndex.parse(self._small_file(INDEX_FILE, MAX_INDEX_BYTES))

    def _small_file(self, name: str, limit: int) -> bytes:
        member = self._table.get(name)
        if member is None:
            raise not_a_layout(self._where, f"the archive has no {name}")
        with self._part(member, 0) as part:
            return read_all(part, limit)

    def _part(self, member: Member, offset: int) -> _Part:
        cursor = self._volume.open()
        cursor.seek(member.offset + offset)
        return _Part(cursor, max(member.size - offset, 0))


class _Part:
    """A reader of a stretch of a volume, which closes its cursor."""

    def __init__(self, cursor: Cursor, size: int) -> None:
        self._cursor = cursor
        self._left = size

    def read(self, size: int = -1, /) -> bytes:
        want = CHUNK_BYTES if size < 0 else size
        chunk = self._cursor.read(min(want, self._left))
        self._left -= len(chunk)
        return chunk

    def close(self) -> None:
        self._cursor.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()


def _is_wanted(name: str) -> bool:
    return name in (LAYOUT_FILE, INDEX_FILE) or _BLOB.fullmatch(name) is not None
