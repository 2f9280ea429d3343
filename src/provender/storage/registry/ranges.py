"""Parallel ranges: the rest of a large blob fetched in several windows side by side, handed out in order.

Registry layer, part of the download, which decides when that is worth it: where a server or the way to it limits each
connection. The windows ahead are held in memory, at most `COUNT * WINDOW_BYTES`: eight times 8 MiB moved 512 MiB in
5.9 s at 25 MiB/s for each connection, four times 16 MiB in 9.5 s, one connection in 22.6 s (measured).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from provender.errors import ProvenderError
from provender.storage.registry.headers import parse_content_range
from provender.storage.registry.transport import TransportFailure
from provender.storage.registry.wire import Hop

__all__ = ["COUNT", "MIN_BYTES", "WINDOW_BYTES", "Windows", "WindowsFailed"]

COUNT: Final = 8
WINDOW_BYTES: Final = 8 << 20
MIN_BYTES: Final = 64 << 20  # below, one connection is done before the others are under way
_PIECE_BYTES: Final = 1 << 20
_LOOK_UP_S: Final = 0.5


class WindowsFailed(Exception):
    """A window broke, or the server does not do ranges after all: go on with one connection from where it ended."""


class _Window:
    """One range on its way: what arrived and was not handed out yet."""

    def __init__(self, length: int) -> None:
        self.missing = length
        self.pieces: deque[bytes] = deque()


class Windows:
    """The bytes `start` to `size` of a blob. `ask` opens an answer for the bytes from its first to its last argument.

    One thread reads; the windows' own threads end by `close`, or soon after it where they wait for the network.
    """

    def __init__(
        self,
        ask: Callable[[int, int], Hop],
        start: int,
        size: int,
        *,
        count: int = COUNT,
        window_bytes: int = WINDOW_BYTES,
    ) -> None:
        self._ask = ask
        self._start = start
        self._size = size
        self._count = count
        self._window_bytes = window_bytes
        self._total = -(-(size - start) // window_bytes)
        self._changed = threading.Condition()
        self._windows: dict[int, _Window] = {}
        self._head = 0  # the window that is handed out now
        self._next = 0  # the window that is fetched next
        self._failure: TransportFailure | ProvenderError | None = None
        self._is_closed = False
        for number in range(min(count, self._total)):
            threading.Thread(target=self._work, name=f"provender-range-{number}", daemon=True).start()

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`; `b""` at the end. Raises WindowsFailed once what was there is handed out."""
        with self._changed:
            while True:
                if self._head >= self._total:
                    return b""
                window = self._windows.get(self._head)
                if window is not None and window.pieces:
                    piece = window.pieces.popleft()
                    if len(piece) > size:
                        window.pieces.appendleft(piece[size:])
                    return piece[:size]
                if window is not None and not window.missing:
                    del self._windows[self._head]
                    self._head += 1
                    self._changed.notify_all()
                elif self._failure is not None or self._is_closed:
                    raise WindowsFailed from self._failure
                else:
                    self._changed.wait(_LOOK_UP_S)

    def close(self) -> None:
        """Let go of everything."""
        with self._changed:
            self._is_closed = True
            self._windows.clear()
            self._changed.notify_all()

    def _work(self) -> None:
        try:
            while (number := self._take()) is not None:
                self._fetch(number)
        except (TransportFailure, ProvenderError) as failure:
            with self._changed:
                self._failure = self._failure or failure
                self._changed.notify_all()

    def _take(self) -> int | None:
        """The next window to fetch, once there is room for it; None if there is no more to do."""
        with self._changed:
            while not self._is_over() and self._next < self._total and self._next >= self._head + self._count:
                self._changed.wait(_LOOK_UP_S)
            if self._is_over() or self._next >= self._total:
                return None
            number = self._next
            self._next += 1
            self._windows[number] = _Window(self._bounds(number)[1] - self._bounds(number)[0])
            return number

    def _fetch(self, number: int) -> None:
        first, end = self._bounds(number)
        hop = self._ask(first, end - 1)
        try:
            found = parse_content_range(hop.headers.get("content-range", ""))
            if hop.status != 206 or found is None or (found.start, found.end) != (first, end - 1):
                raise TransportFailure("broken", "it does not answer with the range that was asked for")
            if found.total not in (None, self._size):
                raise TransportFailure("broken", "it has other content now")
            while first < end:
                piece = hop.response.read(min(_PIECE_BYTES, end - first))
                if not piece:
                    raise TransportFailure("broken", "the answer ended early")
                first += len(piece)
                if not self._arrived(number, piece):
                    return
        finally:
            hop.response.close()

    def _arrived(self, number: int, piece: bytes) -> bool:
        """Keep a piece; False if nobody wants it any more."""
        with self._changed:
            window = self._windows.get(number)
            if window is None or self._is_over():
                return False
            window.pieces.append(piece)
            window.missing -= len(piece)
            if number == self._head:
                self._changed.notify_all()
            return True

    def _bounds(self, number: int) -> tuple[int, int]:
        first = self._start + number * self._window_bytes
        return first, min(first + self._window_bytes, self._size)

    def _is_over(self) -> bool:
        return self._is_closed or self._failure is not None
