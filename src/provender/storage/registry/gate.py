"""Gates: how many requests may run at one host, and how fast they may follow each other. One per host and direction.

Registry layer, below the wire; shared by everything that one process does. Additive increase, multiplicative decrease:
a host that answers 429 gets half, a host that is content gets more again. So a storm of refusals slows the process
down instead of failing it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from typing import Final, Literal

import msgspec

from provender.errors import Unavailable
from provender.storage.registry.origin import Origin
from provender.storage.registry.retry import Timing

__all__ = ["Gate", "Gates", "HostLimits", "Lane", "Turn"]

Lane = Literal["read", "write"]

_LONGEST_TURN_S: Final = 900.0  # longer than any request may take
_WINDOW_S: Final = 1.0  # over which the rate before a refusal is measured
_FIRST_RATE: Final = 8
_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0
_SLOWEST_PER_S: Final = 1.0  # below, the waits of the refused requests themselves do it
_MORE_PER_S: Final = 0.1  # faster with each request that went well,
_LITTLE_MORE_PER_S: Final = 0.01  # but near the rate that was refused
_MAX_HOSTS: Final = 256


class HostLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one host: requests at once, at first and at most, and requests per second (None: no limit)."""

    reads: int = 16
    max_reads: int = 32
    writes: int = 4
    max_writes: int = 8
    per_second: float | None = None


class Turn(msgspec.Struct, frozen=True):
    """A request's turn at a gate: when it began."""

    began_s: float


class Gate:
    """The gate of one host and direction. A turn lasts until the head of the answer is there, not its body.

    So nobody who reads one answer and asks something else meanwhile can wait for himself. Safe from several threads.
    """

    def __init__(self, start: int, most: int, per_second: float | None, timing: Timing) -> None:
        self._most = most
        self._per_second = per_second
        self._timing = timing
        self._changed = threading.Condition()
        self._start = start
        self._limit = start
        self._gained = 0
        self._running = 0
        self._rate = per_second
        self._ceiling = 0.0  # the rate that was refused last
        self._next_s = 0.0
        self._resumes_s = 0.0  # nothing starts before
        self._slowed_s = -1.0
        self._epoch = 0
        self._recent: deque[float] = deque(maxlen=4096)  # when the last requests that went well ended

    @property
    def limit(self) -> int:
        """How many requests may run at once now."""
        return self._limit

    @property
    def rate(self) -> float | None:
        """How many requests may start in a second now; None for any number."""
        return self._rate

    def enter(self) -> Turn:
        """A turn; it waits for a place, then for the time. The caller gives it back by `leave`."""
        with self._changed:
            is_free = self._running < self._limit
            if not is_free and not self._changed.wait_for(lambda: self._running < self._limit, _LONGEST_TURN_S):
                raise Unavailable(
                    f"no turn for a request in {_LONGEST_TURN_S:g} s, since the ones before it do not end",
                    code="no-turn",
                    hint="try again later, with a lower --concurrency",
                )
            self._running += 1
            now_s = self._timing.monotonic()
            if self._rate is None and now_s >= max(self._next_s, self._resumes_s):
                return Turn(now_s)
        entered = False
        try:
            self._pace()
            entered = True
        finally:
            if not entered:
                self._give_back()
        return Turn(self._timing.monotonic())

    def leave(self, turn: Turn, status: int | None, asked_s: float | None = None) -> None:
        """Give a turn back. `status` is the answer's, None without one; `asked_s` is what a 429 asks to wait."""
        with self._changed:
            now_s = self._timing.monotonic()
            if status == 429:
                self._refused(turn, now_s, asked_s)
            elif status is not None and status < 500:
                self._recent.append(now_s)
                # Up to where it started one more each time, beyond that one more a round.
                self._gained = 0 if self._limit < self._start or self._gained >= self._limit else self._gained + 1
                self._limit = min(self._limit + (self._gained == 0), self._most)
                if self._rate is not None and self._rate != self._per_second:
                    is_near = 0.8 * self._ceiling < self._rate < 1.2 * self._ceiling
                    self._rate = self._bounded(self._rate + (_LITTLE_MORE_PER_S if is_near else _MORE_PER_S))
            self._free_one()

    def _refused(self, turn: Turn, now_s: float, asked_s: float | None) -> None:
        # A host that asks for a day gets an error to its caller, not a closed gate. One that asks for nothing may count
        # by the second, and refuse all that comes in the rest of it.
        pause_s = _PAUSE_S if asked_s is None else min(asked_s, _LONGEST_PAUSE_S)
        if turn.began_s > self._slowed_s or asked_s is not None:
            self._resumes_s = max(self._resumes_s, now_s + pause_s)
        if turn.began_s <= self._slowed_s:
            return  # it was on its way when another refusal slowed us down already
        self._limit = max(1, self._limit // 2)
        went_well = sum(1 for ended_s in self._recent if ended_s > now_s - _WINDOW_S)
        # The first refusal may be about others' requests as well: then few of ours prove little.
        self._ceiling = min(self._rate, went_well or 1) if self._rate else max(went_well, _FIRST_RATE)
        self._rate = self._bounded(self._ceiling / 2)
        self._slowed_s = now_s
        self._next_s = max(self._resumes_s, now_s + 1 / self._rate)
        self._epoch += 1

    def _bounded(self, rate: float) -> float:
        return max(_SLOWEST_PER_S, rate if self._per_second is None else min(rate, self._per_second))

    def _pace(self) -> None:
        """Wait for the moment that is this request's by the rate; who waits while it is lowered gets a later one."""
        while True:
            with self._changed:
                now_s = self._timing.monotonic()
                at_s = max(now_s, self._next_s, self._resumes_s)
                if self._rate is not None:
                    self._next_s = at_s + 1 / self._rate
                if at_s <= now_s:
                    return
                epoch = self._epoch
            self._timing.sleep(at_s - now_s)
            with self._changed:
                if self._epoch == epoch:
                    return

    def _give_back(self) -> None:
        with self._changed:
            self._free_one()

    def _free_one(self) -> None:
        # Only as many are woken as may enter: where many wait, all would wake for each request.
        self._running -= 1
        if self._running < self._limit:
            self._changed.notify(self._limit - self._running)


class Gates:
    """The gates of a process, made when a host is first asked."""

    def __init__(self, limits: HostLimits | None = None, timing: Timing | None = None) -> None:
        self._limits = limits or HostLimits()
        self._timing = timing or Timing()
        self._gates: OrderedDict[tuple[Origin, Lane], Gate] = OrderedDict()
        self._lock = threading.Lock()
        self.side_by_side = threading.BoundedSemaphore(1)
        """Held by the one download that is fetched in parallel ranges: its buffers are the process's only ones."""

    def of(self, origin: Origin, lane: Lane) -> Gate:
        """The gate of a host."""
        with self._lock:
            gate = self._gates.get((origin, lane))
            if gate is None:
                limits = self._limits
                start, most = (limits.reads, limits.max_reads) if lane == "read" else (limits.writes, limits.max_writes)
                gate = Gate(min(start, most), most, limits.per_second, self._timing)
                self._gates[origin, lane] = gate
                if len(self._gates) > _MAX_HOSTS:
                    self._gates.popitem(last=False)
            return gate
