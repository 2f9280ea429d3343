"""How much the blob cache holds, and which entries go when that is too much.

Storage layer, part of the cache. The count is rough on purpose: it says when it is worth to look, and the look corrects
it. Processes that add at the same moment take turns; one that cannot have its turn goes on without counting.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from provender.errors import Unavailable, Unsupported
from provender.storage.cache_partial import tidy_partials
from provender.storage.files import FileLock

__all__ = ["CacheUsage"]

_FLAGS: Final[int] = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_LOCK_TIMEOUT_S: Final = 5.0
_LEFTOVER_AGE_S: Final = 24 * 3600
_MOST_WAITING_BYTES: Final = 64 << 20  # that a killed process may leave uncounted
_LOW_WATER: Final = 0.9
_PARTIALS_SHARE: Final = 4  # unfinished blobs have at most a quarter of the room


class _Held(NamedTuple):
    mtime_ns: int
    size: int
    path: str


class CacheUsage:
    """The size of the cache at `root`, held to about `max_bytes`."""

    def __init__(self, root: Path, *, max_bytes: int) -> None:
        self._root = root
        self._where = str(root)
        self._max_bytes = max_bytes
        self._mutex = threading.Lock()
        self._waiting_bytes = 0
        self._newest = ""

    def added(self, path: str, size_bytes: int) -> None:
        """Note the new entry at `path`, to be counted by `settle`."""
        with self._mutex:
            self._newest = path
            self._waiting_bytes += size_bytes
            is_due = self._waiting_bytes >= _MOST_WAITING_BYTES
        if is_due:
            self.settle()

    def settle(self) -> None:
        """Count the new entries; if the cache is over its limit now, remove what was used longest ago."""
        with self._mutex:
            size_bytes, self._waiting_bytes = self._waiting_bytes, 0
        if not size_bytes:
            return
        lock = FileLock(
            f"{self._where}/usage.lock", timeout_s=_LOCK_TIMEOUT_S, what="the size of the cache", is_signed=False
        )
        with suppress(Unavailable, Unsupported, OSError), lock:
            known = self._read()
            if known is not None and known + size_bytes <= self._max_bytes:
                self._write(known + size_bytes)
                return
            self._write(self._evict())

    def tidy(self) -> None:
        """Remove what killed processes left: unfinished files and lock files older than a day, and old partials."""
        oldest = time.time() - _LEFTOVER_AGE_S
        for entry in _scan(self._root / "tmp"):
            with suppress(OSError):
                if entry.stat(follow_symlinks=False).st_mtime < oldest:
                    os.unlink(entry.path)
        for entry in _scan(self._root / "locks"):
            with suppress(OSError, Unsupported):
                if entry.stat(follow_symlinks=False).st_mtime < oldest:
                    self._remove_lock(Path(entry.path))
        tidy_partials(self._root, self._max_bytes // _PARTIALS_SHARE)

    def _remove_lock(self, path: Path) -> None:
        lock = FileLock(path, timeout_s=0, what="a download", remove=True, is_signed=False)
        if lock.try_acquire():  # else it is old, but in use
            lock.release()

    def _evict(self) -> int:
        """Remove the least recently used entries until the cache is well below its limit; what is left, in bytes.

        A reader that has an entry open keeps it: its file lives until it is closed.
        """
        # The times of two entries may be equal: file systems count in ticks.
        held = sorted(self._held(), key=lambda entry: (entry.path == self._newest, entry))
        total = sum(entry.size for entry in held)
        if total <= self._max_bytes:
            return total
        for entry in held[:-1]:  # never the newest, for which the room is made
            if total <= self._max_bytes * _LOW_WATER:
                break
            with suppress(OSError):
                os.unlink(entry.path)
                total -= entry.size
        return total

    def _held(self) -> Iterator[_Held]:
        for algorithm in _scan(self._root / "blobs"):
            for entry in _scan(Path(algorithm.path)):
                with suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    yield _Held(status.st_mtime_ns, status.st_size, entry.path)

    def _read(self) -> int | None:
        try:
            fd = os.open(f"{self._where}/usage", os.O_RDONLY | _FLAGS)
        except OSError:
            return None
        try:
            text = os.read(fd, 20)
        finally:
            os.close(fd)
        return int(text) if text.isdigit() else None

    def _write(self, total: int) -> None:
        # Not atomic: whoever reads a damaged count counts again. Never emptied: ext4 writes a file that was emptied to
        # the disk when it is closed, which takes a millisecond (its option auto_da_alloc; measured).
        fd = os.open(f"{self._where}/usage", os.O_WRONLY | os.O_CREAT | _FLAGS, 0o644)
        try:
            os.ftruncate(fd, os.write(fd, str(total).encode()))
        finally:
            os.close(fd)


def _scan(directory: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
