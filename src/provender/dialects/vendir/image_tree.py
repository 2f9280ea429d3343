"""The layers of an image as files, by imgpkg's rules: regular files alone, and modes of its own.

Lower layers come first and upper ones win, as everywhere (imgpkg has it the other way round, which its images, of one
layer each, never show). Links are left out, as there; owners and times are not taken over.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from provender.artifact.image import stack_layers
from provender.artifact.tar import Member
from provender.dialects.vendir.fetch import Work
from provender.errors import IntegrityError
from provender.oci import Descriptor
from provender.storage.abilities import Fetcher
from provender.storage.limits import DEFAULT_LIMITS, Limits

__all__ = ["lay_image", "mode_of"]

# A vendir.yml is for the system that it is synced on: man pages such as `A::B.3` are fine there.
_LIMITS: Final = msgspec.structs.replace(DEFAULT_LIMITS, has_portable_names=False)


def lay_image(layers: Sequence[Descriptor], fetcher: Fetcher, root: str, work: Work) -> None:
    """Put the files of all layers into the empty directory `root`. Raises IntegrityError for a hostile archive."""
    os.chmod(root, 0o777 & ~work.umask)
    stack_layers(
        layers,
        fetcher,
        _Files(root, work.umask, _LIMITS),
        limits=_LIMITS,
        has_links=False,
        progress=work.progress,
        cancellation=work.cancellation,
    )


def mode_of(mode: int) -> int:
    """The mode that imgpkg gives a file: the owner's bits for all, unless the archive gives others any."""
    owner = mode & 0o700
    return mode & 0o777 if mode & 0o077 else owner | owner >> 3 | owner >> 6


class _Files:
    """Writes files below `root`, where no links ever are."""

    def __init__(self, root: str, umask: int, limits: Limits) -> None:
        self._root = root
        self._umask = umask
        self._limits = limits
        self._bytes = 0

    def directory(self, path: str, *, origin: str) -> None:
        """A directory with its parents; one that is there is fine."""
        del origin
        place = self._root
        for part in path.split("/") if path else ():
            place = os.path.join(place, part)
            if not os.path.isdir(place):
                os.mkdir(place)
                os.chmod(place, 0o777 & ~self._umask)

    def file(self, path: str, member: Member, content: bytes | Iterable[bytes], *, origin: str) -> None:
        """A file, with the mode that imgpkg gives it."""
        self._bytes += member.size
        if self._bytes > self._limits.total_bytes:
            raise IntegrityError(
                "the image has more bytes than any real one",
                code="too-large",
                hint="nothing was kept; ask whoever published it",
            )
        self.directory(path.rpartition("/")[0], origin=origin)
        place = os.path.join(self._root, path)
        try:
            fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
        except (FileExistsError, NotADirectoryError) as error:
            raise IntegrityError(
                f"{path[:150]!r} comes twice in one layer", code="duplicate-name", where=origin, hint="nothing was kept"
            ) from error
        with open(fd, "wb", buffering=0) as file:
            file.writelines((content,) if isinstance(content, bytes) else content)
            os.fchmod(fd, mode_of(member.mode) & ~self._umask)

    def symlink(self, path: str, target: str, *, origin: str) -> None:
        """Never: links are left out."""
        raise TypeError(f"a link: {path} {target} {origin}")

    def hardlink(self, path: str, target: str, *, origin: str) -> None:
        """Never: links are left out."""
        raise TypeError(f"a link: {path} {target} {origin}")
