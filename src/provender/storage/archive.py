"""An archive in a tar, read in place as the layout that it is, or that its images make: see `archive_contents`.

Storage layer, over `layout_view`, `tar_table` and `archive_volume`, which reads compressed archives. Read-only; nothing
is ever extracted.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from provender.errors import IntegrityError, InvalidDocument, ProvenderError
from provender.oci import Descriptor, Digest
from provender.storage.abilities import BlobReader
from provender.storage.archive_contents import ArchiveKind, Contents, is_content, layout_contents, recognise
from provender.storage.archive_volume import plain_volume
from provender.storage.layout_index import LayoutIndex
from provender.storage.layout_view import LayoutView
from provender.storage.split_files import stored_volume
from provender.storage.tar_table import Member, scan
from provender.storage.verify import CHUNK_BYTES, BytesReader
from provender.storage.volume import Cursor, Volume

__all__ = ["ArchiveStorage"]


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
                    self._contents = self._read(cursor)
                finally:
                    cursor.close()
                self._names = self._contents.index
            except BaseException:
                self._volume.close()
                raise
        except ProvenderError as error:
            if isinstance(error, IntegrityError | InvalidDocument):
                stored.blame()
            error.at(self._where)
            raise

    @property
    def kind(self) -> ArchiveKind:
        """What the archive turned out to be."""
        return self._contents.kind

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
        made = self._contents.made.get(digest)
        if made is not None:
            return BytesReader(made[offset:]), len(made)
        member = self._contents.members.get(digest)
        if member is None:
            return None
        return self._part(member, offset), member.size

    def _read(self, cursor: Cursor) -> Contents:
        table = scan(cursor, is_content)
        kind = recognise(cursor, table, self._where)
        if kind == "docker":
            from provender.storage.docker_archive import docker_contents

            return docker_contents(cursor, table)
        if kind == "imgpkg":
            from provender.storage.imgpkg_tar import imgpkg_contents

            return imgpkg_contents(cursor, table)
        return layout_contents(cursor, table, kind, self._where)

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
