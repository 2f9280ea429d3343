"""Blobs as plain files: opened without following links, received through one verifying copy.

Storage layer, between `files` and the storages that keep blobs on a disk (layout, cache).
"""

from __future__ import annotations

import errno
import io
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from provender.errors import IntegrityError
from provender.oci import Descriptor
from provender.storage.abilities import BlobReader
from provender.storage.files import AtomicFile
from provender.storage.verify import CHUNK_BYTES, verifying

__all__ = ["ensure_directory", "open_regular", "receive"]

_NOFOLLOW: Final[int] = getattr(os, "O_NOFOLLOW", 0)
_DIRECTORY: Final[int] = getattr(os, "O_DIRECTORY", 0)
# O_NONBLOCK: opening a FIFO that somebody put there must not hang.
_FILE: Final[int] = (
    os.O_RDONLY | _NOFOLLOW | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
)
# What the system says of a link, of a component that is no directory, and of a socket.
_WRONG_KIND = frozenset({errno.ELOOP, errno.EMLINK, errno.ENOTDIR, errno.ENXIO})


def open_regular(root: Path, *parts: str) -> io.FileIO:
    """The regular file at `root/parts`, open for reading.

    No component below `root` may be a link: IntegrityError (code `not-a-regular-file`). FileNotFoundError without it.
    """
    try:
        fd = _open_below(root, parts) if os.open in os.supports_dir_fd else _open_checked(root, parts)
    except OSError as error:
        if error.errno in _WRONG_KIND:
            raise _not_regular(root.joinpath(*parts)) from error
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise _not_regular(root.joinpath(*parts))
    return io.FileIO(fd, "rb")


def ensure_directory(root: Path, *parts: str) -> Path:
    """The directory `root/parts`, made where it is missing; IntegrityError if a component below `root` is a link."""
    path = root
    for part in parts:
        path = path / part
        with suppress(FileExistsError):
            os.mkdir(path)
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise _not_regular(path)
    return path


def receive(
    reader: BlobReader,
    descriptor: Descriptor,
    path: Path,
    *,
    durable: bool,
    where: str,
    temporary: Path | None = None,
    unfinished: set[str] | None = None,
) -> None:
    """Copy `reader` to its end into a new file `path`; it appears only if size and digest are right.

    `temporary` and `unfinished` are as for `AtomicFile`.
    """
    verified = verifying(reader, descriptor, where=where)
    with AtomicFile(path, durable=durable, temporary=temporary, unfinished=unfinished) as file:
        while chunk := verified.read(CHUNK_BYTES):
            file.write(chunk)
        try:
            file.commit()
        except PermissionError:
            # Windows replaces no file that is open; whoever has it open was faster with the same bytes.
            if not path.is_file() or path.stat().st_size != descriptor.size:
                raise


def _open_below(root: Path, parts: tuple[str, ...]) -> int:
    directory = os.open(root, os.O_RDONLY | _DIRECTORY)
    try:
        for part in parts[:-1]:
            child = os.open(part, os.O_RDONLY | _DIRECTORY | _NOFOLLOW, dir_fd=directory)
            os.close(directory)
            directory = child
        return os.open(parts[-1], _FILE, dir_fd=directory)
    finally:
        os.close(directory)


def _open_checked(root: Path, parts: tuple[str, ...]) -> int:
    path = root
    for part in parts:
        path = path / part
        if stat.S_ISLNK(os.lstat(path).st_mode):
            raise _not_regular(path)
    return os.open(path, _FILE)


def _not_regular(path: Path) -> IntegrityError:
    return IntegrityError(
        f"{path.name} is a link or a special file, or lies behind one",
        code="not-a-regular-file",
        where=str(path),
        hint="content of a layout or cache is kept in regular files; copy the file there in place of the link",
    )
