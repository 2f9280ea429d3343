from __future__ import annotations

import pytest

from provender.storage.registry.retry import RetryPolicy, Timing, retry_after_s

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
