"""Files that are hashed by a thread of their own while they are already on their way.

Storage layer, below every backend. The digest of content is known when all of it was read; to send it takes as long
again. Who can take content whose digest comes last does both at once.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import threading
from collections.abc import Callable, Sequence
from typing import Final, Protocol, runtime_checkable

from provender.errors import Conflict
from provender.oci import Digest
from provender.storage.rewindable import FileReader, HashedContent, Rewindable, Stamp

__all__ = ["EarlyPusher", "HashingContent", "HashingFile", "hash_file", "settled_size"]

_PIECE_BYTES: Final = 256 << 10  # stays in the processor's cache between reading and hashing


class HashingContent(HashedContent, Rewindable, Protocol):
    """Content of `size` bytes whose digest is still being computed."""

    @property
    def size(self) -> int: ...

    def digest_within(self, seconds: float) -> Digest | None:
        """The digest, waited for so long; None if it is not there yet. Conflict if the content changed meanwhile."""
        ...


@runtime_checkable
class EarlyPusher(Protocol):
    """Takes content before its digest is known."""

    def may_push_early(self, sizes: Sequence[int]) -> list[bool]:
        """For each size, whether content of it is worth it, and is not there yet as far as can be told.

        The sizes are those of all that is about to be pushed.
        """
        ...

    def push_early(self, content: HashingContent) -> Digest:
        """Store a blob as `Pusher.push` does; its digest."""
        ...


def hash_file(file: io.BufferedIOBase | io.RawIOBase, check: Callable[[], None]) -> tuple[Digest, int]:
    """The digest of a file from where it stands, and how many bytes that were. `check` is called between pieces."""
    sha256 = hashlib.sha256()
    buffer = memoryview(bytearray(_PIECE_BYTES))
    size = 0
    while count := file.readinto(buffer):
        check()
        sha256.update(buffer[:count])
        size += count
    return Digest(f"sha256:{sha256.hexdigest()}"), size


def settled_size(path: str) -> int | None:
    """The size of a regular file whose changes are noticed from now on; None for all else."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) and Stamp.from_status(status).is_settled else None


class HashingFile(FileReader):
    """A `HashingContent`. Its file has to be settled (see `Stamp`): a change of it is noticed then."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._stamp = Stamp.of(self._file)
        self._digest: Digest | None = None
        self._failure: Exception | None = changed(path)  # until it is known that it did not
        self._is_ended = threading.Event()
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._hash, args=(path,), name="provender-hash", daemon=True)
        self._thread.start()

    @property
    def size(self) -> int:
        return self._stamp.size

    def digest_within(self, seconds: float) -> Digest | None:
        if not self._is_ended.wait(seconds):
            return None
        if self._failure is not None:
            raise self._failure
        return self._digest

    def vouches(self, digest: Digest) -> bool:
        """True if it was hashed and is untouched since before that."""
        return digest == self._digest and Stamp.of(self._file) == self._stamp

    def close(self) -> None:
        self._is_closed.set()
        super().close()

    def _hash(self, path: str) -> None:
        try:
            # A file of its own: position and end are another thread's.
            with open(path, "rb", buffering=0) as file:
                digest, _ = hash_file(file, self._check)
                is_same = Stamp.of(file) == self._stamp
            if is_same:
                self._digest, self._failure = digest, None
        except (OSError, _Closed) as error:
            self._failure = error
        finally:
            self._is_ended.set()

    def _check(self) -> None:
        if self._is_closed.is_set():
            raise _Closed


def changed(path: str) -> Conflict:
    """The error for a file that did not hold still."""
    return Conflict(
        f"{path} changed while it was read",
        code="changed-while-reading",
        hint="run again when nothing writes to it",
    )


class _Closed(Exception):
    """Nobody waits for the digest any more."""
