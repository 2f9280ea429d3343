from __future__ import annotations

import pytest

from provender.storage.registry.retry import Patience, RetryPolicy, Timing, announced_wait_s, retry_after_s

NOW = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("Sun, 06 Nov 1994 08:49:57 GMT", 20.0),
        ("Sun, 06 Nov 1994 08:49:07 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("9" * 100, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(text: str, seconds: float | None) -> None:
    assert retry_after_s({"retry-after": text}, NOW) == seconds


def test_waits_double_up_to_the_cap_with_full_jitter() -> None:
    policy = RetryPolicy(base_s=1, cap_s=5)
    most = Timing(jitter=lambda limit: limit)
    assert [policy.wait_s(tries, None, most) for tries in (1, 2, 3, 4)] == [1, 2, 4, 5]
    assert policy.wait_s(3, None, Timing(jitter=lambda _: 0.0)) == 0


def test_what_the_registry_asks_for_is_waited_in_full() -> None:
    assert RetryPolicy().wait_s(1, 20, Timing(jitter=lambda _: 0.0)) == 20


def test_the_default_jitter_stays_within_its_bounds() -> None:
    assert all(0 <= Timing().jitter(3) <= 3 for _ in range(50))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("retry-after: 10.305464ms, allowed: 2000/minute", 0.010305464),
        ("retry-after: 1m2.5s, allowed: 44000/minute", 62.5),
        ("Retry after 1h3m", 3780.0),
        ("retry-after: 5µs", 5e-06),
        ("retry-after: 5", None),
        ("too many requests", None),
        ("", None),
    ],
)
def test_the_wait_in_a_message_is_read_as_go_writes_it(text: str, seconds: float | None) -> None:
    assert announced_wait_s(text) == (None if seconds is None else pytest.approx(seconds))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    @property
    def timing(self) -> Timing:
        return Timing(monotonic=lambda: self.now, jitter=lambda most: most)


def test_patience_ends_with_the_tries_or_the_time_since_the_last_progress() -> None:
    clock = Clock()
    patience = Patience(RetryPolicy(tries=3, budget_s=100, base_s=1), clock.timing)
    assert [patience.after_failure(is_known=True) for _ in range(3)] == [1, 2, None]
    patience.progressed()
    assert patience.after_failure(is_known=True) == 1
    clock.now = 99.5
    assert patience.after_failure(is_known=True) is None
    patience.progressed()
    assert patience.after_failure(is_known=True) == 1


def test_patience_is_short_with_a_host_that_never_answered() -> None:
    patience = Patience(RetryPolicy(tries=8, first_tries=2), Clock().timing)
    assert patience.after_failure(is_known=False) is not None
    assert patience.after_failure(is_known=False) is None


def test_waits_that_were_asked_for_count_for_their_own_budget() -> None:
    clock = Clock()
    patience = Patience(RetryPolicy(tries=2, budget_s=10, asked_budget_s=100), clock.timing)
    waits = []
    while (wait_s := patience.after_answer(429, 30.0)) is not None:
        waits.append(wait_s)
        clock.now += wait_s
    assert len(waits) == 3
    assert min(waits) >= 30


def test_a_429_without_a_wait_ends_with_the_time_alone() -> None:
    clock = Clock()
    patience = Patience(RetryPolicy(tries=2, budget_s=300), clock.timing)
    while (wait_s := patience.after_answer(429, None)) is not None:
        clock.now += wait_s
    assert 200 < clock.now <= 300
    other = Patience(RetryPolicy(tries=2), clock.timing)
    assert other.after_answer(503, None) is not None
    assert other.after_answer(503, None) is None


def test_being_told_to_come_back_at_once_counts_as_a_try() -> None:
    clock = Clock()
    patience = Patience(RetryPolicy(tries=3, budget_s=100, base_s=1), clock.timing)
    assert [patience.after_answer(503, 0.0) for _ in range(3)] == [1, 2, None]
