"""Progress events: what long operations tell whoever watches. Transfer layer; the command line has the display.

Methods are called from worker threads: an implementation has to be safe for that, and quick.
"""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from provender.oci import Digest
from provender.storage.abilities import BlobReader
from provender.storage.hashing import HashingFile
from provender.storage.rewindable import HashedContent, Rewindable
from provender.transfer.pool import Cancellation

__all__ = [
    "NO_PROGRESS",
    "JoinedProgress",
    "NoProgress",
    "Progress",
    "WatchedContent",
    "WatchedHashing",
    "WatchedReader",
]


class Progress(Protocol):
    """Hears of tasks: each is started once, advances by bytes, and is done unless it failed."""

    def start(self, name: str, total_bytes: int | None, /) -> int:
        """The number of a new task. `total_bytes` is None where it is not known beforehand."""
        ...

    def advance(self, task: int, n: int, /) -> None:
        """`n` further bytes of `task` are through."""
        ...

    def done(self, task: int, /) -> None:
        """`task` ended well."""
        ...


class NoProgress:
    """Hears everything and shows nothing."""

    def start(self, name: str, total_bytes: int | None, /) -> int:  # noqa: ARG002 - the protocol's signature
        return 0

    def advance(self, task: int, n: int, /) -> None:
        pass

    def done(self, task: int, /) -> None:
        pass


NO_PROGRESS = NoProgress()


class JoinedProgress:
    """One task of `progress` that stands for all that is reported here, until `end`."""

    def __init__(self, progress: Progress, name: str, total_bytes: int | None) -> None:
        self._progress = progress
        self._task = progress.start(name, total_bytes)

    def start(self, name: str, total_bytes: int | None, /) -> int:  # noqa: ARG002 - the protocol's signature
        return self._task

    def advance(self, task: int, n: int, /) -> None:
        self._progress.advance(task, n)

    def done(self, task: int, /) -> None:
        """Nothing: a part that ended is not the end."""

    def end(self) -> None:
        """All of it ended well."""
        self._progress.done(self._task)


class WatchedReader:
    """A reader that reports what passes and stops, by raising Cancelled, once the operation was cancelled."""

    def __init__(self, reader: BlobReader, progress: Progress, task: int, cancellation: Cancellation) -> None:
        self._reader = reader
        self._progress = progress
        self._task = task
        self._cancellation = cancellation

    def read(self, size: int = -1, /) -> bytes:
        self._cancellation.check()
        chunk = self._reader.read(size)
        if chunk:
            self._passed(len(chunk))
        return chunk

    def close(self) -> None:
        self._reader.close()

    def _passed(self, n: int) -> None:
        self._progress.advance(self._task, n)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()


class WatchedContent(WatchedReader):
    """A watched reader of content that can be read again; what passes a second time is not reported again."""

    def __init__(self, reader: Rewindable, progress: Progress, task: int, cancellation: Cancellation) -> None:
        super().__init__(reader, progress, task, cancellation)
        self._content = reader
        self._position = 0
        self._reported = 0

    def vouches(self, digest: Digest) -> bool:
        """True if the content below was hashed and is untouched (see `HashedContent`)."""
        return isinstance(self._content, HashedContent) and self._content.vouches(digest)

    def skip(self, n: int) -> None:
        """Go on behind the next `n` bytes of what vouches, which count as passed."""
        if isinstance(self._content, HashedContent):
            self._content.skip(n)
            self._passed(n)

    def rewind(self) -> None:
        """Go on with the first byte."""
        self._content.rewind()
        self._position = 0

    def _passed(self, n: int) -> None:
        self._position += n
        if self._position > self._reported:
            super()._passed(self._position - self._reported)
            self._reported = self._position


class WatchedHashing(WatchedContent):
    """Watched content that is hashed meanwhile (see `HashingContent`)."""

    def __init__(self, file: HashingFile, progress: Progress, task: int, cancellation: Cancellation) -> None:
        super().__init__(file, progress, task, cancellation)
        self._file = file

    @property
    def size(self) -> int:
        return self._file.size

    def digest_within(self, seconds: float) -> Digest | None:
        """The digest, if it is there in time."""
        self._cancellation.check()
        return self._file.digest_within(seconds)
