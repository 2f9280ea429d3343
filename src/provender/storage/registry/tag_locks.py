"""Locks by name, so that who edits a tag in several steps is alone: among threads, and on this machine.

Registry layer, below the referrers. The API has no condition to a write, so this keeps only writers of one machine and
user apart; those of others are met by reading again.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from provender.errors import Unavailable, Unsupported
from provender.storage.files import FileLock

__all__ = ["TagLocks"]

_LOCKS: Final = 64  # names share them
_WAIT_S: Final = 60.0


class TagLocks:
    """The locks of one registry client; processes whose `root` is the same directory share them.

    Lock files lie in `root()/locks`, which is made when one is needed, and go again.
    """

    def __init__(self, root: Callable[[], Path] | None = None) -> None:
        self._root = root
        self._locks = tuple(threading.Lock() for _ in range(_LOCKS))

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """Alone with `name`, as far as that can be had: without files to lock, or after a minute, without."""
        with self._locks[hash(name) % _LOCKS]:
            lock = self._acquired(name)
            try:
                yield
            finally:
                if lock is not None:
                    lock.release()

    def _acquired(self, name: str) -> FileLock | None:
        if self._root is None:
            return None
        root = self._root()
        path = root / "locks" / f"tag-{hashlib.sha256(name.encode()).hexdigest()}"
        lock = FileLock(path, timeout_s=_WAIT_S, what="a tag", remove=True, is_signed=False)
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.parent.mkdir(exist_ok=True)
            lock.acquire()
        except (OSError, Unavailable, Unsupported):
            return None
        return lock
