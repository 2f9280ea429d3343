from __future__ import annotations

from email.utils import formatdate

import pytest

from provender.errors import Denied, NotFound, ProvenderError, RateLimited, Unauthorized, Unavailable, Unsupported
from provender.storage.registry import RegistryRepository, RetryPolicy
from support.registry import Status, TestRegistry
from support.registry_client import Connector

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("status", [408, 425, 429, 499, 500, 502, 503, 504, 520, 524])
def test_temporary_answers_are_tried_again(
    registry: TestRegistry, repository: RegistryRepository, connect: Connector, status: int
) -> None:
    digest = registry.push_artifact("acme/app", "1.0", [b"x"])
    registry.fault(("GET", "/manifests/"), action=Status(status), times=3)
    assert repository.resolve("1.0").digest == digest
    if status != 429:  # there the gate of the host takes part (tests/faults/test_limits.py)
        assert connect.sleeps == [0.5, 1, 2]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 413, 418, 501])
def test_final_answers_are_not(registry: TestRegistry, repository: RegistryRepository, status: int) -> None:
    registry.fault(("GET", "/manifests/"), action=Status(status), times=9)
    with pytest.raises(ProvenderError) as caught:
        repository.resolve("1.0")
    assert not caught.value.retryable
    assert registry.count() == 1


def test_eight_tries_are_the_end(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.fault(("GET", "/manifests/"), action=Status(503), times=99)
    with pytest.raises(Unavailable) as caught:
        repository.resolve("1.0")
    assert registry.count() == 8
    assert caught.value.retryable
    assert caught.value.exit_status == 75


def test_retry_after_in_seconds_and_as_a_date_is_waited_for(
    registry: TestRegistry, repository: RegistryRepository, connect: Connector
) -> None:
    registry.push_artifact("acme/app", "1.0", [b"x"])
    registry.fault(("GET", "/manifests/"), action=Status(429, {"Retry-After": "7"}))
    date = formatdate(connect.time + 30, usegmt=True)
    registry.fault(("GET", "/manifests/"), action=Status(503, {"Retry-After": date}))
    repository.resolve("1.0")
    assert connect.sleeps[0] >= 7
    assert connect.time >= 1_000_030


def test_a_wait_beyond_the_budget_is_named_at_once(
    registry: TestRegistry, repository: RegistryRepository, connect: Connector
) -> None:
    registry.fault(("GET", "/manifests/"), action=Status(429, {"Retry-After": "86400"}))
    with pytest.raises(RateLimited) as caught:
        repository.resolve("1.0")
    assert "86400 s" in caught.value.message
    assert caught.value.exit_status == 75
    assert connect.sleeps == []


def test_the_budget_counts_all_waits_of_a_request(registry: TestRegistry, connect: Connector) -> None:
    registry.fault(("GET", "/manifests/"), action=Status(429, {"Retry-After": "40"}), times=9)
    repository = connect(registry, policy=RetryPolicy(asked_budget_s=100)).repository("acme/app")
    with pytest.raises(RateLimited):
        repository.resolve("1.0")
    assert registry.count() == 3


@pytest.mark.parametrize(
    ("status", "body", "error", "code"),
    [
        (400, b'{"errors":[{"code":"MANIFEST_INVALID","message":"bad"}]}', Unavailable, "refused-by-registry"),
        (401, b"", Unauthorized, "no-credentials"),
        (403, b"", Denied, "denied"),
        (404, b'{"errors":[{"code":"NAME_UNKNOWN"}]}', NotFound, "repository-not-found"),
        (404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}', NotFound, "manifest-not-found"),
        (404, b"404 page not found", NotFound, "not-found"),
        (404, b"<html>nginx</html>", NotFound, "not-found-page"),
        (405, b"", Unsupported, "unsupported"),
        (413, b"", Unsupported, "too-large-for-registry"),
        (304, b"", Unavailable, "refused-by-registry"),
    ],
)
def test_answers_become_errors_of_the_tree(
    registry: TestRegistry, repository: RegistryRepository, status: int, body: bytes, error: type[Exception], code: str
) -> None:
    registry.fault(("GET", "/manifests/"), action=Status(status, {}, body), times=9)
    with pytest.raises(error) as caught:
        repository.resolve("1.0")
    assert isinstance(caught.value, ProvenderError)
    assert caught.value.code == code
    assert caught.value.where == f"{registry.host}/acme/app:1.0"
    assert caught.value.hint
    assert registry.host in caught.value.message


@pytest.mark.parametrize(
    "body",
    [
        b'{"errors": []}',
        b'{"errors": "x"}',
        b'{"errors": [7]}',
        b'{"errors": [{"code": 7, "message": []}]}',
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b"x" * 1_000_000,
    ],
)
def test_error_bodies_may_be_anything(registry: TestRegistry, repository: RegistryRepository, body: bytes) -> None:
    registry.fault(("GET", "/manifests/"), action=Status(418, {}, body))
    with pytest.raises(Unavailable) as caught:
        repository.resolve("1.0")
    assert len(caught.value.message) < 400


def test_what_the_registry_says_is_shown_cleaned(registry: TestRegistry, repository: RegistryRepository) -> None:
    body = b'{"errors":[{"code":"DENIED","message":"not\\u001b[31m for\\nyou"}]}'
    registry.fault(("GET", "/manifests/"), action=Status(403, JSON, body))
    with pytest.raises(Denied) as caught:
        repository.resolve("1.0")
    said = f"{registry.host} answered 403 DENIED: not [31m for you"
    assert caught.value.message == f"{said}; needed: repository:acme/app:pull"


def test_a_silent_400_over_plain_http_hints_at_https(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.fault(("GET", "/manifests/"), action=Status(400, {}, b"Client sent an HTTP request to an HTTPS server."))
    with pytest.raises(Unavailable) as caught:
        repository.resolve("1.0")
    assert "--no-plain-http" in str(caught.value.hint)
