"""Zip archives unpacked into a tree, member by member, with the same checks of names, links and sizes as tars.

Artifact layer, over the tree writer. The directory of a zip stands at its end, so it is read from a file.
"""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Final

from provender.artifact.names import shown, split_path
from provender.artifact.tree import TreeWriter
from provender.errors import IntegrityError, Unsupported
from provender.storage.limits import DEFAULT_LIMITS, Limits

__all__ = ["ZIP_MAGICS", "extract_zip"]

ZIP_MAGICS: Final = (b"PK\x03\x04", b"PK\x05\x06")
_CHUNK_BYTES: Final = 1 << 20
_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ENCRYPTED: Final = 0x1
_MAX_LINK_BYTES: Final = 4096
_UNIX: Final = 3
_HINT: Final = "nothing was unpacked; the archive is damaged or hostile"


def extract_zip(
    file: IO[bytes], writer: TreeWriter, *, limits: Limits = DEFAULT_LIMITS, origin: str, size_bytes: int
) -> None:
    """Unpack all of the zip in `file`, which has `size_bytes`, into `writer`.

    Raises IntegrityError for a damaged or hostile archive, Unsupported for an encrypted one or another compression than
    deflate.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            _check_totals(members, limits, size_bytes, origin)
            for member in members:
                _extract(archive, member, writer, limits, origin)
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError) as error:
        raise IntegrityError(
            f"the zip archive cannot be read: {error}", code="bad-archive", where=origin, hint=_HINT
        ) from error


def _check_totals(members: list[zipfile.ZipInfo], limits: Limits, size_bytes: int, origin: str) -> None:
    total = sum(member.file_size for member in members)
    is_bomb = total > limits.ratio_after_bytes and total > limits.ratio * max(size_bytes, 1)
    if len(members) > limits.entries or total > limits.total_bytes or is_bomb:
        raise IntegrityError(
            f"the zip archive of {size_bytes} bytes says that it holds {len(members)} members of {total} bytes",
            code="decompression-bomb",
            where=origin,
            hint=_HINT,
        )


def _extract(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, writer: TreeWriter, limits: Limits, origin: str
) -> None:
    name = member.filename
    if "\\" in member.orig_filename or "\0" in member.orig_filename:
        raise IntegrityError(
            f"the name {shown(member.orig_filename)} has a backslash or a NUL",
            code="bad-name",
            where=origin,
            hint=_HINT,
        )
    if name.endswith("/"):
        if name.strip("./"):
            writer.directory(split_path(name.rstrip("/"), where=origin, limits=limits), origin=origin)
        return
    parts = split_path(name, where=origin, limits=limits)
    if member.flag_bits & _ENCRYPTED or member.compress_type not in _METHODS:
        raise Unsupported(
            f"{shown(name)} is {'encrypted' if member.flag_bits & _ENCRYPTED else 'compressed in an unknown way'}",
            code="unsupported-zip",
            where=origin,
            exit_status=65,
            hint="pack it again with deflate and without a password",
        )
    mode = member.external_attr >> 16 if member.create_system == _UNIX else 0
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFLNK:
        if member.file_size > _MAX_LINK_BYTES:
            raise IntegrityError(f"the link {shown(name)} is too long", code="bad-link", where=origin, hint=_HINT)
        with archive.open(member) as content:
            target = content.read(_MAX_LINK_BYTES + 1)
        writer.symlink(parts, _text(target, origin), origin=origin)
        return
    if kind not in (0, stat.S_IFREG):
        raise IntegrityError(f"{shown(name)} is a special file", code="special-file", where=origin, hint=_HINT)
    is_executable = bool(mode & stat.S_IXUSR)
    writer.file(parts, _pieces(archive, member), executable=is_executable, size=member.file_size, origin=origin)


def _pieces(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    with archive.open(member) as content:
        while chunk := content.read(_CHUNK_BYTES):
            yield chunk


def _text(raw: bytes, origin: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise IntegrityError("the target of a link is not UTF-8", code="bad-link", where=origin, hint=_HINT) from error
