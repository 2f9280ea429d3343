"""Scripted faults for the test registry: what goes wrong with the answer of one request.

An action is a value; the registry's handler carries it out. Everything is deterministic: counters, no chance.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = [
    "Action",
    "Corrupt",
    "Delay",
    "Do",
    "DropHeader",
    "Fault",
    "Redirect",
    "Reset",
    "SetHeader",
    "Stall",
    "Status",
    "Throttle",
    "Truncate",
]


@dataclass(frozen=True)
class Status:
    """Answer with this status instead; with `performed`, the request takes effect before the answer is replaced."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    performed: bool = False


@dataclass(frozen=True)
class Reset:
    """Send this many bytes of the body, then a TCP reset; negative: before any byte of the answer."""

    after_bytes: int


@dataclass(frozen=True)
class Truncate:
    """Send this many bytes of the body, then close; the Content-Length stays unless `without_length`."""

    after_bytes: int
    without_length: bool = False


@dataclass(frozen=True)
class Corrupt:
    """Flip one bit of the byte at this offset of the body."""

    offset: int


@dataclass(frozen=True)
class Delay:
    """Wait before the answer."""

    seconds: float


@dataclass(frozen=True)
class Do:
    """Call this before the request takes effect, or behind it with `performed`; then answer as ever."""

    what: Callable[[], object]
    performed: bool = False


@dataclass(frozen=True)
class Stall:
    """Send the headers and this many bytes of the body, wait, then go on."""

    seconds: float
    after_bytes: int = 0


@dataclass(frozen=True)
class Throttle:
    """Send the body at this rate, on this connection."""

    bytes_per_s: float
    piece_bytes: int = 64 << 10


@dataclass(frozen=True)
class Redirect:
    """Answer with a redirect."""

    url: str
    status: int = 307


@dataclass(frozen=True)
class DropHeader:
    """Leave out a header of the answer."""

    name: str


@dataclass(frozen=True)
class SetHeader:
    """Set or replace a header of the answer."""

    name: str
    value: str


Action = Status | Reset | Truncate | Corrupt | Delay | Do | Stall | Throttle | Redirect | DropHeader | SetHeader


@dataclass
class Fault:
    """An action for the requests that match, after `skip` of them, `times` times."""

    method: str
    path: re.Pattern[str]
    action: Action
    times: int
    skip: int = 0

    def takes(self, method: str, path: str) -> bool:
        """True if this request gets the fault; counts it."""
        if self.times <= 0 or self.method not in ("*", method) or self.path.search(path) is None:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.times -= 1
        return True
