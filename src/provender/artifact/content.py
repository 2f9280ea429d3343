"""A file from anywhere laid into a tree: unpacked if it is an archive (tar, tar.gz, tar.zst, zip), else as it is.

Artifact layer, over the readers of archives and the tree writer. What a file is, its content says, not its name.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final, Literal

from provender.artifact.tar import TarReader, extract_tar
from provender.artifact.tree import TreeWriter
from provender.artifact.zip import ZIP_MAGICS, extract_zip
from provender.errors import IntegrityError
from provender.storage.abilities import BlobReader
from provender.storage.compression import open_stream
from provender.storage.limits import DEFAULT_LIMITS, Limits
from provender.storage.tar_header import is_header
from provender.storage.verify import CHUNK_BYTES

__all__ = ["Opener", "content_kind", "lay_content", "top_directory"]

Opener = Callable[[], AbstractContextManager[BlobReader]]
"""Opens the content at its beginning; may be called several times."""

_SNIFF_BYTES: Final = 512


def lay_content(
    opener: Opener,
    writer: TreeWriter,
    name: tuple[str, ...],
    *,
    mode: Literal["auto", "extract", "copy"],
    size_bytes: int,
    sha256: str = "",
    limits: Limits = DEFAULT_LIMITS,
    origin: str,
    strip: tuple[str, ...] = (),
) -> None:
    """Lay the content of `size_bytes`: unpacked, without the prefix `strip`, or as the file `name`.

    `sha256` says that the reader verifies it. With `extract` it has to be an archive: IntegrityError (code
    `no-archive`) if it is none.
    """
    found = "file" if mode == "copy" else content_kind(opener, limits, origin)
    if found == "file" and mode == "extract":
        raise IntegrityError(
            "the content is no tar and no zip archive, but is to be unpacked",
            code="no-archive",
            where=origin,
            hint="write 'mode: copy' to have the file as it is",
        )
    with opener() as reader:
        if found == "tar":
            stream = open_stream(reader, None, limits, where=origin)
            extract_tar(stream, writer, limits=limits, origin=origin, strip=strip)
            stream.drain()
        elif found == "zip":
            _lay_zip(reader, writer, limits=limits, origin=origin, size_bytes=size_bytes)
        else:
            writer.file(name, reader, executable=False, size=size_bytes, sha256=sha256, origin=origin)
            _drain(reader)


def top_directory(opener: Opener, *, limits: Limits = DEFAULT_LIMITS, origin: str) -> tuple[str, ...]:
    """The first component of the first member of a tar that has one; empty without any, and for what is no tar."""
    if content_kind(opener, limits, origin) != "tar":
        return ()
    with opener() as reader:
        members = TarReader(open_stream(reader, None, limits, where=origin), limits=limits, where=origin)
        while (member := members.next()) is not None:
            if member.path:
                return (member.path.partition("/")[0],)
    return ()


def content_kind(opener: Opener, limits: Limits, origin: str) -> Literal["tar", "zip", "file"]:
    """What the content is: a tar, compressed or not, a zip, or just a file."""
    with opener() as reader:
        first = reader.read(len(ZIP_MAGICS[0]))
    if first.startswith(ZIP_MAGICS):
        return "zip"
    with opener() as reader:
        try:
            is_tar = is_header(open_stream(reader, None, limits, where=origin).peek(_SNIFF_BYTES))
        except IntegrityError as error:
            if error.code in ("digest-mismatch", "size-mismatch"):
                raise  # the verdict on the content itself, not on its form
            return "file"
    return "tar" if is_tar else "file"


def _lay_zip(reader: BlobReader, writer: TreeWriter, *, limits: Limits, origin: str, size_bytes: int) -> None:
    """A zip is read from its end: all of it has to be there, and verified, first."""
    with tempfile.TemporaryFile(prefix="provender-zip-") as file:
        while chunk := reader.read(CHUNK_BYTES):
            file.write(chunk)
        file.seek(0)
        extract_zip(file, writer, limits=limits, origin=origin, size_bytes=size_bytes)


def _drain(reader: BlobReader) -> None:
    while reader.read(CHUNK_BYTES):
        pass
