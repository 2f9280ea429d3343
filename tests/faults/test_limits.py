"""F13, F14, F15, F19: a registry that wants less, and one that is away for a while."""

from __future__ import annotations

from email.utils import formatdate
from functools import partial
from pathlib import Path

import pytest

from provender.errors import RateLimited, Unavailable
from provender.oci import Descriptor
from provender.storage.registry import (
    Gates,
    HostLimits,
    HttpTransport,
    NoCredentials,
    RegistryClient,
    RegistryRepository,
    RetryPolicy,
    Timing,
)
from provender.storage.registry.gate import Gate, Turn
from provender.storage.registry.origin import Origin
from provender.storage.verify import BytesReader
from provender.transfer.pool import run_all
from support.clock import JumpingClock
from support.command import provender_forked
from support.registry import Action, Reply, Request, Status, TestRegistry
from support.registry_client import Connector
from support.registry_content import problem
from support.workspace import publish

LATER = {"Retry-After": "2"}


def test_f13_a_wait_that_is_asked_for_is_kept_and_halves_what_runs_at_once(
    registry: TestRegistry, connect: Connector
) -> None:
    gates = Gates(timing=connect.timing)
    digest = registry.push_artifact("acme/app", "1.0", [b"x"])
    registry.fault(("GET", "/manifests/"), action=Status(429, LATER), times=3)
    gate = gates.of(Origin.of(registry.url), "read")
    assert gate.limit == 16
    limits = []
    connect.on_sleep = lambda: limits.append(gate.limit)
    assert connect(registry, gates=gates).repository("acme/app").resolve("1.0").digest == digest
    assert len(connect.sleeps) == 3
    assert min(connect.sleeps) >= 2
    assert limits == [8, 4, 2]


def test_f13_everybody_waits_for_what_one_was_told(registry: TestRegistry, connect: Connector) -> None:
    gates = Gates(timing=connect.timing)
    registry.push_artifact("acme/app", "1.0", [b"x"])
    client = connect(registry, gates=gates, policy=RetryPolicy(asked_budget_s=0))
    registry.fault(("GET", "/manifests/"), action=Status(429, {"Retry-After": "20"}))
    with pytest.raises(RateLimited):
        client.repository("acme/app").resolve("1.0")
    assert connect.sleeps == []
    client.repository("acme/app").resolve("1.0")
    assert sum(connect.sleeps) >= 20


def test_f13_a_wait_over_three_seconds_is_announced_once(
    registry: TestRegistry, repository: RegistryRepository, connect: Connector
) -> None:
    registry.push_artifact("acme/app", "1.0", [b"x"])
    registry.fault(("GET", "/manifests/"), action=Status(503, {"Retry-After": "2"}))
    registry.fault(("GET", "/manifests/"), action=Status(503, {"Retry-After": "30"}))
    repository.resolve("1.0")
    assert len(connect.warnings) == 1
    assert connect.warnings[0].startswith(f"{registry.host}: waits 3")
    assert "503" in connect.warnings[0]


def test_f14_a_date_is_a_wait(registry: TestRegistry, repository: RegistryRepository, connect: Connector) -> None:
    registry.push_artifact("acme/app", "1.0", [b"x"])
    started = connect.time
    registry.fault(("GET", "/manifests/"), action=Status(429, {"Retry-After": formatdate(started + 90, usegmt=True)}))
    repository.resolve("1.0")
    assert connect.time >= started + 90


def test_f14_the_text_of_a_429_is_a_wait(
    registry: TestRegistry, repository: RegistryRepository, connect: Connector
) -> None:
    registry.push_artifact("acme/app", "1.0", [b"x"])
    for text, least, most in (("10.305464ms", 0.0, 3), ("1m2.5s", 62.5, 90)):
        message = f"retry-after: {text}, allowed: 2000/minute"
        reply = problem(429, "TOOMANYREQUESTS", message)
        registry.fault(("GET", "/manifests/"), action=Status(429, reply.headers, reply.body))
        started = connect.time
        repository.resolve("1.0")
        assert least <= connect.time - started <= most


def test_f14_a_wait_of_a_day_is_an_error_at_once_that_names_it(
    registry: TestRegistry, repository: RegistryRepository, connect: Connector
) -> None:
    registry.fault(("GET", "/manifests/"), action=Status(429, {"Retry-After": "86400"}), times=9)
    with pytest.raises(RateLimited) as caught:
        repository.resolve("1.0")
    assert caught.value.exit_status == 75
    assert "86400 s" in caught.value.message
    assert connect.sleeps == []
    assert registry.count() == 1


class LimitedRegistry(TestRegistry):
    """Takes so many requests of a kind in each second of a clock, and refuses the rest."""

    __test__ = False

    def limit(self, clock: JumpingClock, per_second: int, *methods: str) -> None:
        self.clock, self.per_second, self.methods = clock, per_second, methods
        self.taken: dict[int, int] = {}
        self.refusals = 0

    def answer(self, request: Request, fault: Action | None) -> Reply:
        self.clock.touch()
        second = int(self.clock.monotonic())
        if request.method in self.methods:
            if self.taken.get(second, 0) >= self.per_second:
                self.refusals += 1
                self.requests.append(request)
                return problem(429, "TOOMANYREQUESTS")
            self.taken[second] = self.taken.get(second, 0) + 1
        return super().answer(request, fault)


def test_f15_a_storm_of_refusals_slows_down_and_nothing_fails() -> None:
    with LimitedRegistry() as registry, JumpingClock() as clock, HttpTransport({}, concurrency=32) as transport:
        registry.limit(clock, 20, "GET")
        blobs = [Descriptor.of(b"%d" % number, "application/x") for number in range(300)]
        for number in range(300):
            registry.push_blob("acme/app", b"%d" % number)
        timing = Timing(sleep=clock.sleep, monotonic=clock.monotonic, now=clock.monotonic)
        gates = Gates(timing=timing)
        client = RegistryClient(
            registry.host, transport=transport, credentials=NoCredentials(), timing=timing, gates=gates
        )
        repository = client.repository("acme/app")

        def read(blob: Descriptor) -> bytes:
            with repository.fetch(blob) as reader:
                return reader.read() + reader.read()

        found = run_all([partial(read, blob) for blob in blobs], jobs=32)
        assert found == [b"%d" % number for number in range(300)]
        assert registry.refusals > 0  # there was a storm
        assert registry.refusals < len(registry.requests) / 10
        # Refused writes have their own gate.
        assert gates.of(Origin.of(registry.url), "write").limit == HostLimits().writes


def test_f15_refused_writes_do_not_slow_reads(registry: TestRegistry, connect: Connector) -> None:
    gates = Gates(timing=connect.timing)
    repository = connect(registry, gates=gates).repository("acme/app")
    registry.fault(("POST", "/uploads/"), action=Status(429), times=3)
    content = b"content"
    repository.push(Descriptor.of(content, "application/x"), BytesReader(content))
    read, write = (gates.of(Origin.of(registry.url), lane) for lane in ("read", "write"))
    assert write.rate is not None
    assert read.rate is None
    assert read.limit >= 16


def test_f15_the_gate_converges_on_what_a_host_allows() -> None:
    """One caller after another, at 50 requests a second allowed: few refusals, and most of what is allowed is used."""
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    gate = Gate(16, 32, None, Timing(sleep=sleep, monotonic=lambda: now, now=lambda: now))
    tokens, filled, refused, taken = 50.0, 0.0, 0, 0
    while now < 60:
        turn = gate.enter()
        tokens, filled = min(50.0, tokens + (now - filled) * 50), now
        if tokens >= 1:
            tokens -= 1
            taken += 1
            gate.leave(turn, 200)
        else:
            refused += 1
            gate.leave(turn, 429)
        now += 0.001
    assert refused < (taken + refused) * 0.05
    assert taken > 60 * 50 * 0.5


def test_f15_a_configured_rate_is_never_exceeded() -> None:
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    gate = Gate(16, 32, 10, Timing(sleep=sleep, monotonic=lambda: now, now=lambda: now))
    for _ in range(101):
        gate.leave(gate.enter(), 200)
    assert now == pytest.approx(10, abs=0.01)


def test_f15_requests_that_were_on_their_way_slow_down_once() -> None:
    now = 5.0
    gate = Gate(16, 32, None, Timing(sleep=lambda _: None, monotonic=lambda: now, now=lambda: now))
    turns: list[Turn] = [gate.enter() for _ in range(16)]
    for turn in turns:
        gate.leave(turn, 429)
    assert gate.limit == 8


def test_f19_a_registry_that_is_away_for_ten_seconds_is_waited_for(registry: TestRegistry, connect: Connector) -> None:
    blobs = [Descriptor.of(b"%d" % number, "application/x") for number in range(4)]
    repository = connect(registry).repository("acme/app")
    for number in (0, 1):
        repository.push(blobs[number], BytesReader(b"%d" % number))
    gone_at = connect.time
    registry.go_down()
    away = True

    def after_a_while() -> None:
        nonlocal away
        if away and connect.time >= gone_at + 10:
            away = False
            registry.come_back()

    connect.on_sleep = after_a_while
    before = len(registry.requests)
    for number in (2, 3):
        repository.push(blobs[number], BytesReader(b"%d" % number))
    assert not away
    assert connect.time < gone_at + 60
    assert all(registry.blob("acme/app", blob.digest) is not None for blob in blobs)
    sent = [item for item in registry.requests[before:] if item.method == "PUT"]
    assert len(sent) == 2  # what was finished is not sent again
    assert any("waits" in text for text in connect.warnings)


def test_f19_a_host_that_never_answered_is_given_up_soon(registry: TestRegistry, connect: Connector) -> None:
    repository = connect(registry).repository("acme/app")
    registry.go_down()
    with pytest.raises(Unavailable) as caught:
        repository.resolve("1.0")
    registry.come_back()
    assert caught.value.code == "connection-connect"
    assert caught.value.exit_status == 75
    assert connect.sleeps == [0.5, 1, 2]


def test_f15_a_user_sets_the_rate_by_a_variable(registry: TestRegistry, tmp_path: Path) -> None:
    publish(registry, "acme/app", "1.0", {"a.txt": b"a"})
    arguments = ("pull", f"{registry.host}/acme/app:1.0", "-o", tmp_path / "out", "--format", "json")
    result = provender_forked(*arguments, env={"PROVENDER_REQUESTS_PER_SECOND": "fast"})
    assert (result.status, result.error["code"]) == (78, "invalid-rate")
    assert provender_forked(*arguments, env={"PROVENDER_REQUESTS_PER_SECOND": "100"}).status == 0
