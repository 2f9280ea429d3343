"""The layers of an image as files, by imgpkg's rules: regular files alone, whiteouts, and modes of its own.

Lower layers come first and upper ones win, as everywhere (imgpkg has it the other way round, which its images, of one
layer each, never show). Links are left out, as there; owners and times are not taken over.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import Final

from provender.artifact.compression import open_stream
from provender.artifact.limits import DEFAULT_LIMITS, Limits
from provender.artifact.tar import Member, TarReader
from provender.artifact.unpack import fetch_content
from provender.dialects.vendir.fetch import Work
from provender.errors import IntegrityError, ProvenderError
from provender.oci import Descriptor
from provender.storage.abilities import Fetcher
from provender.transfer.progress import WatchedReader

__all__ = ["lay_image", "mode_of"]

_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"


def lay_image(layers: Sequence[Descriptor], fetcher: Fetcher, root: str, work: Work) -> None:
    """Put the files of all layers into the empty directory `root`. Raises IntegrityError for a hostile archive."""
    os.chmod(root, 0o777 & ~work.umask)
    writer = _Writer(root, work.umask, DEFAULT_LIMITS)
    for number, layer in enumerate(layers, start=1):
        work.cancellation.check()
        task = work.progress.start(layer.digest.short, layer.size)
        try:
            with (
                fetch_content(fetcher, layer) as source,
                WatchedReader(source, work.progress, task, work.cancellation) as reader,
            ):
                stream = open_stream(reader, None, where=f"layer {number} {layer.digest}")
                archive = TarReader(stream, where=f"layer {number} {layer.digest}")
                writer.take(archive)
                stream.drain()
        except ProvenderError as error:
            error.at(f"layer {number} {layer.digest}")
            raise
        work.progress.done(task)


def mode_of(mode: int) -> int:
    """The mode that imgpkg gives a file: the owner's bits for all, unless the archive gives others any."""
    owner = mode & 0o700
    return mode & 0o777 if mode & 0o077 else owner | owner >> 3 | owner >> 6


class _Writer:
    """Writes members below `root`, where no links ever are."""

    def __init__(self, root: str, umask: int, limits: Limits) -> None:
        self._root = root
        self._umask = umask
        self._limits = limits
        self._entries = 0
        self._bytes = 0

    def take(self, archive: TarReader) -> None:
        """All members of one layer, over those of the layers below."""
        mine: set[str] = set()
        while (member := archive.next()) is not None:
            self._spend(member)
            parent, _, name = member.path.rpartition("/")
            if name == _OPAQUE:
                self._clear(parent, mine)
            elif name.startswith(_WHITEOUT):
                self._remove(os.path.join(parent, name.removeprefix(_WHITEOUT)))
            elif member.kind == "directory":
                self._make(member.path)
            elif member.kind == "file":
                self._write(member, archive)
                mine.add(member.path)

    def _write(self, member: Member, archive: TarReader) -> None:
        parent, _, _ = member.path.rpartition("/")
        self._make(parent)
        path = os.path.join(self._root, member.path)
        if os.path.isdir(path):
            shutil.rmtree(path)
        elif os.path.lexists(path):
            os.unlink(path)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
        with open(fd, "wb", buffering=0) as file:
            content = archive.content()
            file.writelines((content,) if isinstance(content, bytes) else content)
            os.fchmod(fd, mode_of(member.mode) & ~self._umask)

    def _make(self, relative: str) -> None:
        path = self._root
        for part in relative.split("/") if relative else ():
            path = os.path.join(path, part)
            if os.path.isdir(path):
                continue
            if os.path.lexists(path):
                os.unlink(path)
            os.mkdir(path)
            os.chmod(path, 0o777 & ~self._umask)

    def _remove(self, relative: str) -> None:
        path = os.path.join(self._root, relative)
        if os.path.isdir(path):
            shutil.rmtree(path)
        elif os.path.lexists(path):
            os.unlink(path)

    def _clear(self, relative: str, mine: set[str]) -> None:
        """Take away what lower layers have in a directory; files of this layer stay."""
        top = os.path.join(self._root, relative)
        for place, _, names in os.walk(top, topdown=False):
            for name in names:
                path = os.path.join(place, name)
                if os.path.relpath(path, self._root) not in mine:
                    os.unlink(path)
            if place != top and not os.listdir(place):
                os.rmdir(place)

    def _spend(self, member: Member) -> None:
        self._entries += 1
        self._bytes += member.size
        if self._entries > self._limits.entries or self._bytes > self._limits.total_bytes:
            raise IntegrityError(
                "the image has more files or bytes than any real one",
                code="too-large",
                hint="nothing was kept; ask whoever published it",
            )
