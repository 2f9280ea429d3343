"""Upload sessions: bytes that arrive piece by piece in a temporary file, hashed on the way.

Server layer. Each process has a directory of its own in the upload area of the store, under a lock that dies with it;
whoever opens the area next removes what dead processes left.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from provender.errors import Unavailable
from provender.oci import Digest
from provender.server.limits import Limits
from provender.server.replies import Problem
from provender.storage.files import FileLock
from provender.storage.verify import CHUNK_BYTES

__all__ = ["AREA", "Upload", "Uploads", "remove_leftovers"]

AREA: Final = ".provender-uploads"
_LOCK: Final = "lock"
_LOCK_WAIT_S: Final = 30.0
_ATTEMPTS: Final = 8
# From so many bytes on the disk is set to work, so that sealing a large blob need not wait for all of it.
_WRITE_BACK_BYTES: Final = 16 << 20
_WORTH_A_THREAD_BYTES: Final = 1 << 20


class _Mark(NamedTuple):
    size: int
    hasher: hashlib._Hash


class Upload:
    """One session. Its methods that touch the file are called by one thread at a time."""

    def __init__(self, name: str, repository: str, path: Path, algorithm: str) -> None:
        self.name = name
        self.repository = repository
        self.path = path
        self.algorithm = algorithm
        self.size = 0
        self.used = time.monotonic()
        self.is_busy = False
        self._hasher = hashlib.new(algorithm)
        self._written_back = 0

    def write(self, pieces: Iterable[bytes | memoryview]) -> None:
        """Append the pieces to the file and the hash, each while the processor still has it in its cache."""
        with self._opened() as fd:
            for piece in pieces:
                _write_all(fd, piece)
                self._hasher.update(piece)
                self.size += len(piece)
                self._write_back(fd)

    def write_lot(self, pieces: Sequence[bytes]) -> None:
        """Append what was gathered; it has left the cache, so file and hash get it side by side if it is large."""
        total = sum(map(len, pieces))
        if total < _WORTH_A_THREAD_BYTES:
            self.write(pieces)
            return
        hashing = threading.Thread(target=self._hash, args=(pieces,), daemon=True)
        hashing.start()
        try:
            with self._opened() as fd:
                for piece in pieces:
                    _write_all(fd, piece)
                self.size += total
                self._write_back(fd)
        finally:
            hashing.join()

    def _hash(self, pieces: Sequence[bytes]) -> None:
        for piece in pieces:
            self._hasher.update(piece)

    @contextmanager
    def _opened(self) -> Iterator[int]:
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            yield fd
        finally:
            os.close(fd)

    def _write_back(self, fd: int) -> None:
        """Have the disk begin with what it has not been given: Linux starts to write pages that are not wanted."""
        size = self.size
        if size - self._written_back >= _WRITE_BACK_BYTES and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(fd, self._written_back, size - self._written_back, os.POSIX_FADV_DONTNEED)
            self._written_back = size

    def mark(self) -> _Mark:
        """Where the session stands, for `back_to`."""
        return _Mark(self.size, self._hasher.copy())

    def back_to(self, mark: _Mark) -> None:
        """Forget what came after the mark, and what a failed write left."""
        if self.path.exists():
            os.truncate(self.path, mark.size)
        self.size = mark.size
        self._written_back = min(self._written_back, mark.size)
        self._hasher = mark.hasher.copy()

    def digest(self, algorithm: str) -> Digest:
        """The digest of everything so far; another algorithm than the session's reads the file once more."""
        if algorithm == self.algorithm:
            return Digest(f"{algorithm}:{self._hasher.copy().hexdigest()}")
        hasher = hashlib.new(algorithm)
        if self.size:
            with open(self.path, "rb", buffering=0) as file:
                while chunk := file.read(CHUNK_BYTES):
                    hasher.update(chunk)
        return Digest(f"{algorithm}:{hasher.hexdigest()}")

    def seal(self) -> Path:
        """The file with its bytes on the disk; an empty one if nothing came."""
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        return self.path

    def discard(self) -> None:
        """Remove the file."""
        with suppress(OSError):
            os.unlink(self.path)


class Uploads:
    """The sessions of one process, with their directory below `scratch` (a temporary directory without it).

    Used from one thread; only `close` may block for long.
    """

    def __init__(self, scratch: Path | None, limits: Limits) -> None:
        self._scratch = scratch
        self._limits = limits
        self._sessions: dict[str, Upload] = {}
        self._directory: Path | None = None
        self._lock: FileLock | None = None
        if scratch is not None:
            remove_leftovers(scratch)

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, repository: str, algorithm: str) -> Upload:
        """A new session; Problem 429 if there are too many."""
        if len(self._sessions) >= self._limits.uploads:
            self.expire()
        if len(self._sessions) >= self._limits.uploads:
            headers = (("Retry-After", "5"),)
            raise Problem(429, "TOOMANYREQUESTS", "too many uploads are open", headers=headers)
        name = secrets.token_hex(16)
        upload = Upload(name, repository, self._own_directory() / name, algorithm)
        self._sessions[name] = upload
        return upload

    def get(self, name: str, repository: str) -> Upload:
        """The session, or Problem 404."""
        upload = self._sessions.get(name)
        if upload is None or upload.repository != repository:
            raise Problem(404, "BLOB_UPLOAD_UNKNOWN", "there is no such upload; it may have been too old")
        upload.used = time.monotonic()
        return upload

    def forget(self, upload: Upload) -> None:
        """End a session whose file was taken or is of no use; the file is removed if it is still there."""
        self._sessions.pop(upload.name, None)
        upload.discard()

    def expire(self) -> int:
        """End the sessions that nobody used for too long; how many there were."""
        oldest = time.monotonic() - self._limits.upload_idle_s
        stale = [upload for upload in self._sessions.values() if upload.used < oldest and not upload.is_busy]
        for upload in stale:
            self.forget(upload)
        return len(stale)

    def close(self) -> None:
        """Remove every file and the directory."""
        self._sessions.clear()
        directory, self._directory = self._directory, None
        if directory is not None:
            shutil.rmtree(directory, ignore_errors=True)
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        if directory is not None and self._scratch is not None:
            _remove_if_empty(self._scratch / AREA)

    def _own_directory(self) -> Path:
        if self._directory is not None and self._directory.is_dir():
            return self._directory
        if self._scratch is None:
            import tempfile

            self._directory = Path(tempfile.mkdtemp(prefix="provender-uploads-"))
            return self._directory
        for _ in range(_ATTEMPTS):
            # Who closes may remove the area between two steps; then they are made again.
            with suppress(FileNotFoundError):
                self._directory, self._lock = _claim(self._scratch / AREA)
                return self._directory
        raise Unavailable("the upload area cannot be made", code="locked", where=str(self._scratch))


def remove_leftovers(scratch: Path) -> int:
    """Remove the directories of processes that died; how many there were."""
    area = scratch / AREA
    if not area.is_dir():
        return 0
    removed = 0
    with suppress(FileNotFoundError), _area_lock(area):
        for entry in sorted(area.iterdir()):
            if entry.is_symlink() or not entry.is_dir():
                continue
            lock = FileLock(entry / _LOCK, timeout_s=0, what="an upload directory")
            if lock.try_acquire():
                shutil.rmtree(entry, ignore_errors=True)
                lock.release()
                removed += 1
    _remove_if_empty(area)
    return removed


def _write_all(fd: int, piece: bytes | memoryview) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _claim(area: Path) -> tuple[Path, FileLock]:
    area.mkdir(parents=True, exist_ok=True)
    with _area_lock(area):
        directory = area / f"{os.getpid()}-{secrets.token_hex(8)}"
        directory.mkdir(mode=0o700)
        lock = FileLock(directory / _LOCK, timeout_s=_LOCK_WAIT_S, what="an upload directory")
        lock.acquire()
        return directory, lock


def _area_lock(area: Path) -> FileLock:
    return FileLock(area / _LOCK, timeout_s=_LOCK_WAIT_S, what=f"the upload area {area}", remove=True)


def _remove_if_empty(area: Path) -> None:
    with suppress(OSError):  # somebody else's directory is in it
        area.rmdir()
