from __future__ import annotations

import threading

from provender.storage.registry import Gates, HostLimits
from provender.storage.registry.gate import Gate
from provender.storage.registry.origin import Origin
from provender.storage.registry.retry import Timing


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    @property
    def timing(self) -> Timing:
        return Timing(sleep=self.sleep, monotonic=lambda: self.now, now=lambda: self.now)


def test_hosts_ports_and_directions_have_gates_of_their_own() -> None:
    gates = Gates(HostLimits(reads=3, max_reads=5, writes=1, max_writes=2))
    one, other = Origin.of("https://a.example"), Origin.of("https://a.example:444")
    assert gates.of(one, "read") is gates.of(one, "read")
    assert gates.of(one, "read") is not gates.of(other, "read")
    assert (gates.of(one, "read").limit, gates.of(one, "write").limit) == (3, 1)


def test_any_number_of_hosts_is_forgotten_again() -> None:
    gates = Gates()
    first = gates.of(Origin.of("https://first.example"), "read")
    for number in range(1000):
        gates.of(Origin.of(f"https://h{number}.example"), "read")
    assert gates.of(Origin.of("https://first.example"), "read") is not first


def test_no_more_than_the_limit_run_at_once() -> None:
    gate = Gate(2, 2, None, Timing())
    turns = [gate.enter(), gate.enter()]
    entered = threading.Event()

    def third() -> None:
        gate.leave(gate.enter(), 200)
        entered.set()

    thread = threading.Thread(target=third)
    thread.start()
    assert not entered.wait(0.05)
    gate.leave(turns[0], None)
    assert entered.wait(10)
    thread.join(10)
    gate.leave(turns[1], 500)
    assert gate.limit == 2


def test_of_many_that_wait_each_gets_its_turn_while_the_limit_moves() -> None:
    clock = Clock()
    gate = Gate(3, 8, None, clock.timing)
    ended = threading.Semaphore(0)

    def ask(number: int) -> None:
        for round_ in range(20):
            gate.leave(gate.enter(), 429 if (number + round_) % 7 == 0 else 500 if round_ % 5 == 0 else 200)
        ended.release()

    threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(24)]
    for thread in threads:
        thread.start()
    assert all(ended.acquire(timeout=60) for _ in threads)


def test_success_widens_and_refusal_halves() -> None:
    clock = Clock()
    gate = Gate(4, 6, None, clock.timing)
    for _ in range(20):
        gate.leave(gate.enter(), 200)
    assert gate.limit == 6
    gate.leave(gate.enter(), 429)
    assert gate.limit == 3
    gate.leave(gate.enter(), 200)
    assert gate.limit == 4
    for _ in range(10):
        clock.now += 5
        gate.leave(gate.enter(), 429)
    assert gate.limit == 1


def test_a_refusal_holds_everybody_for_as_long_as_was_asked() -> None:
    clock = Clock()
    gate = Gate(4, 4, None, clock.timing)
    gate.leave(gate.enter(), 429, 20)
    gate.leave(gate.enter(), 200)
    assert 120 <= clock.now < 125


def test_a_refusal_for_a_day_does_not_close_the_gate_for_long() -> None:
    clock = Clock()
    gate = Gate(4, 4, None, clock.timing)
    gate.leave(gate.enter(), 429, 86400)
    gate.leave(gate.enter(), 200)
    assert clock.now < 200


def test_failures_of_the_host_change_nothing() -> None:
    gate = Gate(4, 6, None, Clock().timing)
    for status in (None, 500, 503):
        gate.leave(gate.enter(), status)
    assert gate.limit == 4
    assert gate.rate is None


def test_an_interrupt_in_the_wait_gives_the_turn_back() -> None:
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    gate = Gate(1, 1, 1, Timing(sleep=interrupted, monotonic=lambda: 100.0))
    gate.leave(gate.enter(), 200)
    for _ in range(3):  # would hang if the turn were lost
        try:
            gate.enter()
        except KeyboardInterrupt:
            continue
        raise AssertionError("the rate was not kept")
