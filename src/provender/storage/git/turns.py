"""Turns: how many gits of one run may speak to one host at once. Storage layer.

A git speaks for as long as it fetches, and an sshd drops connections beyond ten that it does not know yet
(sshd_config(5), MaxStartups).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

from provender.storage.git.ssh import is_over_ssh

__all__ = ["HostTurns"]

_AT_ONCE: Final = 16
_AT_ONCE_OVER_SSH: Final = 8
_LOOK_S: Final = 0.25


class HostTurns:
    """Turns at hosts; safe from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hosts: dict[tuple[str, bool], threading.BoundedSemaphore] = {}

    @contextmanager
    def taken(self, url: str, check: Callable[[], None]) -> Iterator[None]:
        """A turn at the host of `url`, once there is one; `check` is called meanwhile, and may raise."""
        over_ssh = is_over_ssh(url)
        host = (urlsplit(url).netloc if "://" in url else url.partition(":")[0]).rpartition("@")[2].lower()
        with self._lock:
            turns = self._hosts.setdefault(
                (host, over_ssh), threading.BoundedSemaphore(_AT_ONCE_OVER_SSH if over_ssh else _AT_ONCE)
            )
        while not turns.acquire(timeout=_LOOK_S):
            check()
        try:
            yield
        finally:
            turns.release()
