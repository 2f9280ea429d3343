from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from provender.errors import Denied, RateLimited, Unauthorized, Unavailable
from provender.oci import EMPTY_BYTES, EMPTY_DESCRIPTOR
from provender.storage.registry import Credential, CredentialSource, FixedCredential
from provender.storage.verify import BytesReader
from support.registry import SetHeader, Status, TestRegistry
from support.registry_client import Connector


def with_identity_token(registry: TestRegistry) -> CredentialSource:
    return FixedCredential(registry.host, Credential(identity_token=registry.identity_token, source="the test"))


def test_basic_is_sent_at_once_after_the_first_challenge(connect: Connector) -> None:
    with TestRegistry(auth="basic") as registry:
        registry.push_artifact("acme/app", "1.0", [b"x"])
        repository = connect(registry, connect.user(registry)).repository("acme/app")
        repository.resolve("1.0")
        repository.resolve("1.0")
        assert registry.count() == 3


def test_anonymous_tokens_are_fetched_without_credentials(connect: Connector) -> None:
    with TestRegistry(auth="token", anonymous_pull=True) as registry:
        registry.push_artifact("acme/app", "1.0", [b"x"])
        connect(registry).repository("acme/app").resolve("1.0")
        token = registry.asked("GET", "^/token")[0]
        assert "authorization" not in token.headers
        assert token.value("service") == "test registry, inc."
        assert token.values("scope") == ["repository:acme/app:pull"]


def test_identity_tokens_go_by_post(connect: Connector) -> None:
    with TestRegistry(auth="token") as registry:
        registry.push_artifact("acme/app", "1.0", [b"x"])
        connect(registry, with_identity_token(registry)).repository("acme/app").resolve("1.0")
        token = registry.asked("*", "^/token")[0]
        assert token.method == "POST"
        assert token.query == ""
        assert b"client_id=provender" in token.body
        assert b"offline" not in token.body


def test_a_token_service_without_post_is_asked_by_get(connect: Connector) -> None:
    with TestRegistry(auth="token", token_post=False) as registry:
        registry.push_artifact("acme/app", "1.0", [b"x"])
        connect(registry, with_identity_token(registry)).repository("acme/app").resolve("1.0")
        assert [item.method for item in registry.asked("*", "^/token")] == ["POST", "GET"]


def test_a_token_service_that_takes_an_identity_token_as_a_password_only_is_asked_by_get(connect: Connector) -> None:
    with TestRegistry(auth="token") as registry:
        registry.push_artifact("acme/app", "1.0", [b"x"])
        registry.fault(("POST", "^/token"), action=Status(401))
        connect(registry, with_identity_token(registry)).repository("acme/app").resolve("1.0")
        assert [item.method for item in registry.asked("*", "^/token")] == ["POST", "GET"]


def test_a_token_service_without_get_is_asked_by_post(connect: Connector) -> None:
    with TestRegistry(auth="token", token_get=False) as registry:
        registry.push_artifact("acme/app", "1.0", [b"x"])
        connect(registry, connect.user(registry)).repository("acme/app").resolve("1.0")
        assert [item.method for item in registry.asked("*", "^/token")] == ["GET", "POST"]
        # The password is in the form, not in the address.
        assert all(registry.password not in item.target for item in registry.requests)


def test_a_new_identity_token_is_used_from_then_on(connect: Connector) -> None:
    with TestRegistry(auth="token", rotates_identity=True) as registry:
        for name in ("a", "b", "c"):
            registry.push_artifact(f"acme/{name}", "1.0", [b"x"])
        client = connect(registry, with_identity_token(registry))
        first = registry.identity_token
        client.repository("acme/a").resolve("1.0")
        client.repository("acme/b").resolve("1.0")
        assert registry.count("*", "^/token") == 2
        # One that the service has forgotten is given up for the user's own.
        registry.identity_token = first
        client.repository("acme/c").resolve("1.0")
        assert registry.count("POST", "^/token") == 4


def test_a_registry_token_is_sent_as_it_is(connect: Connector) -> None:
    with TestRegistry(auth="token") as registry:
        registry.push_artifact("acme/app", "1.0", [b"x"])
        given = FixedCredential(registry.host, Credential(registry_token="ready-made", source="the test"))
        with pytest.raises(Unauthorized):
            connect(registry, given).repository("acme/app").resolve("1.0")
        assert [item.headers.get("authorization") for item in registry.requests] == [None, "Bearer ready-made"]


def test_a_token_that_expired_is_renewed_before_use(connect: Connector) -> None:
    with TestRegistry(auth="token", token_expires_in=300) as registry:
        registry.push_artifact("acme/app", "1.0", [b"x"])
        repository = connect(registry, connect.user(registry)).repository("acme/app")
        repository.resolve("1.0")
        connect.time += 269
        repository.resolve("1.0")
        assert registry.count("*", "^/token") == 1
        connect.time += 2
        repository.resolve("1.0")
        assert registry.count("*", "^/token") == 2
        assert registry.count("*", "^/v2/") == 4


@pytest.mark.parametrize("lifetime", [None, 0, 5])
def test_a_token_lives_a_minute_at_least(connect: Connector, lifetime: int | None) -> None:
    with TestRegistry(auth="token", token_expires_in=lifetime) as registry:
        registry.push_artifact("acme/app", "1.0", [b"x"])
        repository = connect(registry, connect.user(registry)).repository("acme/app")
        repository.resolve("1.0")
        connect.time += 29
        repository.resolve("1.0")
        assert registry.count("*", "^/token") == 1


def test_a_token_refused_early_is_dropped_and_fetched_once_more(connect: Connector) -> None:
    with TestRegistry(auth="token", token_uses=2) as registry:
        registry.push_artifact("acme/app", "1.0", [b"x"])
        repository = connect(registry, connect.user(registry)).repository("acme/app")
        for _ in range(5):
            repository.resolve("1.0")
        assert registry.count("*", "^/token") == 3


def test_a_wider_token_serves_for_less(connect: Connector) -> None:
    with TestRegistry(auth="token") as registry:
        repository = connect(registry, connect.user(registry)).repository("acme/app")
        repository.push(EMPTY_DESCRIPTOR, BytesReader(EMPTY_BYTES))
        repository.fetch(EMPTY_DESCRIPTOR).close()
        assert registry.count("*", "^/token") == 1


def test_a_token_for_one_repository_is_not_tried_at_another(connect: Connector) -> None:
    with TestRegistry(auth="token") as registry:
        client = connect(registry, connect.user(registry))
        for name in ("acme/app", "acme/other"):
            registry.push_artifact(name, "1.0", [b"x"])
            client.repository(name).resolve("1.0")
        # The first question of all is refused; behind it each has its answer at once.
        assert registry.count("GET", "/manifests/") == 3
        assert registry.count("*", "^/token") == 2


def test_many_threads_share_one_token_request(connect: Connector) -> None:
    with TestRegistry(auth="token") as registry:
        registry.push_artifact("acme/app", "1.0", [b"x"])
        repository = connect(registry, connect.user(registry)).repository("acme/app")
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: repository.resolve("1.0"), range(16)))
        assert registry.count("*", "^/token") == 1
        registry.expire_tokens()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: repository.resolve("1.0"), range(16)))
        assert registry.count("*", "^/token") == 2


@pytest.mark.parametrize("auth", ["basic", "token"])
def test_without_credentials_the_error_says_how_to_sign_in(connect: Connector, auth: str) -> None:
    with TestRegistry(auth="basic" if auth == "basic" else "token") as registry:
        with pytest.raises(Unauthorized) as caught:
            connect(registry).repository("acme/app").resolve("1.0")
        assert caught.value.code == "no-credentials"
        assert caught.value.hint == f"provender login {registry.host}"
        assert caught.value.exit_status == 77


@pytest.mark.parametrize("auth", ["basic", "token"])
def test_refused_credentials_are_named_by_their_source(connect: Connector, auth: str) -> None:
    with TestRegistry(auth="basic" if auth == "basic" else "token") as registry:
        wrong = FixedCredential(registry.host, Credential(username="me", secret="hunter2", source="config.json (x)"))
        with pytest.raises(Unauthorized) as caught:
            connect(registry, wrong).repository("acme/app").resolve("1.0")
        assert caught.value.code == "credentials-refused"
        assert "config.json (x)" in caught.value.message
        assert "hunter2" not in f"{caught.value.message} {caught.value.hint} {connect.lines}"


def test_a_token_with_too_few_rights_is_asked_for_once_only(connect: Connector) -> None:
    with TestRegistry(auth="token", anonymous_pull=True) as registry:
        repository = connect(registry).repository("acme/app")
        with pytest.raises(Unauthorized):
            repository.push(EMPTY_DESCRIPTOR, BytesReader(EMPTY_BYTES))
        assert registry.count("*", "^/token") <= 2


def test_forbidden_is_denied(connect: Connector) -> None:
    with TestRegistry(auth="token") as registry:
        registry.fault(("GET", "/manifests/"), action=Status(403, {}, b'{"errors":[{"code":"DENIED"}]}'), skip=1)
        with pytest.raises(Denied) as caught:
            connect(registry, connect.user(registry)).repository("acme/app").resolve("1.0")
        assert "DENIED" in caught.value.message
        assert "the test" in str(caught.value.hint)


@pytest.mark.parametrize(
    "answer",
    [
        Status(200, {}, b"{}"),
        Status(200, {}, b"no json"),
        Status(200, {}, b'{"token": ""}'),
        Status(200, {}, b'{"token": 7}'),
        Status(200, {}, b'{"token": "a\\r\\nX-Evil: 1"}'),
        Status(200, {}, b'{"token": "a", "token": "b"}'),
        Status(200, {}, b'{"token": "' + b"a" * 200_000 + b'"}'),
    ],
)
def test_an_unusable_token_answer_is_an_error(connect: Connector, answer: Status) -> None:
    with TestRegistry(auth="token") as registry:
        registry.fault(("GET", "^/token"), action=answer, times=9)
        with pytest.raises(Unavailable) as caught:
            connect(registry, connect.user(registry)).repository("acme/app").resolve("1.0")
        assert caught.value.code == "invalid-token-response"
        assert registry.count("*", "^/token") == 1


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_token_service_that_is_not_there_says_nothing_of_what_was_asked_for(connect: Connector, status: int) -> None:
    with TestRegistry(auth="token") as registry:
        registry.push_artifact("acme/app", "1.0", [b"x"])
        registry.fault(("*", "^/token"), action=Status(status), times=99)
        repository = connect(registry, connect.user(registry)).repository("acme/app")
        for ask in (lambda: repository.head("1.0"), lambda: list(repository.referrers(EMPTY_DESCRIPTOR.digest))):
            with pytest.raises(Unavailable) as caught:
                ask()
            assert (caught.value.code, caught.value.exit_status) == ("invalid-token-response", 69)
            assert str(status) in caught.value.message


def test_access_token_is_preferred(connect: Connector) -> None:
    with TestRegistry(auth="token") as registry:
        registry.fault(("GET", "^/token"), action=Status(200, {}, b'{"token": "old", "access_token": "new"}'))
        with pytest.raises(Unauthorized):
            connect(registry, connect.user(registry)).repository("acme/app").resolve("1.0")
        assert registry.requests[-1].headers["authorization"] == "Bearer new"


def test_a_token_service_that_is_down_is_asked_again(connect: Connector) -> None:
    with TestRegistry(auth="token") as registry:
        registry.push_artifact("acme/app", "1.0", [b"x"])
        registry.fault(("GET", "^/token"), action=Status(503), times=2)
        connect(registry, connect.user(registry)).repository("acme/app").resolve("1.0")
        assert registry.count("*", "^/token") == 3
        registry.expire_tokens()
        registry.fault(("GET", "^/token"), action=Status(503), times=9)
        with pytest.raises(Unavailable) as caught:
            connect(registry, connect.user(registry)).repository("acme/app").resolve("1.0")
        assert caught.value.retryable


def test_the_realm_may_be_relative(connect: Connector) -> None:
    with TestRegistry(auth="token", realm="/token") as registry:
        registry.push_artifact("acme/app", "1.0", [b"x"])
        connect(registry, connect.user(registry)).repository("acme/app").resolve("1.0")


def test_bearer_is_preferred_among_several_challenges(connect: Connector) -> None:
    with TestRegistry(auth="token") as registry:
        registry.push_artifact("acme/app", "1.0", [b"x"])
        challenge = f'Basic realm="x, y", Bearer realm="{registry.url}/token",service="s"'
        registry.fault(("GET", "/manifests/"), action=SetHeader("WWW-Authenticate", challenge))
        connect(registry, connect.user(registry)).repository("acme/app").resolve("1.0")
        assert registry.asked("GET", "^/token")[0].value("service") == "s"


def test_credentials_are_looked_up_for_the_repository(connect: Connector) -> None:
    asked = []

    class Recorder:
        def lookup(self, host: str, repository: str | None = None) -> Credential | None:
            asked.append((host, repository))
            return None

    with TestRegistry(auth="token", anonymous_pull=True) as registry:
        registry.push_artifact("acme/app", "1.0", [b"x"])
        connect(registry, Recorder()).repository("acme/app").resolve("1.0")
        assert set(asked) == {(registry.host, "acme/app")}


def test_nobody_is_asked_for_credentials_without_a_challenge(connect: Connector, registry: TestRegistry) -> None:
    class Refuser:
        def lookup(self, host: str, repository: str | None = None) -> Credential | None:
            raise AssertionError("asked for credentials")

    registry.push_artifact("acme/app", "1.0", [b"x"])
    repository = connect(registry, Refuser()).repository("acme/app")
    repository.resolve("1.0")
    registry.fault(("GET", "/manifests/"), action=Status(429, {"Retry-After": "9999"}))
    with pytest.raises(RateLimited):
        repository.resolve("1.0")


def test_a_token_service_that_cannot_be_reached_is_the_one_named(connect: Connector) -> None:
    with TestRegistry() as gone:
        realm = gone.url
    with TestRegistry(auth="token", realm=f"{realm}/token") as registry:
        with pytest.raises(Unavailable) as caught:
            connect(registry, connect.user(registry)).repository("acme/app").resolve("1.0")
        assert realm in caught.value.message
        assert registry.host in str(caught.value.where)
