"""When to try again and how long to wait: full jitter, `Retry-After`, a budget of time (faults-and-performance, 4.1).

Registry layer, below the wire. Time and chance come in through `Timing`, so that tests need neither.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

__all__ = ["TEMPORARY_STATUSES", "Patience", "RetryPolicy", "Timing", "announced_wait_s", "retry_after_s"]

_LEAST_ASKED_S: Final = 0.001

# Never 400, 401, 403, 404, 405, 413: asking again gives the same answer. 499 and 520-524 come from proxies in front.
TEMPORARY_STATUSES: Final = frozenset({408, 425, 429, 499, 500, 502, 503, 504, 520, 521, 522, 523, 524})

# GHCR puts the wait into the message of the 429: "retry-after: 10.305464ms, allowed: 2000/minute"
# (seen in chainguard-images #173, cuda-quantum #3979). The form is that of Go's time.Duration.
# Like all patterns here that are seldom asked, as text: compiling one takes as long as importing a small module.
_ANNOUNCED: Final = r"(?i)retry[- ]after:?\s*((?:\d{1,9}(?:\.\d{1,12})?(?:ns|us|µs|μs|ms|s|m|h))+)"
_DURATION: Final = r"(\d+(?:\.\d+)?)(ns|us|µs|μs|ms|s|m|h)"
_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def _any_up_to(most: float) -> float:
    import random

    return random.SystemRandom().uniform(0, most)


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Clocks, sleep and chance. `jitter` gives a number between 0 and its argument."""

    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    jitter: Callable[[float], float] = _any_up_to


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How patient a request or a download is. Only tries without any progress count.

    `tries` in a row, `first_tries` at a host that never answered (a wrong name or port); waits up to `base_s` doubling
    to `cap_s`; `budget_s` for everything since the last progress, `asked_budget_s` for waits that the registry asked
    for. An answer slower than `slow_bytes_s` for `slow_after_s` is broken off and resumed.
    """

    tries: int = 8
    first_tries: int = 4
    base_s: float = 0.5
    cap_s: float = 60
    budget_s: float = 300
    asked_budget_s: float = 600
    slow_bytes_s: float = 1024
    slow_after_s: float = 30

    def wait_s(self, tries: int, asked_s: float | None, timing: Timing) -> float:
        """How long to wait after that many tries; what the registry asked for is obeyed in full."""
        most = min(self.cap_s, self.base_s * 2 ** min(tries - 1, 32))
        if asked_s is None:
            return timing.jitter(most)
        return asked_s + timing.jitter(min(most, max(1.0, asked_s / 4)))


class Patience:
    """The patience of one request or one download: what was tried and waited since the last progress."""

    def __init__(self, policy: RetryPolicy, timing: Timing) -> None:
        self._policy = policy
        self._timing = timing
        self.tries = 0  # in a row, without progress
        self._since_s = timing.monotonic()
        self._asked_s = 0.0

    def progressed(self) -> None:
        """Something arrived: everything starts anew."""
        self.tries = 0
        self._since_s = self._timing.monotonic()
        self._asked_s = 0.0

    def after_failure(self, *, is_known: bool) -> float | None:
        """The wait after a try without an answer; None to give up. `is_known`: the host has answered before."""
        self.tries += 1
        if self.tries >= (self._policy.tries if is_known else self._policy.first_tries):
            return None
        return self._backoff_s()

    def after_answer(self, status: int, asked_s: float | None) -> float | None:
        """The wait after a temporary status; None to give up. A wait that was asked for counts for its own budget."""
        self.tries += 1
        # To be told "at once" is no wait, and does not make a broken host one that is only busy.
        if asked_s is not None and asked_s >= _LEAST_ASKED_S:
            wait_s = self._policy.wait_s(self.tries, asked_s, self._timing)
            if self._asked_s + asked_s > self._policy.asked_budget_s:
                return None
            self._asked_s += wait_s
            return wait_s
        # A 429 is no sign of a broken host: it ends with the time alone.
        if status != 429 and self.tries >= self._policy.tries:
            return None
        return self._backoff_s()

    def _backoff_s(self) -> float | None:
        wait_s = self._policy.wait_s(self.tries, None, self._timing)
        spent_s = self._timing.monotonic() - self._since_s - self._asked_s
        return None if spent_s + wait_s > self._policy.budget_s else wait_s


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


def announced_wait_s(message: str) -> float | None:
    """The seconds that the text of an error names as GHCR does; None if it names none."""
    match = re.search(_ANNOUNCED, message[:2000])
    if match is None:
        return None
    return sum(float(number) * _UNITS[unit.lower()] for number, unit in re.findall(_DURATION, match[1].lower()))
