"""Asking one source after the other: which failures lead on, who is passed over, and the error at the end.

Storage layer, below `mirrored`. What a failure means is decided here and nowhere else (design formats, section 3).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Generic, Protocol, TypeVar

from provender.errors import NotFound, ProvenderError, RateLimited, Unavailable, Unsupported

__all__ = ["Attempts", "Health"]

_LIMIT: Final = 3
# No usable answer (no connection, 5xx, a page instead of a registry), 429, 404, and 405 or 501. Whatever else a source
# says stops: 401 and 403 ask for a person, and wrong bytes are no accident that is to be passed over.
_LEADS_ON: Final = (NotFound, RateLimited, Unavailable, Unsupported)


class _Named(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def is_location(self) -> bool: ...


_S = TypeVar("_S", bound=_Named)


class Health:
    """How the hosts of one run fared. One that gave no usable answer three times, or asked for less, comes last.

    It is not given up: where all others fail it is asked again. Safe from several threads.
    """

    def __init__(self) -> None:
        self._failures: dict[str, int] = {}
        self._told: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def failed(self, host: str, error: ProvenderError) -> None:
        """Count a failure."""
        if not isinstance(error, Unavailable | RateLimited):
            return
        with self._lock:
            weight = _LIMIT if isinstance(error, RateLimited) else 1
            self._failures[host] = self._failures.get(host, 0) + weight

    def is_down(self, host: str) -> bool:
        """True for a host that is asked last."""
        with self._lock:
            return self._failures.get(host, 0) >= _LIMIT

    def is_new(self, host: str, code: str) -> bool:
        """True the first time that this failure of this host is told."""
        with self._lock:
            is_new = (host, code) not in self._told
            self._told.add((host, code))
            return is_new


class Attempts(Generic[_S]):
    """The sources for one question, in the order in which they are asked."""

    def __init__(self, sources: Sequence[_S], health: Health, warn: Callable[[str], None] | None) -> None:
        self._health = health
        self._warn = warn
        self._waiting = deque(source for source in sources if not health.is_down(source.host))
        self._resting = deque(source for source in sources if health.is_down(source.host))
        self._failures: list[tuple[_S, ProvenderError]] = []

    def next(self) -> _S | None:
        """The source to ask now; None when all were asked.

        Hosts that failed before come last, and not at all where the location said that there is none.
        """
        if not self._waiting and not any(
            source.is_location and isinstance(error, NotFound) for source, error in self._failures
        ):
            self._waiting, self._resting = self._resting, deque()
        return self._waiting.popleft() if self._waiting else None

    def failed(self, source: _S, error: ProvenderError) -> None:
        """Take note that a source failed; raises the error if it does not lead on to another source."""
        if not isinstance(error, _LEADS_ON):
            raise error.at(source.name)
        self._health.failed(source.host, error)
        self._failures.append((source, error))
        is_expected = isinstance(error, NotFound) or not (self._waiting or self._resting)
        if self._warn is not None and not is_expected and self._health.is_new(source.host, error.code):
            self._warn(f"{source.name} is passed over: {error.message}")

    def failure(self) -> ProvenderError:
        """The error of a question that no source answered: the location's, else that of one that could not be asked."""
        said = [item for item in self._failures if item[0].is_location]
        unasked = [item for item in self._failures if not isinstance(item[1], NotFound)]
        chosen, error = (said or unasked or self._failures)[-1]
        others = [f"{source.name} ({other.code})" for source, other in self._failures if source is not chosen]
        if not others:
            return error.at(chosen.name)
        return type(error)(
            f"{error.message}; also asked: {', '.join(others)}",
            code=error.code,
            where=error.where or chosen.name,
            hint=error.hint,
            exit_status=error.exit_status,
            retryable=error.retryable,
        )
