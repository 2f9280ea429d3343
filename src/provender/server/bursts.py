"""Bursts: a thread moves a part of a large body between socket and file, for as long as the client keeps up.

Server layer, below `calls` and `wire`. One piece at a time passes through one buffer that stays in the processor's
cache, which costs less than waking the event loop for each, and less than `sendfile`, whose pages the client's side has
to fetch from memory. A client that makes a thread wait gets no burst: the event loop waits better.
"""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, Protocol

__all__ = ["BURST_BYTES", "Arriving", "Direct", "Run", "send"]

BURST_BYTES: Final = 16 << 20
"""A burst moves so much at most, and is whole if it moved that, or all there was left."""

_PIECE_BYTES: Final = 256 << 10
_BURST_S: Final = 0.5
_WAIT_S: Final = 0.02

Run = Callable[[Callable[[], int]], Awaitable[int]]
"""Has a thread run a function."""


class Direct(Protocol):
    """What a connection without TLS offers to the request that it carries, below HTTP."""

    async def send_file(self, file: io.FileIO, offset: int, count: int) -> int:
        """Have the system send a part of a body that has begun; the bytes sent, fewer only if the file ends."""

    async def send_burst(self, run: Run, file: io.FileIO, offset: int, count: int) -> int:
        """The same in a burst: the bytes sent, fewer where the client does not keep up."""

    async def receive_burst(self, run: Run, keep: Callable[[Iterator[memoryview]], None]) -> int:
        """Have a thread `keep` what comes of the body; how many bytes were taken, 0 where no burst can be."""


class Arriving:
    """What comes over a connection, in pieces that are good until the next one is asked for."""

    def __init__(self, connection: socket.socket, most: int) -> None:
        self.taken = 0
        self._connection = connection
        self._most = most

    def __iter__(self) -> Iterator[memoryview]:
        """The pieces; they end where the client does not keep up or the connection is at its end."""
        buffer = memoryview(bytearray(min(_PIECE_BYTES, self._most)))
        ends = time.monotonic() + _BURST_S
        self._connection.settimeout(_WAIT_S)
        while self.taken < self._most and time.monotonic() < ends:
            try:
                size = self._connection.recv_into(buffer, min(len(buffer), self._most - self.taken))
            except OSError:  # TimeoutError is one; what else there is meets the event loop too
                return
            if not size:
                return
            self.taken += size
            yield buffer[:size]


def send(connection: socket.socket, descriptor: int, offset: int, count: int) -> int:
    """How many bytes of the file went out; closes the connection and the file's descriptor, which are duplicates."""
    sent = 0
    ends = time.monotonic() + _BURST_S
    with connection, open(descriptor, "rb", buffering=0) as file:
        connection.settimeout(_WAIT_S)
        buffer = memoryview(bytearray(min(_PIECE_BYTES, count)))
        while sent < count and time.monotonic() < ends:
            file.seek(offset + sent)
            rest = buffer[: file.readinto(buffer[: count - sent])]
            if not rest:
                break
            try:
                while rest:
                    size = connection.send(rest)
                    sent += size
                    rest = rest[size:]
            except OSError:
                break
    return sent
