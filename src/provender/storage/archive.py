"""An OCI image layout inside a plain tar, read in place: `docker save`, `oras backup`, `skopeo copy oci-archive:`.

Storage layer, over `layout_view` and `tar_table`. Read-only; nothing is ever extracted.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from provender.errors import IntegrityError, NotFound, ProvenderError, Unsupported
from provender.oci import Descriptor, Digest
from provender.storage.abilities import BlobReader
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
from provender.storage.tar_table import Member, scan
from provender.storage.verify import CHUNK_BYTES, read_all

__all__ = ["ArchiveStorage"]

_BLOB: Final = re.compile(r"blobs/(?:sha256/[0-9a-f]{64}|sha512/[0-9a-f]{128})")

_Identity = tuple[int, int, int, int]


class ArchiveStorage(LayoutView):
    """The layout in the tar at `path`, as it is now; an archive that is replaced later is noticed, not misread.

    Raises NotFound, InvalidDocument (code `not-a-layout`), Unsupported (compressed, or another layout version) or
    IntegrityError (a hostile or damaged archive).
    """

    def __init__(self, path: Path) -> None:
        super().__init__(f"layout:{path}")
        self._path = path
        try:
            with open(path, "rb", buffering=0) as file:
                self._identity = self._checked(file)
                self._table = scan(file, _is_wanted)
            self._names = self._read_index()
        except FileNotFoundError as error:
            raise NotFound(
                f"no such file: {path}", code="layout-not-found", where=self._where, hint="check the path"
            ) from error
        except ProvenderError as error:
            error.at(self._where)
            raise

    @property
    def entries(self) -> tuple[Descriptor, ...]:
        """What `index.json` lists, in its order, annotations and all."""
        return self._names.descriptors

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
        file = open(self._path, "rb", buffering=0)  # noqa: SIM115 - the part owns it
        try:
            if self._checked(file) != self._identity:
                raise IntegrityError(
                    "the archive was changed while it was in use",
                    code="archive-changed",
                    where=self._where,
                    hint="run again when it is complete",
                )
            file.seek(member.offset + offset)
        except (OSError, ProvenderError):
            file.close()
            raise
        return _Part(file, max(member.size - offset, 0))

    def _checked(self, file: IO[bytes]) -> _Identity:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise Unsupported(
                "an archive is read at random, which needs a regular file",
                code="not-a-regular-file",
                where=self._where,
                hint="save the archive to a file first",
            )
        return status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev


class _Part:
    """A reader of a stretch of a file, which it closes."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._left = size

    def read(self, size: int = -1, /) -> bytes:
        want = CHUNK_BYTES if size < 0 else size
        chunk = self._file.read(min(want, self._left))
        self._left -= len(chunk)
        return chunk

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()


def _is_wanted(name: str) -> bool:
    return name in (LAYOUT_FILE, INDEX_FILE) or _BLOB.fullmatch(name) is not None
