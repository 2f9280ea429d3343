"""From a reference to its storage: layouts, archives, stores, registries, rewrites, and what is shared."""

from __future__ import annotations

import json
import socket
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provender.errors import Denied, InvalidProject, NotFound, Unauthorized, Unavailable, Unsupported
from provender.locations import Locations
from provender.oci import EMPTY_BYTES, EMPTY_DESCRIPTOR, Document, Reference
from provender.storage.layout import LayoutStorage
from provender.storage.open import Storages
from provender.storage.registry import Credential, FixedCredential, HttpTransport, RegistryRepository
from provender.storage.registry.network import Network
from provender.storage.verify import BytesReader
from support.content import finish, manifest, start_python
from support.registry import TestRegistry


@pytest.fixture
def registry() -> Iterator[TestRegistry]:
    with TestRegistry() as running:
        yield running


def storages(
    cwd: Path,
    *flags: str,
    plain_http: bool | None = None,
    is_offline: bool = False,
    warn: Callable[[str], None] | None = None,
) -> Storages:
    locations = Locations.gather(
        environ={"HOME": str(cwd)},
        cwd=cwd,
        flags=flags,
        project_dir=cwd,
        system_dir=cwd / "etc",
    )
    return Storages(
        locations,
        environ={"HOME": str(cwd)},
        plain_http=plain_http,
        is_offline=is_offline,
        warn=warn or (lambda _: None),
    )


def configure(cwd: Path, text: str) -> None:
    (cwd / ".provender").mkdir()
    (cwd / ".provender" / "registries.yaml").write_text(f"version: 1\n{text}\n")


def put(storage: LayoutStorage | RegistryRepository, tag: str) -> Document:
    document = manifest("one")
    storage.push(EMPTY_DESCRIPTOR, BytesReader(EMPTY_BYTES))
    storage.push_document(document, [tag])
    return document


def test_a_layout_is_opened_relative_to_the_current_directory(tmp_path: Path) -> None:
    reference = Reference.parse("layout:./here:1.0")
    with storages(tmp_path) as opener:
        made = opener.open(reference, create=True)
        document = put(made.writable, "1.0")
        again = opener.open(reference)
    assert again.storage.resolve("1.0") == document
    assert again.reference == reference
    assert again.location == f"layout:{tmp_path / 'here'}"
    assert (tmp_path / "here" / "oci-layout").is_file()


def test_a_layout_that_is_absent_is_not_made_by_reading(tmp_path: Path) -> None:
    with storages(tmp_path) as opener, pytest.raises(NotFound):
        opener.open(Reference.parse("layout:absent"))
    assert not (tmp_path / "absent").exists()


def test_an_archive_is_read_and_never_written(tmp_path: Path) -> None:
    with storages(tmp_path) as opener:
        document = put(opener.open(Reference.parse("layout:dir"), create=True).writable, "1.0")
        with tarfile.open(tmp_path / "layout.tar", "w") as archive:
            for name in ("oci-layout", "index.json", "blobs"):
                archive.add(tmp_path / "dir" / name, name)
        reference = Reference.parse("layout:layout.tar:1.0")
        opened = opener.open(reference)
        assert opened.storage.resolve("1.0") == document
        for write in (lambda: opened.writable, lambda: opener.open(reference, create=True)):
            with pytest.raises(Unsupported) as caught:
                write()
            assert (caught.value.code, caught.value.where) == ("read-only", str(reference))


def test_an_alias_bound_to_a_store_has_one_layout_for_each_repository(tmp_path: Path) -> None:
    with storages(tmp_path, "acme=layout:store") as opener:
        opened = opener.open(Reference.parse("acme/team/tool:1.0"), create=True)
        document = put(opened.writable, "1.0")
        with pytest.raises(NotFound):
            opener.open(Reference.parse("acme/team/other"))
    assert opened.location == f"layout:{tmp_path / 'store' / 'team' / 'tool'}"
    assert str(opened.reference) == "acme/team/tool:1.0"
    assert LayoutStorage(tmp_path / "store" / "team" / "tool").resolve("1.0") == document


def test_a_concrete_reference_goes_to_its_host(tmp_path: Path, registry: TestRegistry) -> None:
    digest = registry.push_artifact("team/tool", "1.0", [b"layer"])
    with storages(tmp_path) as opener:
        opened = opener.open(Reference.parse(f"{registry.host}/team/tool:1.0"))
        assert registry.requests == []
        assert opened.storage.resolve("1.0").digest == digest
    assert opened.location == f"{registry.host}/team/tool"


def test_an_alias_goes_to_its_host_and_prefix(tmp_path: Path, registry: TestRegistry) -> None:
    digest = registry.push_artifact("proxy/apm/team/tool", "1.0", [b"layer"])
    with storages(tmp_path, f"acme={registry.host}/proxy/apm") as opener:
        opened = opener.open(Reference.parse("acme/team/tool:1.0"))
        assert opened.storage.resolve("1.0").digest == digest
        assert put(opened.writable, "2.0").digest == registry.tags("proxy/apm/team/tool")["2.0"]
    assert opened.location == f"{registry.host}/proxy/apm/team/tool"
    assert opened.reference.registry == "acme"


def test_a_rewrite_sends_a_concrete_reference_elsewhere(tmp_path: Path, registry: TestRegistry) -> None:
    digest = registry.push_artifact("ghcr-acme/tool", "1.0", [b"layer"])
    configure(
        tmp_path,
        f"rewrites: [{{prefix: ghcr.example/acme-oss, location: '{registry.host}/ghcr-acme'}},"
        " {prefix: docker.io, blocked: true}]",
    )
    with storages(tmp_path) as opener:
        opened = opener.open(Reference.parse("ghcr.example/acme-oss/tool:1.0"))
        assert opened.storage.resolve("1.0").digest == digest
        assert opened.location == f"{registry.host}/ghcr-acme/tool"
        assert opened.reference.registry == "ghcr.example"
        with pytest.raises(Denied) as caught:
            opener.open(Reference.parse("docker.io/library/nginx:1"))
    assert caught.value.code == "blocked-registry"


def test_an_unbound_alias_names_the_reference(tmp_path: Path) -> None:
    with storages(tmp_path) as opener, pytest.raises(InvalidProject) as caught:
        opener.open(Reference.parse("acme/tool:1"))
    assert (caught.value.code, caught.value.where) == ("unbound-registry", "acme/tool:1")


def test_credentials_belong_to_the_host_behind_the_alias(tmp_path: Path) -> None:
    with TestRegistry(auth="basic") as registry:
        digest = registry.push_artifact("team/tool", "1.0", [b"layer"])
        known = Credential(username=registry.username, secret=registry.password)
        reference = Reference.parse("acme/tool:1.0")
        locations = storages(tmp_path, f"acme={registry.host}/team").locations
        with Storages(locations, environ={}, credentials=FixedCredential(registry.host, known)) as opener:
            assert opener.open(reference).storage.resolve("1.0").digest == digest
        before = len(registry.requests)
        with Storages(locations, environ={}, credentials=FixedCredential("acme", known)) as opener:
            opened = opener.open(reference)
            with pytest.raises(Unauthorized):
                opened.storage.resolve("1.0")
        assert not any("authorization" in request.headers for request in registry.requests[before:])


def test_stored_credentials_are_found_through_the_given_environment(tmp_path: Path) -> None:
    with TestRegistry(auth="basic") as registry:
        digest = registry.push_artifact("tool", "1.0", [b"layer"])
        entry = {"auths": {registry.host: {"username": registry.username, "password": registry.password}}}
        (tmp_path / "config.json").write_text(json.dumps(entry))
        environ = {"DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path)}
        with Storages(storages(tmp_path).locations, environ=environ) as opener:
            opened = opener.open(Reference.parse(f"{registry.host}/tool"))
            assert opened.storage.resolve("1.0").digest == digest


def test_the_ca_of_a_location_reaches_its_connection(tmp_path: Path, registry: TestRegistry) -> None:
    configure(tmp_path, f"registries: {{acme: {{location: '{registry.host}', plainHttp: false, ca: absent.pem}}}}")
    with storages(tmp_path) as opener:
        opened = opener.open(Reference.parse("acme/tool"))
        with pytest.raises(InvalidProject) as caught:
            opened.storage.resolve("1.0")
    assert caught.value.code == "invalid-certificate-file"
    assert caught.value.where == str(tmp_path / ".provender" / "absent.pem")


def test_plain_http_of_the_command_outranks_the_location(tmp_path: Path, registry: TestRegistry) -> None:
    digest = registry.push_artifact("tool", "1.0", [b"layer"])
    configure(tmp_path, f"registries: {{acme: {{location: '{registry.host}', plainHttp: false}}}}")
    with storages(tmp_path, plain_http=True) as opener:
        assert opener.open(Reference.parse("acme/tool")).storage.resolve("1.0").digest == digest


def test_one_client_for_a_host_and_one_object_for_a_layout(tmp_path: Path) -> None:
    with storages(tmp_path, "acme=layout:store") as opener:
        assert opener.client("h.example") is opener.client("H.example")
        assert opener.client("h.example") is not opener.client("other.example")
        assert opener.client("h.example") is not opener.client("h.example", plain_http=True)
        first = opener.open(Reference.parse("acme/tool"), create=True)
        assert opener.open(Reference.parse("acme/tool:1")).storage is first.storage


def test_connections_are_shared_by_repositories(tmp_path: Path, registry: TestRegistry) -> None:
    for name in ("a", "b", "c"):
        registry.push_artifact(name, "1.0", [b"layer"])
    with storages(tmp_path, f"acme={registry.host}") as opener:
        for name in ("a", "b", "c"):
            opener.open(Reference.parse(f"acme/{name}")).storage.resolve("1.0")
        opener.open(Reference.parse(f"{registry.host}/a")).storage.resolve("1.0")
    assert registry.connections == 1


def test_a_layout_that_was_removed_is_noticed(tmp_path: Path) -> None:
    reference = Reference.parse("layout:here")
    with storages(tmp_path) as opener:
        opener.open(reference, create=True)
        (tmp_path / "here").rename(tmp_path / "gone")
        with pytest.raises(NotFound):
            opener.open(reference)


def test_a_transport_that_was_given_stays_open(tmp_path: Path, registry: TestRegistry) -> None:
    digest = registry.push_artifact("tool", "1.0", [b"layer"])
    locations = storages(tmp_path).locations
    with HttpTransport({}) as transport:
        for _ in range(2):
            with Storages(locations, environ={}, transport=transport) as opener:
                opened = opener.open(Reference.parse(f"{registry.host}/tool"))
                assert opened.storage.resolve("1.0").digest == digest
    assert registry.connections == 1


def test_a_project_of_layouts_never_loads_http(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from provender.locations import Locations
from provender.oci import Reference
from provender.storage.open import Storages
cwd = Path(sys.argv[1])
locations = Locations.gather(environ={}, cwd=cwd, flags=["acme=layout:store"], system_dir=cwd / "etc")
with Storages(locations, environ={}) as opener:
    opener.open(Reference.parse("acme/tool"), create=True).writable
    opener.open(Reference.parse("layout:single"), create=True).writable
print(sorted({"urllib3", "ssl", "http", "yaml", "rich", "asyncio"}.intersection(sys.modules)))
"""
    assert finish([start_python(code, str(tmp_path))]) == ["[]\n"]


def test_a_store_with_mirrors_is_read_offline_without_them(tmp_path: Path) -> None:
    binding = "registries: {acme: {location: 'layout:../store', mirrors: [{location: mirror.example}]}}"
    configure(tmp_path, binding)
    with storages(tmp_path, is_offline=True) as opener:
        document = put(opener.open(Reference.parse("acme/tool"), create=True).writable, "1.0")
        assert opener.open(Reference.parse("acme/tool")).storage.resolve("1.0") == document


def test_a_registry_with_mirrors_is_refused_offline(tmp_path: Path) -> None:
    configure(tmp_path, "registries: {acme: {location: home.example, mirrors: [{location: mirror.example}]}}")
    with storages(tmp_path, is_offline=True) as opener, pytest.raises(Unavailable) as caught:
        opener.open(Reference.parse("acme/tool"))
    assert (caught.value.code, caught.value.where) == ("offline", "acme/tool")


def test_the_location_of_a_mirrored_alias_is_what_is_written(tmp_path: Path, registry: TestRegistry) -> None:
    configure(
        tmp_path, f"registries: {{acme: {{location: '{registry.host}/p', mirrors: [{{location: mirror.example}}]}}}}"
    )
    with storages(tmp_path) as opener:
        opened = opener.open(Reference.parse("acme/tool"))
        assert isinstance(opened.writable, RegistryRepository)
        assert put(opened.writable, "1.0").digest == registry.tags("p/tool")["1.0"]
        assert opened.location == f"{registry.host}/p/tool"


def test_a_store_that_is_absent_is_no_reason_not_to_read_a_mirror(tmp_path: Path, registry: TestRegistry) -> None:
    registry.push_artifact("tool", "1.0", [b"layer"])
    mirror = f"{{location: '{registry.host}', resolve: true}}"
    configure(tmp_path, f"registries: {{acme: {{location: 'layout:../absent', mirrors: [{mirror}]}}}}")
    with storages(tmp_path) as opener:
        opened = opener.open(Reference.parse("acme/tool"))
        assert opened.storage.resolve("1.0").digest == registry.tags("tool")["1.0"]
        with pytest.raises(NotFound):
            _ = opened.writable
    assert not (tmp_path / "absent").exists()


def test_plain_http_that_another_tools_file_asks_for_is_told_once(tmp_path: Path, registry: TestRegistry) -> None:
    conf = tmp_path / "etc" / "containers" / "registries.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text(
        f'[[registry]]\nlocation = "h.example"\ninsecure = true\n[[registry]]\nlocation = "{registry.host}"\n'
    )
    told: list[str] = []
    with storages(tmp_path, warn=told.append) as opener:
        for name in ("h.example/a", "h.example/b", f"{registry.host}/a"):
            opener.open(Reference.parse(name))
    assert told == [f"h.example is asked without TLS, as {conf}: registry 1 says"]


def test_trusted_realms_come_from_the_environment(tmp_path: Path) -> None:
    """The realm's name resolves to this machine, the registry's does not: only trust lets the token be asked for."""

    class World(Network):
        def addresses(self, host: str, port: int) -> list[str]:
            return {"registry.example": ["203.0.113.7"], "auth.example": ["127.0.0.1"]}[host]

        def connect(self, address: str, port: int, *, timeout_s: float) -> socket.socket:
            return super().connect("127.0.0.1", port, timeout_s=timeout_s)

    with TestRegistry(auth="token") as registry, HttpTransport({}, network=World()) as transport:
        digest = registry.push_artifact("acme/app", "1.0", [b"x"])
        port = registry.host.rpartition(":")[2]
        registry.realm = f"http://auth.example:{port}/token"
        host = f"registry.example:{port}"
        user = FixedCredential(host, Credential(username=registry.username, secret=registry.password))
        reference = Reference.parse(f"{host}/acme/app:1.0")

        def resolve(**environ: str) -> str:
            locations = Locations.gather(environ={}, cwd=tmp_path, system_dir=tmp_path / "etc")
            opening = Storages(locations, environ=environ, plain_http=True, credentials=user, transport=transport)
            with opening:
                return opening.open(reference).storage.resolve("1.0").digest

        with pytest.raises(Denied) as caught:
            resolve()
        assert caught.value.code == "unsafe-target"
        assert registry.count("*", "^/token") == 0
        assert resolve(PROVENDER_TRUSTED_REALMS=f"other.example, auth.example:{port}") == digest
        with pytest.raises(InvalidProject) as wrong:
            resolve(PROVENDER_TRUSTED_REALMS="https://auth.example/")
        assert "PROVENDER_TRUSTED_REALMS" in str(wrong.value.where)
