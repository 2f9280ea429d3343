"""One writer of a large file at a time, who clears away what killed writers left beside it.

Storage layer, over `files`. Whoever holds the lock knows that no other unfinished file of this name is in use.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from provender.errors import Unsupported
from provender.storage.files import FileLock

__all__ = ["sole_writer"]

# Of longer names the temporary ones have the beginning alone, which another file may have as well.
_LONGEST: Final = 90


@contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """Let nobody else write `path`, or its parts, within the block. Raises Unavailable (`locked`) if somebody does."""
    lock = FileLock(
        path.with_name(f".{path.name[:200]}.lock"), timeout_s=0, what=f"the archive {path.name}", remove=True
    )
    with ExitStack() as stack:
        try:
            stack.enter_context(lock)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None
        except Unsupported as error:
            if error.code != "no-file-locks":
                raise
            # Nobody knows who else is there, so nothing is cleared away.
        else:
            _clear(path)
        yield


def _clear(path: Path) -> None:
    if len(path.name) > _LONGEST:
        return
    leftover = re.compile(rf"\.{re.escape(path.name)}(?:\.[0-9]{{3,6}}|\.parts)?\.[0-9a-f]{{16}}\.tmp")
    with os.scandir(path.parent) as entries:
        found = [entry.path for entry in entries if leftover.fullmatch(entry.name)]
    for each in found:
        with suppress(OSError):
            os.unlink(each)
