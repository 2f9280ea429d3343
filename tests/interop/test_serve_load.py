"""64 clients at once against `provender serve` for two minutes: no error, no wrong byte, bounded memory."""

from __future__ import annotations

import http.client
import itertools
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.served import Process, digest_of, server_process

pytestmark = pytest.mark.interop

CLIENTS = 64
BLOBS = 10_000
MEMORY_KIB = 200 << 10
SECONDS = 120.0
# How often each blob is pulled at the most, on a machine that is done early.
ROUNDS = 20
# Mostly small, as configurations and notes are; now and then a layer.
SIZES = [100, 2_000, 30_000, 200_000, 2_000_000]
WEIGHTS = [40, 30, 20, 9, 1]


def content(number: int) -> bytes:
    """The blob of that number, the same each time."""
    chosen = random.Random(number)
    return chosen.randbytes(chosen.choices(SIZES, WEIGHTS)[0] + number % 97)


def peak_kib(process: Process) -> int:
    status = Path(f"/proc/{process.process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


class Worker:
    """One client: pushes and pulls its share of the blobs, then pulls them again until the time is over."""

    def __init__(self, host: str, share: range, ends: float) -> None:
        self._connection = http.client.HTTPConnection(host, timeout=120)
        self._share = share
        self._ends = ends
        self.failures: list[str] = []
        self.pulled = 0

    def run(self) -> None:
        try:
            for number in self._share:
                self._push(number)
                self._pull(number)
            for number in itertools.chain.from_iterable([self._share] * ROUNDS):
                if time.monotonic() > self._ends:
                    break
                self._pull(number)
        except (OSError, http.client.HTTPException) as error:
            self.failures.append(f"{self._share}: {error!r}")
        finally:
            self._connection.close()

    def _push(self, number: int) -> None:
        raw = content(number)
        digest = digest_of(raw)
        status, _, location = self._ask("POST", f"/v2/{repository(number)}/blobs/uploads/")
        if status == 202 and number % 3 == 0:
            status, _, location = self._ask("PATCH", location, raw)
            status, _, _ = self._ask("PUT", f"{location}?digest={digest}")
        elif status == 202:
            status, _, _ = self._ask("PUT", f"{location}?digest={digest}", raw)
        if status != 201:
            self.failures.append(f"push {number}: {status}")

    def _pull(self, number: int) -> None:
        raw = content(number)
        status, said, _ = self._ask("GET", f"/v2/{repository(number)}/blobs/{digest_of(raw)}")
        if status != 200 or said != raw:
            self.failures.append(f"pull {number}: {status}, {len(said)} of {len(raw)} bytes")
        self.pulled += 1

    def _ask(self, method: str, path: str, body: bytes | None = None, *, again: bool = True) -> tuple[int, bytes, str]:
        try:
            self._connection.request(method, path, body)
            response = self._connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionError):
            # A thread that waited long meets a connection that the server ended for idleness, as any client may.
            if not again:
                raise
            self._connection.close()
            return self._ask(method, path, body, again=False)
        return response.status, response.read(), response.getheader("Location") or ""


def repository(number: int) -> str:
    return f"load/{number % 7}"


@pytest.mark.timeout(600)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak memory of a process is read from /proc")
def test_many_clients_at_once(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    with server_process(tmp_path / "logs", tmp_path / "store", "--no-access-log") as server:
        ends = time.monotonic() + SECONDS
        workers = [Worker(server.host, range(first, BLOBS, CLIENTS), ends) for first in range(CLIENTS)]
        threads = [threading.Thread(target=worker.run) for worker in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        peak = peak_kib(server)
        said = server.log.read_text()
    failures = [failure for worker in workers for failure in worker.failures]
    assert not failures, failures[:10]
    assert " failure " not in said
    assert " warning " not in said
    assert peak < MEMORY_KIB
    pulled = sum(worker.pulled for worker in workers)
    assert pulled >= BLOBS
    record_property(
        "interop-note", f"load: {CLIENTS} clients, {BLOBS} blobs pushed, {pulled} pulled, peak {peak >> 10} MiB"
    )
