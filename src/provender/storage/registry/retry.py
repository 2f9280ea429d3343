"""When to try again and how long to wait: full jitter, `Retry-After`, a budget (faults-and-performance, 4.1).

Registry layer, below the wire. Time and chance come in through `Timing`, so that tests need neither.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

__all__ = ["TEMPORARY_STATUSES", "RetryPolicy", "Timing", "retry_after_s"]

# Never 400, 401, 403, 404, 405, 413: asking again gives the same answer. 499 and 520-524 come from proxies in front.
TEMPORARY_STATUSES: Final = frozenset({408, 425, 429, 499, 500, 502, 503, 504, 520, 521, 522, 523, 524})


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Clocks, sleep and chance. `jitter` gives a number between 0 and its argument."""

    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    jitter: Callable[[float], float] = lambda most: random.SystemRandom().uniform(0, most)


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """At most `tries` times; waits up to `base_s` doubling to `cap_s`; `budget_s` bounds all waits of one request."""

    tries: int = 4
    base_s: float = 0.5
    cap_s: float = 30
    budget_s: float = 600

    def wait_s(self, tries: int, asked_s: float | None, timing: Timing) -> float:
        """How long to wait after that many tries; what the registry asked for is obeyed in full."""
        backoff = timing.jitter(min(self.cap_s, self.base_s * 2 ** (tries - 1)))
        return backoff if asked_s is None else asked_s + backoff / 4


def retry_after_s(headers: Mapping[str, str], now: float) -> float | None:
    """The seconds that `Retry-After` asks for (RFC 9110: seconds or a date), or None."""
    text = headers.get("retry-after", "").strip()
    if not text or len(text) > 64:
        return None
    if text.isascii() and text.isdigit():
        return float(text)
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None
