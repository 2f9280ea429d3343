"""The scribe: a second process that creates small files beside us.

Artifact layer, below the tree writer. Creating thousands of files keeps one core busy in the kernel; threads do not
help, since each short system call would wait for the interpreter's lock. POSIX only, as the tree writer is.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import marshal
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Final

from provender.artifact import scribe_process
from provender.artifact.scribe_process import HASHING, LENGTH_BYTES, ROOT

__all__ = ["Scribe", "can_have_scribe"]

_PIPE_BYTES: Final = 1 << 20
# What may wait in the pipe before we write files ourselves.
_BACKLOG_BYTES: Final = 600 << 10
_SHA256_BYTES: Final = 32

Done = Callable[[str], None]
"""Takes the SHA-256 of a file in hexadecimal; empty without hashing."""


def can_have_scribe() -> bool:
    """True where there is a second core, and an interpreter to start."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores > 1 and bool(sys.executable) and os.path.isfile(scribe_process.__file__)


class Scribe:
    """Writes into the directory that `root` is open to. `finish` or `stop` has to come last. Safe from several threads.

    Directories have to be there when their files are offered. What it has taken it has in its pipe or on disk.
    """

    def __init__(self, root: int, *, is_hashing: bool) -> None:
        self._lock = threading.Lock()
        self._done: list[Done] = []
        input_end, self._pipe = os.pipe()
        self._answer, output_end = os.pipe()
        set_size = getattr(fcntl, "F_SETPIPE_SZ", None)
        if set_size is not None:
            with contextlib.suppress(OSError):  # a user may have too much in pipes already
                fcntl.fcntl(self._pipe, set_size, _PIPE_BYTES)
        try:
            # Nothing else is handed down: our descriptors close in the new program, and its environment is empty.
            self._pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", scribe_process.__file__, *([HASHING] if is_hashing else [])],
                {},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, root, ROOT),
                    (os.POSIX_SPAWN_DUP2, input_end, 0),
                    (os.POSIX_SPAWN_DUP2, output_end, 1),
                ],
            )
        except OSError:
            os.close(self._pipe)
            os.close(self._answer)
            raise
        finally:
            os.close(input_end)
            os.close(output_end)

    def offer(self, folder: str, files: Sequence[tuple[str, int, bytes]], done: Sequence[Done]) -> bool:
        """True if the files (name, mode, content) of `folder` are taken; False while there is enough to do.

        `done` are called by `finish`, one for each file.
        """
        import termios  # few artifacts need a scribe

        with self._lock:
            waiting = fcntl.ioctl(self._pipe, termios.FIONREAD, b"\0\0\0\0")
            if int.from_bytes(waiting, sys.byteorder) > _BACKLOG_BYTES:
                return False
            batch = marshal.dumps((folder, list(files)))
            self._send(len(batch).to_bytes(LENGTH_BYTES, "big") + batch)
            self._done += done
            return True

    def finish(self) -> None:
        """Waits until everything is written. Raises OSError, with the path below the root, for what could not be."""
        os.close(self._pipe)
        self._pipe = -1
        with open(self._answer, "rb") as answer:
            self._answer = -1
            raw = answer.read()
        status, self._pid = os.waitpid(self._pid, 0)[1], 0
        if status or not raw:
            raise _ended()
        error, count, digests = marshal.loads(raw)  # noqa: S302 - from our own kind
        if error is not None:
            raise OSError(error[0], os.strerror(error[0]), error[1])
        if count != len(self._done):
            raise _ended()
        for number, done in enumerate(self._done):
            done(digests[number * _SHA256_BYTES : (number + 1) * _SHA256_BYTES].hex())

    def stop(self) -> None:
        """Ends it at once, whatever it is at; after `finish` nothing happens."""
        for fd in (self._pipe, self._answer):
            if fd >= 0:
                os.close(fd)
        self._pipe = self._answer = -1
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0

    def _send(self, frame: bytes) -> None:
        view = memoryview(frame)
        try:
            while view:
                view = view[os.write(self._pipe, view) :]
        except BrokenPipeError as error:
            raise _ended() from error


def _ended() -> OSError:
    return OSError(errno.EIO, "the process that writes files ended early")
