"""Files that people or other programs wrote, read no further than they may be long.

Project layer, below the manifest, so that whoever reads another file need not import its model.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from provender.errors import InvalidProject

__all__ = ["read_capped"]


def read_capped(path: Path, limit: int) -> bytes:
    """The content of a regular file, at most one byte more than `limit`; what is no file is InvalidProject."""
    # Without O_NONBLOCK a named pipe would hold us up before it can be seen to be one.
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        os.close(fd)
        raise InvalidProject("not a file", code="not-a-file", where=str(path))
    with open(fd, "rb") as file:
        return file.read(min(limit, found.st_size) + 1)
