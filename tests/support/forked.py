"""Processes that begin with everything imported: each is one of its own, at a tenth of the cost of one from scratch.

They are forked from a process (`support.fork_server`) that is started when the first of them is asked for.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["FORKS", "Child", "Forks"]

_COMMAND: Final = ("provender.cli.main", "run")
_SERVE: Final = "import sys; sys.path[:] = {path!r}; from support.fork_server import serve; serve({fd})"
_PIPE_BYTES: Final = 1 << 15


class Child:
    """A process and what it prints, in the words of `subprocess.Popen`; `communicate` ends with it."""

    def __init__(self, pid: int, status: int, stdout: int, stderr: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdout, self.stderr = (os.fdopen(fd, encoding="utf-8") for fd in (stdout, stderr))
        self._ended = threading.Event()
        threading.Thread(target=self._learn_end, args=(status,), daemon=True).start()
        self._said = {self.stdout: b"", self.stderr: b""}

    def wait(self, timeout: float = 60) -> int:
        """The exit status, negative for a signal; raises TimeoutExpired."""
        if not self._ended.wait(timeout) or self.returncode is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        return self.returncode

    def _learn_end(self, status: int) -> None:
        with os.fdopen(status) as told:
            self.returncode = int(told.read())
        self._ended.set()

    def communicate(self, timeout: float = 60) -> tuple[str, str]:
        """What was written to stdout and stderr to their ends; raises TimeoutExpired."""
        deadline = time.monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            for stream in self._said:
                if not stream.closed:
                    selector.register(stream, selectors.EVENT_READ)
            while selector.get_map():
                ready = selector.select(max(0, deadline - time.monotonic()))
                if not ready:
                    raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
                for key, _ in ready:
                    chunk = os.read(key.fd, _PIPE_BYTES)
                    if not chunk:
                        selector.unregister(key.fileobj)
                    self._said[key.fileobj] += chunk
        self.wait(max(0, deadline - time.monotonic()))
        for stream in self._said:
            stream.close()
        return _text(self._said[self.stdout]), _text(self._said[self.stderr])

    def send_signal(self, number: int) -> None:
        """Send it, unless the process has ended."""
        if not self._ended.is_set():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Forks:
    """Starts processes; `close` ends the one that they are forked from."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def start(
        self,
        *arguments: str | Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
        entry: tuple[str, str] = _COMMAND,
    ) -> Child:
        """`provender ARGUMENTS` in `cwd`, with `env` added to the test's environment; or another `entry`.

        That is a module and a function of it, which finds the arguments where a program does.
        """
        request = {
            "entry": entry,
            "argv": [entry[0], *map(str, arguments)],
            "cwd": str(cwd or Path.cwd()),
            "env": {**os.environ, **(env or {})},
        }
        stdout, stderr, status = os.pipe(), os.pipe(), os.pipe()
        given = [_given(stdin), stdout[1], stderr[1], status[1]]
        try:
            return Child(self._ask(request, given), status[0], stdout[0], stderr[0])
        finally:
            for fd in given:
                os.close(fd)

    def _ask(self, request: Mapping[str, object], fds: Sequence[int]) -> int:
        with self._lock:
            if self._control is None:
                self._control = self._begin()
            socket.send_fds(self._control, [json.dumps(request).encode()], fds)
            return int(self._control.recv(100))

    def _begin(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            code = _SERVE.format(path=sys.path, fd=theirs.fileno())
            self._server = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        return ours

    def close(self) -> None:
        if self._control is not None and self._server is not None:
            self._control.close()
            self._server.wait(60)


def _text(said: bytes) -> str:
    return said.decode().replace("\r\n", "\n")


def _given(text: str | None) -> int:
    """A descriptor that gives the text, which has to fit into a pipe, and then its end."""
    if text is None:
        return os.open(os.devnull, os.O_RDONLY)
    assert len(text) <= _PIPE_BYTES
    source, target = os.pipe()
    with os.fdopen(target, "w", encoding="utf-8") as stream:
        stream.write(text)
    return source


FORKS: Final = Forks()
