"""The directory that an artifact's files arrive in: laid aside first, then moved there. Artifact layer, over `placing`.

One that was not there appears whole, by one rename; into one that is there, files come one by one, and others stay.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from provender.artifact.entry import Entry
from provender.artifact.names import shown
from provender.artifact.placing import Placing
from provender.artifact.scratch import scratch_directory
from provender.errors import Conflict

__all__ = ["Destination"]

_DIRECTORY_MODE: Final = 0o777  # narrowed by the umask: the working directory becomes the user's
_IS_THERE: Final = frozenset({errno.EEXIST, errno.ENOTEMPTY})


class Destination:
    """The directory `out`. Files are laid into the empty directory `staging`, and `fill` moves them once all are right.

    To be had from `opened`.
    """

    def __init__(self, out: str, staging: str, *, is_new: bool) -> None:
        self._out = out
        self._is_new = is_new
        self.staging = staging

    @classmethod
    @contextmanager
    def opened(cls, out: str) -> Iterator[Destination]:
        """The destination, with the directories above it; what was made goes again if nothing was put into it.

        Raises Conflict (code `not-a-directory`) for a file in the way, and OSError.
        """
        missing = _missing(out)
        if not missing:
            with scratch_directory(out) as staging:
                yield cls(out, staging, is_new=False)
            return
        above = missing[1:]
        parent = os.path.dirname(missing[0])
        try:
            os.makedirs(parent, exist_ok=True)
            with scratch_directory(parent, mode=_DIRECTORY_MODE, becomes=missing[0]) as staging:
                yield cls(missing[0], staging, is_new=True)
        finally:
            _unmake(above)

    def fill(self, entries: Sequence[Entry], *, force: bool) -> tuple[str, ...]:
        """Move what was laid to its place; the paths that were new or changed. Raises as `Placing.run`."""
        if self._is_new and self._appeared():
            return tuple(entry.path for entry in entries)
        with Placing(self.staging, self._out) as placing:
            return placing.run(entries, force=force)

    def _appeared(self) -> bool:
        """True if the directory is there now, with all that was laid; False if somebody else made one meanwhile."""
        try:
            os.rename(self.staging, self._out)
        except OSError as error:
            if error.errno not in _IS_THERE:
                raise
            return False
        return True


def _missing(out: str) -> Sequence[str]:
    """The directories that are to be made for `out`, deepest first."""
    missing: list[str] = []
    # As the system reads it: `link/../out` lies beside what the link leads to. The last name may be a link itself.
    above, name = os.path.split(out.rstrip("/") or "/")
    path = os.path.realpath(out) if name in ("", ".", "..") else os.path.join(os.path.realpath(above), name)
    while not os.path.lexists(path):
        missing.append(path)
        path = os.path.dirname(path)
    if not stat.S_ISDIR(os.stat(path).st_mode):
        raise Conflict(
            f"{shown(path)} is no directory", code="not-a-directory", hint="name a directory to pull into", where=out
        )
    return missing


def _unmake(made: Sequence[str]) -> None:
    """Removes directories that were made for a pull that put nothing into them."""
    for path in made:
        try:
            os.rmdir(path)
        except OSError:
            return
