"""64 clients at once against `provender serve`: no error, no wrong byte, bounded memory."""

from __future__ import annotations

import hashlib
import http.client
import random
import threading
from pathlib import Path

import pytest

from support.served import Process, server_process

pytestmark = pytest.mark.interop

CLIENTS = 64
BLOBS = 10_000
MEMORY_KIB = 200 << 10
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


def work(host: str, share: range, failures: list[str]) -> None:
    connection = http.client.HTTPConnection(host, timeout=120)

    def ask(method: str, path: str, body: bytes | None = None, *, again: bool = True) -> tuple[int, bytes, str]:
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionError):
            # A thread that waited long meets a connection that the server ended for idleness, as any client may.
            if not again:
                raise
            connection.close()
            return ask(method, path, body, again=False)
        return response.status, response.read(), response.getheader("Location") or ""

    try:
        for number in share:
            raw = content(number)
            digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
            name = f"load/{number % 7}"
            status, _, location = ask("POST", f"/v2/{name}/blobs/uploads/")
            if status == 202 and number % 3 == 0:
                status, _, location = ask("PATCH", location, raw)
                status, said, _ = ask("PUT", f"{location}?digest={digest}")
            elif status == 202:
                status, said, _ = ask("PUT", f"{location}?digest={digest}", raw)
            if status != 201:
                failures.append(f"push {number}: {status}")
            status, said, _ = ask("GET", f"/v2/{name}/blobs/{digest}")
            if status != 200 or said != raw:
                failures.append(f"pull {number}: {status}, {len(said)} of {len(raw)} bytes")
    except (OSError, http.client.HTTPException) as error:
        failures.append(f"{share}: {error!r}")
    finally:
        connection.close()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak memory of a process is read from /proc")
def test_many_clients_at_once(tmp_path: Path, record_property: pytest.RecordProperty) -> None:
    failures: list[str] = []
    with server_process(tmp_path / "logs", tmp_path / "store", "--no-access-log") as server:
        threads = [
            threading.Thread(target=work, args=(server.host, range(first, BLOBS, CLIENTS), failures))
            for first in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        peak = peak_kib(server)
    assert not failures, failures[:10]
    assert peak < MEMORY_KIB
    record_property("interop-peer", f"load of {CLIENTS} clients and {BLOBS} blobs: peak {peak >> 10} MiB")
