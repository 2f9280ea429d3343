"""A stream read ahead by one thread, so that decompression and the network run while files are written.

Artifact layer. Decompressing and hashing release the interpreter's lock; creating files is what the other core does.
"""

from __future__ import annotations

import threading
from collections import deque
from types import TracebackType
from typing import Final, Protocol, Self

__all__ = ["ReadAhead"]

_CHUNK_BYTES: Final = 1 << 18
_CHUNKS: Final = 8
_JOIN_S: Final = 1.0


class _Reader(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class ReadAhead:
    """The same content as `reader`, of which up to 2 MiB are read before they are asked for.

    An error of the reader is raised by the `read` that meets it. The thread starts with the second piece, so a short
    stream has none. Leaving the context stops it, within a second even if the reader hangs.
    """

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader
        self._changed = threading.Condition()
        self._pieces: deque[bytes] = deque()
        self._error: BaseException | None = None
        self._is_ended = False
        self._is_stopped = False
        self._thread: threading.Thread | None = None
        self._rest = b""
        self._reads = 0

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes (a piece of any length when negative); `b""` at the end."""
        piece = self._rest or self._next()
        if 0 <= size < len(piece):
            piece, self._rest = piece[:size], piece[size:]
        else:
            self._rest = b""
        return piece

    def drain(self) -> None:
        """Reads to the end."""
        while self.read():
            pass

    def _next(self) -> bytes:
        self._reads += 1
        if self._reads == 1:
            return self._reader.read(_CHUNK_BYTES)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="read-ahead", daemon=True)
            self._thread.start()
        with self._changed:
            while not self._pieces and not self._is_ended:
                # The limit is the reader's own; waking up now and then lets an interrupt through.
                self._changed.wait(1.0)
            if self._pieces:
                self._changed.notify_all()
                return self._pieces.popleft()
            if self._error is not None:
                raise self._error
            return b""

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            while piece := self._reader.read(_CHUNK_BYTES):
                with self._changed:
                    self._pieces.append(piece)
                    self._changed.notify_all()
                    while len(self._pieces) >= _CHUNKS and not self._is_stopped:
                        self._changed.wait(1.0)
                    if self._is_stopped:
                        return
        except BaseException as caught:  # noqa: BLE001 - a worker hands every error to whoever reads
            error = caught
        finally:
            with self._changed:
                self._error = error
                self._is_ended = True
                self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(_JOIN_S)
