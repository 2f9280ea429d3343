"""Large uploads of an `apply` that is killed: the next run goes on where the registry is, bytes counted on the way.

The way to the registry lets only so many bytes pass, then holds; so a run dies in the middle of an upload, not at some
time.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import pytest

from interop.registries import Registries
from provender.oci import Digest
from provender.relocate.journal import Journal
from provender.relocate.plan import RelocationPlan
from provender.storage.abilities import UploadNote
from provender.storage.layout import LayoutStorage
from support.command import succeed_here
from support.graphs import push
from support.kills import Killable

pytestmark = pytest.mark.interop

_MIB = 1 << 20
_BLOB_BYTES = 96 * _MIB
_LIMITS = (30 * _MIB, 60 * _MIB)
_SLACK = 8 * _MIB
_PIECE = 1 << 16
_LONGEST_S = 60.0


class _Way:
    """A relay to a registry that counts the bytes that go to it, and lets no more than `limit` pass."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._changed = threading.Condition()
        self._limit: int | None = None
        self.sent = 0
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._connections: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.open(None)
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in (self._thread, *self._connections):
            thread.join(_LONGEST_S)

    def open(self, limit: int | None) -> None:
        """Let that many bytes pass in all; None for any number."""
        with self._changed:
            self._limit = limit
            self._changed.notify_all()

    def wait_until_full(self) -> None:
        """Until the limit is reached."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._limit is not None and self.sent >= self._limit, _LONGEST_S)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._pass, args=(client,), daemon=True)
            self._connections.append(thread)
            thread.start()

    def _pass(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as registry:
            down = threading.Thread(target=_down, args=(registry, client), daemon=True)
            down.start()
            with contextlib.suppress(OSError):
                while piece := client.recv(_PIECE):
                    registry.sendall(piece)
                    with self._changed:
                        self.sent += len(piece)
                        self._changed.notify_all()
                        self._changed.wait_for(lambda: self._limit is None or self.sent < self._limit, _LONGEST_S)
            with contextlib.suppress(OSError):
                registry.shutdown(socket.SHUT_WR)
            down.join(_LONGEST_S)


def _down(registry: socket.socket, client: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := registry.recv(_PIECE):
            client.sendall(piece)
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_WR)


@pytest.fixture
def way(kind: str, registries: Registries) -> Iterator[_Way]:
    with _Way(registries.get(kind).host) as opened:
        yield opened


@pytest.mark.parametrize(
    ("kind", "keeps"), [("distribution", True), ("olareg-dir", False), ("docker-registry", False), ("zot", False)]
)
def test_an_apply_that_is_killed_in_a_large_upload_goes_on_where_the_registry_is(
    kind: str, keeps: bool, way: _Way, tmp_path: Path
) -> None:
    source = LayoutStorage(tmp_path / "source", create=True)
    root = push(source, "large", "1.0", layers=[hashlib.shake_256(b"large").digest(_BLOB_BYTES)])
    large = max(root.manifest().layers, key=lambda layer: layer.size).digest
    place = f"{way.host}/interop/large-uploads"
    plan = ["relocate", "plan", "layout:source:1.0", "--map", f"layout:source={place}", "-o", "plan.json"]
    succeed_here(*plan, cwd=tmp_path)
    command = Killable(tmp_path, ["relocate", "apply", "plan.json", "--no-progress"])
    for limit in _LIMITS if keeps else _LIMITS[:1]:
        way.open(limit)
        process = command.start()
        way.wait_until_full()
        process.kill()
        process.communicate(timeout=_LONGEST_S)
        assert process.returncode == -signal.SIGKILL
        # What hangs on the way arrives or not, but no more than what was let through.
        way.open(None)
        _settle(_note(tmp_path, place, large), at_least=limit - _SLACK if keeps else 0)
    before = way.sent
    command.run_again()
    succeed_here("relocate", "verify", "plan.json", "--deep", cwd=tmp_path)
    # Twice the slack: what the registry may lack of the part, and what was still on the way when it was looked at.
    most = _BLOB_BYTES - _LIMITS[-1] + 2 * _SLACK if keeps else _BLOB_BYTES + 2 * _SLACK
    assert way.sent - before < most


def _note(directory: Path, place: str, digest: Digest) -> UploadNote:
    with Journal(directory / "plan.json.journal", RelocationPlan.load(directory / "plan.json").digest) as journal:
        note = journal.upload(place, digest)
    assert note is not None, "the upload was not noted"
    return note


def _settle(note: UploadNote, *, at_least: int) -> None:
    """Until the registry has noticed that nobody sends any more."""
    url = urlsplit(note.location)
    last, ends = -1, time.monotonic() + _LONGEST_S
    while time.monotonic() < ends:
        connection = http.client.HTTPConnection(url.netloc, timeout=_LONGEST_S)
        connection.request("GET", f"{url.path}?{url.query}")
        answer = connection.getresponse()
        answer.read()
        connection.close()
        reached = int((answer.headers.get("Range") or "0-0").rpartition("-")[2])
        if reached == last and (reached >= at_least or answer.status == 404):
            return
        last = reached
        time.sleep(0.1)
    raise AssertionError(f"the registry has {last} bytes, not {at_least}")
