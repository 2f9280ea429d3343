"""A relay on loopback that counts what a registry is asked: requests, and the bytes of blobs that are sent to it.

`python -m bench.requests HOST:PORT` prints the port that it listens on; each line of its input asks for the counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httptools

from bench.latency import Relay


class Counts(NamedTuple):
    """What went through."""

    requests: int
    blob_bytes: int

    def since(self, before: Counts) -> Counts:
        return Counts(self.requests - before.requests, self.blob_bytes - before.blob_bytes)


class Counter:
    """A relay that runs; `host` leads through it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.host = f"127.0.0.1:{int(self._line())}"

    def counts(self) -> Counts:
        """What went through so far."""
        if self._process.stdin is None:
            raise SystemExit("the relay has no pipes")
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        requests, size = self._line().split()
        return Counts(int(requests), int(size))

    def _line(self) -> str:
        return self._process.stdout.readline().strip() if self._process.stdout else ""


@contextmanager
def counted(target: str) -> Iterator[Counter]:
    """A relay in front of `target`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.requests", target],
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Counter(process)
    finally:
        with contextlib.suppress(OSError):
            process.communicate(timeout=10)


class _Heard:
    """The requests of all connections."""

    def __init__(self) -> None:
        self.requests = 0
        self.blob_bytes = 0

    def listener(self) -> Callable[[bytes], None]:
        """What reads the bytes of one connection."""
        parser = httptools.HttpRequestParser(_Connection(self))

        def hear(chunk: bytes) -> None:
            # Who tries TLS first is no request.
            with contextlib.suppress(httptools.HttpParserError):
                parser.feed_data(chunk)

        return hear


class _Connection:
    """The callbacks of the parser."""

    def __init__(self, heard: _Heard) -> None:
        self._heard = heard
        self._url = b""

    def on_message_begin(self) -> None:
        self._url = b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_headers_complete(self) -> None:
        self._heard.requests += 1

    def on_body(self, body: bytes) -> None:
        if b"/blobs/" in self._url:
            self._heard.blob_bytes += len(body)


async def _main(target: str) -> None:
    heard = _Heard()
    server = await asyncio.start_server(Relay(0, target, heard.listener).serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(heard.requests, heard.blob_bytes, flush=True)
    server.close()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
