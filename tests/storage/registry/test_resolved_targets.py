"""Names that lead to this machine, to the local link or to a metadata service, judged by what they resolve to.

The names are those of a network of its own: it tells addresses as a resolver does, and connects each of them to a
server on loopback. What is refused never gets a connection, so it gets no credential either.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from provender.errors import Denied, InvalidProject, ProvenderError
from provender.oci import EMPTY_BYTES, EMPTY_DESCRIPTOR
from provender.storage.registry import Credential, FixedCredential
from provender.storage.registry.network import Network
from provender.storage.registry.origin import TrustedHosts
from provender.storage.registry.zones import zone_of
from provender.storage.verify import BytesReader
from support.registry import Redirect, SetHeader, Status, TestRegistry
from support.registry_client import Connector

PUBLIC = "203.0.113.7"
ELSEWHERE = "198.51.100.9"
NEAR = ["127.0.0.1", "127.8.9.1", "::1", "0.0.0.0", "169.254.7.7", "fe80::1", "169.254.169.254", "fd00:ec2::254"]
NEAR += ["::ffff:127.0.0.1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "::7f00:1", "168.63.129.16"]


class World(Network):
    """Names with their addresses; every address is connected to the port that was asked for, on loopback."""

    def __init__(self, names: dict[str, list[str]]) -> None:
        self.names = names
        self.connected: list[str] = []

    def addresses(self, host: str, port: int) -> list[str]:
        if host not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return self.names[host]

    def connect(self, address: str, port: int, *, timeout_s: float) -> socket.socket:
        self.connected.append(address)
        return super().connect("127.0.0.1", port, timeout_s=timeout_s)


@pytest.fixture
def world() -> World:
    return World({"registry.example": [PUBLIC], "thief.example": ["127.0.0.1"], "other.example": [ELSEWHERE]})


@pytest.fixture
def connect(world: World) -> Iterator[Connector]:
    connector = Connector(world)
    yield connector
    connector.transport.close()


@pytest.fixture
def thief() -> Iterator[TestRegistry]:
    with TestRegistry(auth="basic") as running:
        yield running


def port(registry: TestRegistry) -> str:
    return registry.host.rpartition(":")[2]


def user(host: str, registry: TestRegistry) -> FixedCredential:
    return FixedCredential(host, Credential(username=registry.username, secret=registry.password, source="the test"))


def refused(caught: pytest.ExceptionInfo[Denied], world: World, thief: TestRegistry) -> None:
    """The error is of the right kind, names where it happened, and the thief has seen nothing at all."""
    assert caught.value.code == "unsafe-target"
    assert caught.value.where is not None
    assert "thief.example" in caught.value.message
    assert set(world.connected) <= {PUBLIC}
    assert thief.connections == 0
    assert thief.requests == []


@pytest.mark.parametrize("address", NEAR)
def test_a_realm_whose_name_resolves_near_gets_nothing(
    world: World, connect: Connector, thief: TestRegistry, address: str
) -> None:
    world.names["thief.example"] = [address]
    with TestRegistry(auth="token", realm=f"http://thief.example:{port(thief)}/token") as registry:
        host = f"registry.example:{port(registry)}"
        client = connect(registry, user(host, registry), host=host)
        with pytest.raises(Denied) as caught:
            client.repository("acme/app").resolve("1.0")
        refused(caught, world, thief)
        assert "PROVENDER_TRUSTED_REALMS" in str(caught.value.hint)


def test_one_near_address_among_others_is_enough(world: World, connect: Connector, thief: TestRegistry) -> None:
    world.names["thief.example"] = [ELSEWHERE, "10.0.0.1", "127.0.0.1"]
    with TestRegistry(auth="token", realm=f"http://thief.example:{port(thief)}/token") as registry:
        host = f"registry.example:{port(registry)}"
        with pytest.raises(Denied) as caught:
            connect(registry, user(host, registry), host=host).repository("acme/app").resolve("1.0")
        refused(caught, world, thief)


@pytest.mark.parametrize("kind", ["blobs", "manifests"])
def test_a_redirect_to_a_name_that_resolves_near_is_not_followed(
    world: World, connect: Connector, thief: TestRegistry, kind: str
) -> None:
    with TestRegistry(auth="basic") as registry:
        host = f"registry.example:{port(registry)}"
        registry.push_artifact("acme/app", "1.0", [b"x"])
        repository = connect(registry, user(host, registry), host=host).repository("acme/app")
        repository.resolve("1.0")
        registry.fault(("GET", f"/{kind}/"), action=Redirect(f"http://thief.example:{port(thief)}/x"))
        with pytest.raises(Denied) as caught:
            repository.resolve("1.0") if kind == "manifests" else repository.fetch(EMPTY_DESCRIPTOR)
        refused(caught, world, thief)


def test_a_connection_that_the_user_asked_for_is_none_that_a_registry_may_lead_to(
    world: World, connect: Connector, thief: TestRegistry
) -> None:
    with TestRegistry() as registry:
        near = connect(thief, host=f"thief.example:{port(thief)}")
        with pytest.raises(ProvenderError):
            near.ping()  # the user may go there; the connection is kept
        assert thief.connections == thief.count() == 1
        repository = connect(registry, host=f"registry.example:{port(registry)}").repository("acme/app")
        registry.fault(("GET", "/blobs/"), action=Redirect(f"http://thief.example:{port(thief)}/x"))
        with pytest.raises(Denied) as caught:
            repository.fetch(EMPTY_DESCRIPTOR)
        assert caught.value.code == "unsafe-target"
        assert thief.count() == 1


def test_an_upload_location_that_resolves_near_gets_no_body(
    world: World, connect: Connector, thief: TestRegistry
) -> None:
    with TestRegistry(auth="token") as registry:
        host = f"registry.example:{port(registry)}"
        location = f"http://thief.example:{port(thief)}/v2/acme/app/blobs/uploads/1"
        registry.realm = f"http://{host}/token"
        registry.fault(("POST", "/uploads/"), action=Status(202, {"Location": location}))
        with pytest.raises(Denied) as caught:
            connect(registry, user(host, registry), host=host).repository("acme/app").push(
                EMPTY_DESCRIPTOR, BytesReader(EMPTY_BYTES)
            )
        refused(caught, world, thief)


def test_a_link_to_a_name_that_resolves_near_is_not_followed(
    world: World, connect: Connector, thief: TestRegistry
) -> None:
    with TestRegistry(auth="basic") as registry:
        host = f"registry.example:{port(registry)}"
        registry.push_artifact("acme/app", "1.0", [b"x"])
        link = SetHeader("Link", f'<http://thief.example:{port(thief)}/v2/acme/app/tags/list>; rel="next"')
        registry.fault(("GET", "/tags/"), action=link, skip=1)
        with pytest.raises(Denied):
            list(connect(registry, user(host, registry), host=host).repository("acme/app").tags())
        assert thief.connections == 0


def test_a_name_that_resolves_to_something_else_the_next_time_gains_nothing(
    world: World, connect: Connector, thief: TestRegistry
) -> None:
    """DNS rebinding: what is judged is what is connected to, once and for each connection."""
    answers = iter([[ELSEWHERE], ["127.0.0.1"]])

    class Rebinding(World):
        def addresses(self, host: str, port: int) -> list[str]:
            return next(answers) if host == "thief.example" else super().addresses(host, port)

    rebinding = Rebinding(world.names)
    connector = Connector(rebinding)
    with connector.transport, TestRegistry() as registry:
        host = f"registry.example:{port(registry)}"
        repository = connector(registry, host=host).repository("acme/app")
        registry.fault(("GET", "/blobs/"), action=Redirect(f"http://thief.example:{port(thief)}/x"), times=2)
        with pytest.raises(ProvenderError):  # the first time it is what it looks like, and wants credentials
            repository.fetch(EMPTY_DESCRIPTOR)
        assert rebinding.connected == [PUBLIC, ELSEWHERE]
        connector.transport.close()
        with pytest.raises(Denied):
            repository.fetch(EMPTY_DESCRIPTOR)
        assert rebinding.connected == [PUBLIC, ELSEWHERE, PUBLIC]
        assert [item for item in thief.requests if "authorization" in item.headers] == []


@pytest.mark.parametrize("address", ["10.1.2.3", "192.168.7.7", "172.16.0.1", "fd12:3456::1", ELSEWHERE])
def test_private_networks_may_be_led_to(world: World, connect: Connector, address: str) -> None:
    world.names["other.example"] = [address]
    with TestRegistry(auth="token") as registry:
        registry.realm = f"http://other.example:{port(registry)}/token"
        registry.push_artifact("acme/app", "1.0", [b"x"])
        host = f"registry.example:{port(registry)}"
        connect(registry, user(host, registry), host=host).repository("acme/app").resolve("1.0")
        assert world.connected == [PUBLIC, address]


def test_a_registry_near_may_lead_to_what_is_as_near_by_name(world: World, connect: Connector) -> None:
    world.names["registry.example"] = ["127.0.0.1"]
    with TestRegistry(auth="token") as registry:
        registry.realm = f"http://thief.example:{port(registry)}/token"
        registry.push_artifact("acme/app", "1.0", [b"x"])
        host = f"registry.example:{port(registry)}"
        repository = connect(registry, user(host, registry), host=host).repository("acme/app")
        repository.resolve("1.0")
        # But not to a metadata service, however near it is itself.
        world.names["registry.example"] = world.names["other.example"] = ["169.254.169.254"]
        registry.fault(("GET", "/manifests/"), action=Redirect(f"http://other.example:{port(registry)}/x"))
        with pytest.raises(Denied):
            repository.resolve("1.0")


def test_a_trusted_realm_may_be_near_and_nothing_else_may(
    world: World, connect: Connector, thief: TestRegistry
) -> None:
    with TestRegistry(auth="token") as registry:
        registry.realm = f"http://thief.example:{port(registry)}/token"
        registry.push_artifact("acme/app", "1.0", [b"x"])
        host = f"registry.example:{port(registry)}"
        trusting = connect(registry, user(host, registry), host=host, trusted_realms=("thief.example",))
        repository = trusting.repository("acme/app")
        repository.resolve("1.0")
        assert world.connected == [PUBLIC, "127.0.0.1"]
        # A realm is trusted with tokens, not with content, and does not pass its trust on.
        registry.fault(("GET", "/manifests/"), action=Redirect(f"http://thief.example:{port(thief)}/x"))
        with pytest.raises(Denied):
            repository.resolve("1.0")
        registry.expire_tokens()
        world.names["passed-on.example"] = ["127.0.0.1"]
        registry.fault(("GET", "^/token"), action=Redirect(f"http://passed-on.example:{port(thief)}/token"))
        with pytest.raises(Denied):
            repository.resolve("1.0")
        assert thief.requests == []


def test_trusted_realms_are_hosts_with_or_without_a_port() -> None:
    from provender.storage.registry.origin import Origin

    trusted = TrustedHosts(["Auth.example", "127.0.0.1:5001", "[::1]:5001"])
    for url in (
        "https://auth.example/token",
        "https://auth.example:8443/",
        "http://127.0.0.1:5001/",
        "http://[::1]:5001/",
    ):
        assert Origin.of(url) in trusted
    for url in ("https://other.example/", "http://127.0.0.1:5002/", "https://x.auth.example/"):
        assert Origin.of(url) not in trusted
    for text in ("https://auth.example", "auth.example/token", "me@auth.example", "a:b", ""):
        with pytest.raises(InvalidProject):
            TrustedHosts([text])


@pytest.mark.parametrize("address", NEAR)
def test_near_addresses_are_known_in_every_spelling(address: str) -> None:
    assert zone_of(address) != "public"


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "192.168.1.1", "203.0.113.7", "2001:db8::1", "fd12::1", "2002:cb00:7107::"]
)
def test_other_addresses_are_public(address: str) -> None:
    assert zone_of(address) == "public"
