"""A TCP proxy on loopback that keeps every byte back for half a round trip, and counts connections and bytes.

`python -m bench.latency SECONDS HOST:PORT` prints the port that it listens on, then runs until its input ends; then it
prints what it counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_CHUNK_BYTES = 1 << 16
_QUEUE = 256


class Relay:
    """One listener in front of one target. `listener` gives what hears the bytes of one connection to it."""

    def __init__(
        self, delay_s: float, target: str, listener: Callable[[], Callable[[bytes], None]] | None = None
    ) -> None:
        self._delay_s = delay_s
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._listener = listener
        self.connections = 0
        self.bytes = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hand everything on, each piece later by the delay; a connection takes a round trip, as a real one does."""
        self.connections += 1
        await asyncio.sleep(2 * self._delay_s)
        inner_reader, inner_writer = await asyncio.open_connection(self._host, self._port)
        hear = self._listener() if self._listener else None
        up, down = self._pass(reader, inner_writer, hear), self._pass(inner_reader, writer, None)
        with contextlib.suppress(asyncio.CancelledError):  # the end of the relay
            await asyncio.gather(up, down, return_exceptions=True)

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hear: Callable[[bytes], None] | None
    ) -> None:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_QUEUE)
        sender = asyncio.create_task(self._send(queue, writer))
        clock = asyncio.get_running_loop()
        try:
            while chunk := await _read(reader):
                self.bytes += len(chunk)
                if hear is not None:
                    hear(chunk)
                await queue.put((clock.time() + self._delay_s, chunk))
            await queue.put((clock.time() + self._delay_s, b""))
            await sender
        finally:
            sender.cancel()

    async def _send(self, queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        clock = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            while True:
                due, chunk = await queue.get()
                if (left := due - clock.time()) > 0:
                    await asyncio.sleep(left)
                if not chunk:
                    break
                writer.write(chunk)
                await writer.drain()
            writer.close()


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(_CHUNK_BYTES)
    except ConnectionError:
        return b""


@contextmanager
def delayed(target: str, *, round_trip_s: float) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`host:port` that leads to `target` with that round trip, and the process in between."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.latency", str(round_trip_s / 2), target],
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        port = int((process.stdout.readline() if process.stdout else "").strip() or 0)
        yield f"127.0.0.1:{port}", process
    finally:
        with contextlib.suppress(OSError):
            process.communicate(timeout=10)


async def _main(delay_s: float, target: str) -> None:
    relay = Relay(delay_s, target)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    # Each line asks for the counts; the end of the input is the end.
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(relay.connections, relay.bytes, flush=True)
    server.close()


if __name__ == "__main__":
    asyncio.run(_main(float(sys.argv[1]), sys.argv[2]))
