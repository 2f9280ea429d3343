"""F20, F21, F37: tokens that run out, and services that do not give any."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from provender.errors import Unauthorized, Unavailable
from provender.oci import Descriptor
from provender.storage.registry import RegistryRepository
from support.registry import Action, Reply, Request, Status, TestRegistry, Truncate
from support.registry_client import Connector

CONTENT = random.Random(20).randbytes(4 << 20)
BLOB = Descriptor.of(CONTENT, "application/octet-stream")
JSON = {"Content-Type": "application/json"}


def signed_in(connect: Connector, registry: TestRegistry) -> RegistryRepository:
    registry.push_blob("acme/app", CONTENT)
    return connect(registry, connect.user(registry)).repository("acme/app")


def read(repository: RegistryRepository) -> bytes:
    chunks = []
    with repository.fetch(BLOB) as reader:
        while chunk := reader.read():
            chunks.append(chunk)
    return b"".join(chunks)


def test_f20_a_token_that_runs_out_in_a_run_is_renewed_once_for_all(connect: Connector) -> None:
    with TestRegistry(auth="token") as registry:
        repository = signed_in(connect, registry)
        repository.exists(BLOB)
        registry.expire_tokens()
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(lambda _: repository.exists(BLOB), range(16)))
        assert registry.count("*", "^/token") == 2


def test_f20_a_token_that_runs_out_within_a_blob_is_renewed_and_the_rest_asked_for(connect: Connector) -> None:
    with TestRegistry(auth="token") as registry:
        repository = signed_in(connect, registry)
        registry.fault(("GET", "/blobs/"), action=Truncate(1 << 20), skip=1)
        with repository.fetch(BLOB) as reader:
            got = reader.read()
            registry.expire_tokens()
            while chunk := reader.read():
                got += chunk
        assert got == CONTENT
        asked = [(item.headers.get("range"), "authorization" in item.headers) for item in registry.asked("GET", "/blo")]
        assert asked == [(None, False), (None, True), ("bytes=1048576-", True), ("bytes=1048576-", True)]
        assert registry.count("*", "^/token") == 2


def test_f20_a_second_refusal_is_an_error_that_names_the_scope(connect: Connector) -> None:
    with TestRegistry(auth="token", token_uses=0) as registry:
        repository = signed_in(connect, registry)
        with pytest.raises(Unauthorized) as caught:
            read(repository)
        assert caught.value.exit_status == 77
        assert "repository:acme/app:pull" in caught.value.message
        assert registry.count("GET", "/blobs/") == 2
        assert registry.count("*", "^/token") == 1


def test_f21_a_token_service_that_is_down_is_temporary(connect: Connector) -> None:
    with TestRegistry(auth="token") as registry:
        repository = signed_in(connect, registry)
        registry.fault(("*", "^/token"), action=Status(503), times=99)
        with pytest.raises(Unavailable) as caught:
            repository.exists(BLOB)
        assert caught.value.exit_status == 75
        assert registry.host in caught.value.message


def test_f21_a_token_service_that_comes_back_is_asked_again(connect: Connector) -> None:
    with TestRegistry(auth="token") as registry:
        repository = signed_in(connect, registry)
        registry.fault(("*", "^/token"), action=Status(503), times=3)
        assert repository.exists(BLOB)


@pytest.mark.parametrize("body", [b"{}", b'{"token": ""}', b'{"token": "' + b"x" * (1 << 20) + b'"}', b"[", b"[]"])
def test_f21_an_answer_without_a_token_names_the_service(connect: Connector, body: bytes) -> None:
    with TestRegistry(auth="token") as registry:
        repository = signed_in(connect, registry)
        registry.fault(("*", "^/token"), action=Status(200, JSON, body), times=9)
        with pytest.raises(Unavailable) as caught:
            repository.exists(BLOB)
        assert caught.value.exit_status == 69
        assert registry.host in caught.value.message
        assert registry.count("*", "^/token") == 1


class SkewedRegistry(TestRegistry):
    """Its token service has another time."""

    __test__ = False

    def answer(self, request: Request, fault: Action | None) -> Reply:
        reply = super().answer(request, fault)
        if request.path == "/token":
            reply.body = json.dumps({**json.loads(reply.body), "issued_at": self.issued_at}).encode()
        return reply

    issued_at = ""


@pytest.mark.parametrize("skew_s", [-3600, 3600])
def test_f37_the_services_clock_does_not_count(connect: Connector, skew_s: int) -> None:
    with SkewedRegistry(auth="token") as registry:
        registry.issued_at = datetime.fromtimestamp(connect.time + skew_s, UTC).isoformat()
        repository = signed_in(connect, registry)
        for later_s in (0, 200, 60, 20):
            connect.time += later_s
            assert repository.exists(BLOB)
        assert registry.count("*", "^/token") == 2  # good for 300 s from its receipt, renewed 30 s before


@pytest.mark.parametrize("lifetime_s", [0, None, 5])
def test_f37_a_token_lives_a_minute_at_least(connect: Connector, lifetime_s: int | None) -> None:
    with TestRegistry(auth="token", token_expires_in=lifetime_s) as registry:
        repository = signed_in(connect, registry)
        repository.exists(BLOB)
        connect.time += 25
        repository.exists(BLOB)
        assert registry.count("*", "^/token") == 1
        connect.time += 10  # renewed half a minute before its end
        repository.exists(BLOB)
        assert registry.count("*", "^/token") == 2
