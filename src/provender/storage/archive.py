"""An archive in a tar, read in place as the layout that it is, or that its images make: see `archive_contents`.

Storage layer, over `layout_view`, `tar_table` and `archive_volume`, which reads compressed archives. Read-only; nothing
is ever extracted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from copy import copy
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from provender.errors import Conflict, IntegrityError, InvalidDocument, NotFound, ProvenderError
from provender.oci import Descriptor, Digest, Document
from provender.oci.annotations import REF_NAME
from provender.storage.abilities import BlobReader
from provender.storage.archive_contents import (
    ArchiveKind,
    Contents,
    full_name,
    is_content,
    layout_contents,
    recognise,
    split_name,
)
from provender.storage.archive_volume import plain_volume
from provender.storage.layout_index import LayoutIndex
from provender.storage.layout_view import LayoutView
from provender.storage.split_files import stored_volume
from provender.storage.tar_table import Member, scan
from provender.storage.verify import CHUNK_BYTES, BytesReader
from provender.storage.volume import Cursor, Volume

__all__ = ["ArchiveStorage"]

_BY_DIGEST: Final = re.compile(r"sha(?:256|512)-")


class ArchiveStorage(LayoutView):
    """The layout in the tar at `path` (a file, or a first part of several), as it is now.

    An archive that is replaced later is noticed, not misread.

    A compressed archive that cannot be read at random takes a temporary file in `scratch` until `close`. Raises
    NotFound, InvalidDocument (code `not-a-layout`), Unsupported (an unknown compression, or another layout version) or
    IntegrityError (a hostile or damaged archive). `file` names the archive for people, whichever repository this is.
    """

    def __init__(self, path: Path, *, scratch: Path | None = None) -> None:
        super().__init__(f"layout:{path}")
        self.file = f"layout:{path}"
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

    def resolve(self, target: str) -> Document:
        """The document of a tag or digest; Conflict (`ambiguous-tag`) for a tag that differs between repositories."""
        self._refuse_ambiguous(target)
        return super().resolve(target)

    def digest_of(self, tag: str) -> Digest | None:
        """What a tag points to; None without the tag. Conflict as in `resolve`."""
        self._refuse_ambiguous(tag)
        return super().digest_of(tag)

    def repositories(self) -> Iterator[str]:
        """The repositories that the names of entries are of, `HOST/PATH`, sorted; none where names are tags alone."""
        return iter(sorted({split_name(name)[0] for each in self.entries if (name := full_name(each)) is not None}))

    def repository(self, name: str) -> Self:
        """One of the repositories, with its tags, over the same archive; NotFound without it.

        What has no name belongs to all of them: it is found by what it refers to.
        """
        entries = list(_of_repository(self.entries, name))
        if not any(full_name(each) is not None for each in entries):
            known = list(self.repositories())
            shown = ", ".join(known[:5]) + (f" and {len(known) - 5} more" if len(known) > 5 else "")
            raise NotFound(
                f"no repository {name[:200]!r} in the archive",
                code="repository-not-found",
                where=self._where,
                hint=f"it has {shown}" if known else "it has tags alone; name the file, and a tag",
            )
        view = copy(self)
        LayoutView.__init__(view, f"{self._where}/{name}")
        view._names = LayoutIndex.listed(_tagged(each) for each in entries)  # noqa: SLF001 - of the same class
        return view

    def is_current(self) -> bool:
        """True if the archive is still what it was when this was made, and this was not closed."""
        return self._volume.is_current()

    def blame(self) -> None:
        """After damage was met: raise an IntegrityError that says where it is, if the archive can tell."""
        self._volume.blame()

    def close(self) -> None:
        """Give back the temporary file, if there is one; what was opened is not to be used any more."""
        self._volume.close()

    def _refuse_ambiguous(self, tag: str) -> None:
        found = {
            split_name(name)[0]: each.digest
            for each in self.entries
            if (name := full_name(each)) is not None and split_name(name)[1] == tag
        }
        if len(set(found.values())) > 1:
            shown = ", ".join(f"{self._where}/{name}:{tag}" for name in sorted(found)[:3])
            raise Conflict(
                f"{len(found)} repositories of the archive have a tag {tag!r}, for different things",
                code="ambiguous-tag",
                where=self._where,
                hint=f"name one of them: {shown}",
            )

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


def _of_repository(entries: Iterable[Descriptor], name: str) -> Iterator[Descriptor]:
    """The entries of a repository, and those that have no name or one that a digest gave them."""
    for each in entries:
        full = full_name(each)
        if full is not None:
            if split_name(full)[0] == name:
                yield each
        elif _BY_DIGEST.match((each.annotations or {}).get(REF_NAME, "sha256-")):
            yield each


def _tagged(entry: Descriptor) -> Descriptor:
    """The entry with its tag as its name, or without a name if it has no tag."""
    full = full_name(entry)
    if full is None:
        return entry
    tag = split_name(full)[1]
    annotations = dict(entry.annotations or {})
    annotations.pop(REF_NAME, None)
    if tag is not None:
        annotations[REF_NAME] = tag
    return msgspec.structs.replace(entry, annotations=annotations or None)
