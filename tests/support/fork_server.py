"""A process that has imported everything, does nothing, and forks on demand: who starts from here starts at once.

It is asked over a socket (see `support.forked`): a request is JSON, with the three streams and the pipe for the exit
status behind it; the answer is the number of the new process. It ends when nobody can ask any more.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, Final

import provender

# Imported by the commands when they need them.
_BY_OTHERS: Final = ("rich.progress", "ssl", "subprocess", "tempfile", "truststore", "urllib3", "yaml")
_MOST_BYTES: Final = 1 << 20


def serve(fd: int) -> None:
    """Answer what is asked on the socket `fd`; in a new process it returns when the command did."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at the terminal is the tests'
    for name in (*_BY_OTHERS, "support.kills", *_modules()):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    command = _Server(socket.socket(fileno=fd)).run()
    if command is not None:
        command()


def _modules() -> list[str]:
    walked = pkgutil.walk_packages(provender.__path__, f"{provender.__name__}.")
    return [module.name for module in walked if not module.name.endswith("__main__")]


class _Server:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._statuses: dict[int, int] = {}
        self._woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def run(self) -> Callable[[], object] | None:
        """None when nobody asks any more; in each process that was forked, what it is to do."""
        while True:
            ready = select.select([self._control, self._woken], [], [])[0]
            if self._woken in ready:
                os.read(self._woken, 4096)
                self._tell_ends()
            if self._control in ready:
                message, streams, _, _ = socket.recv_fds(self._control, _MOST_BYTES, 4)
                if not message:
                    return None
                pid = os.fork()
                if not pid:
                    self._control.close()
                    return _become(json.loads(message), streams)
                for fd in streams[:3]:
                    os.close(fd)
                self._statuses[pid] = streams[3]
                self._control.send(b"%d" % pid)

    def _tell_ends(self) -> None:
        while self._statuses:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            told = self._statuses.pop(pid)
            # Nobody listens where the test has ended.
            os.write(told, b"%d" % os.waitstatus_to_exitcode(status))
            os.close(told)


def _become(request: dict[str, Any], streams: list[int]) -> Callable[[], object]:
    """Be as a process that was started with these streams, in this directory and environment."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, fd in enumerate(streams[:3]):
        os.dup2(fd, number)
    os.closerange(3, 1 << 16)
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(
            number, mode, encoding=was.encoding, errors=was.errors, closefd=False, buffering=-1 if number < 2 else 1
        )
        for number, (mode, was) in enumerate((("r", sys.stdin), ("w", sys.stdout), ("w", sys.stderr)))
    )
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = request["argv"]
    module, name = request["entry"]
    entry: Callable[[], object] = getattr(importlib.import_module(module), name)
    return entry
