"""One download at a time per blob, between all threads and processes that share a cache.

Storage layer, part of the cache. Whoever waits, waits only while the download moves on, and then goes on alone: a slow
or stopped neighbour costs bytes, never an answer.
"""

from __future__ import annotations

import errno
import io
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from provender.errors import Unsupported
from provender.oci import Descriptor, Digest
from provender.storage.cache_partial import PARTIAL_FROM_BYTES, PartialFile
from provender.storage.files import FileLock

__all__ = ["Flight", "Flights"]

_POLL_S: Final = 0.02


class Flight:
    """A blob on its way into the cache. Nothing here raises: a cache that cannot be written only stops caching.

    The first `kept` bytes are there from an earlier attempt, and are good: `hasher` has hashed them.
    """

    def __init__(
        self,
        lock: FileLock,
        file: _LockedFile | PartialFile,
        landed: Callable[[], None],
        ended: Callable[[], None],
        rests: Callable[[], None],
    ) -> None:
        self._lock = lock
        self._rests = rests
        self._file = file
        self._landed = landed
        self._ended = ended
        self._open = True
        self.failure: OSError | None = None
        """Why nothing more could be written, once that happened."""
        self.kept = file.kept if isinstance(file, PartialFile) else 0
        self.hasher = file.hasher if isinstance(file, PartialFile) and file.kept else None

    def kept_bytes(self) -> io.FileIO | None:
        """A reader that starts with the kept bytes; None without any, or if they cannot be read any more."""
        if not (self._open and self.kept and isinstance(self._file, PartialFile)):
            return None
        try:
            return self._file.reader()
        except OSError:
            self.discard()
            return None

    def write(self, chunk: bytes) -> None:
        """Append a chunk; a failure (a full disk) ends the flight."""
        if self._open:
            try:
                self._file.write(chunk)
            except OSError as error:
                self.failure = error
                self.discard()

    def note(self, so_far: Callable[[], tuple[int, str]], *, at_once: bool = False) -> None:
        """Mark, when that is due, what was written as good: `so_far` gives its length and hash."""
        if self._open and isinstance(self._file, PartialFile) and (at_once or self._file.wants_mark):
            try:
                self._file.mark(*so_far())
            except OSError:
                self.discard()

    @property
    def device(self) -> int | None:
        """The file system that a large blob's file is on; None if there is no file to take."""
        try:
            return self._file.device if self._open and isinstance(self._file, PartialFile) else None
        except OSError:
            return None

    def take(self, directory: int, name: str) -> None:
        """Give the file, which the caller has verified, to the open `directory` on the same device as `name`.

        Raises OSError as `os.rename`; the flight is over in any case.
        """
        try:
            if not self._open or not isinstance(self._file, PartialFile):
                raise FileNotFoundError(errno.ENOENT, "the file of the download is gone", name)
            self._file.take(directory, name)
        finally:
            self.discard()

    def rest(self) -> None:
        """All of it is here, and stays for its owner: nobody of this process is to wait for an entry."""
        if self._open:
            self._rests()

    def commit(self) -> None:
        """Make the blob an entry; the caller has verified all of it."""
        if self._open:
            with suppress(OSError):
                self._file.commit()
                self._landed()
            self._end(keeps=False)

    def finish(self, descriptor: Descriptor) -> None:
        """Make the kept bytes the entry if they are all of the blob, and the right ones; else leave nothing."""
        if self.hasher is not None and self.hasher.hexdigest() == descriptor.digest.encoded:
            self.commit()
        self.discard()

    def abandon(self) -> None:
        """End the flight: what of a large blob is good stays for the next one. After `commit` it does nothing."""
        self._end(keeps=True)

    def discard(self) -> None:
        """End the flight and leave nothing."""
        self._end(keeps=False)

    def _end(self, *, keeps: bool) -> None:
        if self._open:
            self._open = False
            if keeps and isinstance(self._file, PartialFile):
                self._file.keep()
            else:
                self._file.discard()
            self._lock.release()
            self._ended()


class Flights:
    """The flights into the cache at `root`: at most one per digest.

    `wait_s` bounds the wait for somebody else's flight, `stall_s` the part of it in which nothing arrives.
    `all_ended` is called whenever none of this process is under way any more.
    """

    def __init__(self, root: Path, *, wait_s: float, stall_s: float, all_ended: Callable[[], None]) -> None:
        self._root = root
        self._place = str(root)
        self._all_ended = all_ended
        self._wait_s = wait_s
        self._stall_s = stall_s
        self._mutex = threading.Lock()
        self._mine: dict[Digest, int] = {}
        self._resting: set[Digest] = set()

    def begin(
        self, descriptor: Descriptor, path: str, *, is_there: Callable[[], bool], landed: Callable[[], None]
    ) -> Flight | None:
        """A flight to `path`; None if the blob is there meanwhile, or the caller is to go on alone."""
        digest = descriptor.digest
        name = f"{digest.algorithm}-{digest.encoded}"
        is_large = descriptor.size >= PARTIAL_FROM_BYTES
        if is_large:
            growing = f"{self._place}/partial/{digest.algorithm}/{digest.encoded}"
            lock = FileLock(f"{self._place}/locks/{name}", timeout_s=0, what="a download", remove=True, is_signed=False)
        else:
            growing = os.path.join(self._place, "tmp", name)
            lock = FileLock(growing, timeout_s=0, what="a download", is_signed=False)
        try:
            if not self._acquire(lock, digest, growing):
                return None
            flight = None
            if is_there():
                if not is_large:
                    os.unlink(growing)
            else:
                # Ours alone while we hold the lock, so what lies there is a killed process's.
                file = PartialFile(self._root, descriptor, Path(path)) if is_large else _LockedFile(lock, growing, path)
                flight = Flight(
                    lock, file, landed, ended=lambda: self._forget(digest), rests=lambda: self._let_rest(digest)
                )
        except (OSError, Unsupported):
            lock.release()
            return None
        if flight is None:
            lock.release()
            return None
        with self._mutex:
            self._mine[digest] = threading.get_ident()
        if flight.kept == descriptor.size:
            # Killed, or out of space, between the last byte and the name.
            flight.finish(descriptor)
            return None
        return flight

    def _acquire(self, lock: FileLock, digest: Digest, temporary: str) -> bool:
        started_s = moved_s = time.monotonic()
        arrived = -1
        while not lock.try_acquire():
            with self._mutex:
                if self._mine.get(digest) == threading.get_ident() or digest in self._resting:
                    return False  # we would wait for ourselves
            now_s = time.monotonic()
            size = _size(temporary)
            if size != arrived:
                arrived, moved_s = size, now_s
            if now_s - started_s >= self._wait_s or now_s - moved_s >= self._stall_s:
                return False
            time.sleep(_POLL_S)
        return True

    def _forget(self, digest: Digest) -> None:
        with self._mutex:
            self._mine.pop(digest, None)
            self._resting.discard(digest)
            is_last = not self._mine
        if is_last:
            self._all_ended()

    def _let_rest(self, digest: Digest) -> None:
        with self._mutex:
            self._resting.add(digest)


class _LockedFile:
    """The file of a small blob on its way, which is its own lock: ext4 looks long for an inode that was not freed a
    moment ago, so a thousand lock files made and removed triple the time of their blobs (measured)."""

    def __init__(self, lock: FileLock, path: str, final: str) -> None:
        self._lock = lock
        self._path = path
        self._final = final
        self._is_there = True
        if os.fstat(lock.fileno).st_size:  # ext4 hurries with what was emptied, even if it was empty
            os.ftruncate(lock.fileno, 0)

    def write(self, chunk: bytes) -> None:
        """Append `chunk`, all of it."""
        rest = memoryview(chunk)
        while rest:
            rest = rest[os.write(self._lock.fileno, rest) :]

    def commit(self) -> None:
        """Give the file its final name, replacing what has it now."""
        if os.name == "nt":
            self._lock.release()  # no file that is open can be renamed there
        os.replace(self._path, self._final)
        self._is_there = False

    def discard(self) -> None:
        """Leave nothing behind, unless it was committed."""
        if self._is_there:
            self._is_there = False
            with suppress(OSError):
                os.unlink(self._path)


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0
