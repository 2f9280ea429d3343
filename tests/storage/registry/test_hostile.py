"""Servers that try to get at credentials: a second server records what reaches it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from provender.errors import Denied, NotFound, ProvenderError, Unauthorized, Unavailable
from provender.oci import EMPTY_BYTES, EMPTY_DESCRIPTOR, Descriptor
from provender.storage.registry import Credential, FixedCredential
from provender.storage.verify import BytesReader
from support.certificates import Certificates
from support.registry import Redirect, SetHeader, Status, TestRegistry
from support.registry_client import Connector


@pytest.fixture
def thief() -> Iterator[TestRegistry]:
    """A server that wants credentials for everything and notes what it gets."""
    with TestRegistry(auth="basic") as running:
        yield running


def stolen(thief: TestRegistry) -> list[str]:
    """Every credential that reached the server."""
    return [
        item.headers.get("authorization") or item.body.decode("latin-1")
        for item in thief.requests
        if "authorization" in item.headers or b"token" in item.body
    ]


@pytest.mark.parametrize("auth", ["basic", "token"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_elsewhere_carries_no_credentials(
    connect: Connector, thief: TestRegistry, auth: str, status: int
) -> None:
    with TestRegistry(auth="basic" if auth == "basic" else "token") as registry:
        repository = connect(registry, connect.user(registry)).repository("acme/app")
        registry.push_artifact("acme/app", "1.0", [b"x"])
        repository.resolve("1.0")
        registry.fault(("GET", "/manifests/"), action=Redirect(f"{thief.url}/v2/acme/app/manifests/1.0", status))
        with pytest.raises(Unavailable) as caught:
            repository.resolve("1.0")
        # Its 401 is not answered either.
        assert caught.value.code == "redirect-target-refused"
        assert thief.count() == 1
        assert stolen(thief) == []


def test_another_port_of_the_same_host_is_elsewhere(connect: Connector, thief: TestRegistry) -> None:
    with TestRegistry(auth="basic") as registry:
        repository = connect(registry, connect.user(registry)).repository("acme/app")
        registry.push_blob("acme/app", b"{}")
        registry.fault(("GET", "/blobs/"), action=Redirect(f"{thief.url}/x"), skip=1)
        with pytest.raises(Unavailable):
            repository.fetch(EMPTY_DESCRIPTOR)
        assert stolen(thief) == []


def test_credentials_do_not_come_back_after_a_detour(connect: Connector, registry: TestRegistry) -> None:
    with TestRegistry(auth="basic") as own:
        repository = connect(own, connect.user(own)).repository("acme/app")
        own.push_artifact("acme/app", "1.0", [b"x"])
        repository.resolve("1.0")
        own.fault(("GET", "/manifests/"), action=Redirect(f"{registry.url}/detour"))
        registry.fault(("GET", "/detour"), action=Redirect(f"{own.url}/v2/acme/app/manifests/1.0"))
        with pytest.raises(Unauthorized):
            repository.resolve("1.0")
        assert "authorization" not in own.requests[-1].headers


def test_an_upload_location_elsewhere_gets_the_body_without_credentials(connect: Connector) -> None:
    with TestRegistry(auth="token") as registry, TestRegistry() as storage:
        location = f"{storage.url}{storage.content.open_upload('acme/app')}"
        registry.fault(("POST", "/uploads/"), action=Status(202, {"Location": location}))
        connect(registry, connect.user(registry)).repository("acme/app").push(
            EMPTY_DESCRIPTOR, BytesReader(EMPTY_BYTES)
        )
        assert storage.blob("acme/app", EMPTY_DESCRIPTOR.digest) == EMPTY_BYTES
        assert all("authorization" not in item.headers for item in storage.requests)


def test_a_challenge_of_a_foreign_upload_location_is_not_answered(connect: Connector, thief: TestRegistry) -> None:
    with TestRegistry(auth="token") as registry:
        registry.fault(
            ("POST", "/uploads/"), action=Status(202, {"Location": f"{thief.url}/v2/u/blobs/uploads/1"}), times=9
        )
        with pytest.raises(ProvenderError):
            connect(registry, connect.user(registry)).repository("acme/app").push(
                EMPTY_DESCRIPTOR, BytesReader(EMPTY_BYTES)
            )
        assert stolen(thief) == []


@pytest.mark.parametrize("identity", [False, True])
def test_a_token_service_may_not_pass_credentials_on(connect: Connector, thief: TestRegistry, identity: bool) -> None:
    with TestRegistry(auth="token") as registry:
        registry.fault(("*", "^/token"), action=Redirect(f"{thief.url}/token"), times=9)
        given = (
            FixedCredential(registry.host, Credential(identity_token=registry.identity_token, source="the test"))
            if identity
            else connect.user(registry)
        )
        with pytest.raises(ProvenderError):
            connect(registry, given).repository("acme/app").resolve("1.0")
        assert stolen(thief) == []
        assert thief.count("POST") == 0


@pytest.mark.parametrize(
    "realm", ["http://169.254.169.254/token", "http://metadata.google.internal/", "file:///etc/passwd", "http://a@b/"]
)
def test_a_bad_realm_is_refused(connect: Connector, realm: str) -> None:
    with TestRegistry(auth="token", realm=realm) as registry:
        with pytest.raises((Denied, Unavailable)) as caught:
            connect(registry, connect.user(registry)).repository("acme/app").resolve("1.0")
        assert caught.value.exit_status in (69, 77)
        assert registry.count() == 1


def test_a_realm_that_downgrades_to_http_is_refused(
    connect: Connector, thief: TestRegistry, certificates: Certificates
) -> None:
    with TestRegistry(auth="token", realm=f"{thief.url}/token", tls=certificates.server) as registry:
        client = connect(registry, connect.user(registry), ca=certificates.ca)
        with pytest.raises(Denied) as caught:
            client.repository("acme/app").resolve("1.0")
        assert caught.value.code == "insecure-redirect"
        assert thief.count() == 0


def test_a_redirect_that_downgrades_to_http_is_refused(
    connect: Connector, thief: TestRegistry, certificates: Certificates
) -> None:
    with TestRegistry(tls=certificates.server) as registry:
        registry.fault(("GET", "/blobs/"), action=Redirect(f"{thief.url}/x"))
        with pytest.raises(Denied):
            connect(registry, ca=certificates.ca).repository("acme/app").fetch(EMPTY_DESCRIPTOR)
        assert thief.count() == 0


def test_a_token_service_on_another_host_is_used_and_its_change_reported(connect: Connector) -> None:
    with TestRegistry(auth="token") as registry, TestRegistry(auth="token") as issuer:
        registry.push_artifact("acme/app", "1.0", [b"x"])
        repository = connect(registry, connect.user(registry)).repository("acme/app")
        repository.resolve("1.0")
        registry.realm = f"{issuer.url}/token"
        registry.expire_tokens()
        with pytest.raises(Unauthorized):  # the registry does not know the other's tokens
            repository.resolve("1.0")
        assert "changed its token service" in connect.warnings[0]


def test_cve_2020_15157_the_urls_of_a_layer_are_never_asked(connect: Connector, thief: TestRegistry) -> None:
    """A foreign layer's `urls` lead to a server that wants credentials: it is not even connected to."""
    content = b"somewhere else"
    thief.push_blob("x", content)
    with TestRegistry(auth="basic") as registry:
        blob = Descriptor.of(content, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")
        foreign = msgspec.structs.replace(blob, urls=(f"{thief.url}/v2/x/blobs/{blob.digest}",))
        repository = connect(registry, connect.user(registry)).repository("acme/app")
        registry.push_artifact("acme/app", "1.0", [b"x"])
        with pytest.raises(NotFound):
            repository.fetch(foreign)
        assert not repository.exists(foreign)
        assert thief.connections == 0


def test_a_link_elsewhere_is_not_followed(connect: Connector, thief: TestRegistry) -> None:
    with TestRegistry(auth="basic") as registry:
        registry.push_artifact("acme/app", "1.0", [b"x"])
        link = SetHeader("Link", f'<{thief.url}/v2/acme/app/tags/list>; rel="next"')
        registry.fault(("GET", "/tags/"), action=link, skip=1)
        with pytest.raises(Denied):
            list(connect(registry, connect.user(registry)).repository("acme/app").tags())
        assert thief.count() == 0


def test_a_redirect_loop_ends(connect: Connector, registry: TestRegistry) -> None:
    registry.fault(("GET", "/blobs/"), action=Redirect("?again"), times=99)
    with pytest.raises(Unavailable) as caught:
        connect(registry).repository("acme/app").fetch(Descriptor.of(b"x", "application/x"))
    assert caught.value.code == "too-many-redirects"
    assert registry.count() == 6


def test_cookies_are_not_kept(connect: Connector, registry: TestRegistry) -> None:
    registry.fault(("GET", "/v2/"), action=SetHeader("Set-Cookie", "session=1"))
    client = connect(registry)
    client.ping()
    client.ping()
    assert all("cookie" not in item.headers for item in registry.requests)


def test_no_secret_is_logged(connect: Connector) -> None:
    with TestRegistry(auth="token") as registry, TestRegistry() as storage:
        repository = connect(registry, connect.user(registry)).repository("acme/app")
        repository.push(EMPTY_DESCRIPTOR, BytesReader(EMPTY_BYTES))
        storage.push_blob("b", EMPTY_BYTES)
        target = f"{storage.url}/v2/b/blobs/{EMPTY_DESCRIPTOR.digest}?X-Amz-Signature=5161676e&sig=77777"
        registry.fault(("GET", "/blobs/"), action=Redirect(target))
        repository.fetch(EMPTY_DESCRIPTOR).close()
        log = "\n".join(connect.lines)
        header = registry.asked("GET", "^/token")[0].headers["authorization"].removeprefix("Basic ")
        assert "Authorization: Bearer ***" in log
        for secret in (registry.password, header, "token-1", "5161676e", "77777", "upload-1?_state=upload-1"):
            assert secret not in log
