"""certs.d: authorities and client certificates by host, read from where Docker and the containers tools keep them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from provender.errors import InvalidProject, ProvenderError, Unavailable
from provender.oci import EMPTY_BYTES, EMPTY_DESCRIPTOR
from provender.storage.registry import HttpTransport, NoCredentials, RegistryClient, Timing
from provender.storage.registry.certs_d import CertificateDirectories
from provender.storage.registry.origin import Origin
from provender.storage.registry.tls import TlsSettings, tls_context
from support.certificates import Certificates
from support.registry import Redirect, TestRegistry


class Machine:
    """A home and a system directory of a test's own."""

    def __init__(self, path: Path) -> None:
        self.home = path / "home"
        self.system = path / "etc"
        self.environ = {"HOME": str(self.home)}

    def directories(self) -> CertificateDirectories:
        return CertificateDirectories(self.environ, system_dir=self.system)

    def transport(self) -> HttpTransport:
        return HttpTransport(self.environ, certificates=self.directories())


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def put(directory: Path, **files: str) -> Path:
    """Copies of files, by the names that they are to have (`_` stands for the dot)."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, source in files.items():
        shutil.copyfile(source, directory / name.replace("_", "."))
    return directory


def client(transport: HttpTransport, host: str) -> RegistryClient:
    return RegistryClient(
        host,
        transport=transport,
        credentials=NoCredentials(),
        plain_http=False,
        timing=Timing(sleep=lambda _: None),
    )


@pytest.mark.parametrize(
    ("base", "root"),
    [
        ("home", ".config/containers/certs.d"),
        ("home", ".config/docker/certs.d"),
        ("home", ".docker/certs.d"),
        ("system", "containers/certs.d"),
        ("system", "docker/certs.d"),
    ],
)
@pytest.mark.parametrize("form", ["{host}:{port}", "{host}_{port}_"])
def test_an_authority_is_trusted_for_its_host(
    machine: Machine, certificates: Certificates, base: str, root: str, form: str
) -> None:
    with TestRegistry(tls=certificates.server) as registry:
        name, _, port = registry.host.partition(":")
        start = machine.home if base == "home" else machine.system
        put(start / root / form.format(host=name, port=port), ca_crt=certificates.ca)
        with machine.transport() as transport:
            client(transport, registry.host).ping()


def test_an_authority_is_trusted_for_no_other_host(machine: Machine, certificates: Certificates) -> None:
    with TestRegistry(tls=certificates.server) as registry, TestRegistry(tls=certificates.server) as other:
        put(machine.system / "docker/certs.d" / registry.host, ca_crt=certificates.ca)
        with machine.transport() as transport:
            client(transport, registry.host).ping()
            with pytest.raises(Unavailable) as caught:
                client(transport, other.host).ping()
            assert caught.value.code == "connection-certificate"
        assert other.count() == 0


def test_a_client_certificate_is_shown_to_its_host_alone(machine: Machine, certificates: Certificates) -> None:
    with (
        TestRegistry(tls=certificates.server, client_ca=certificates.ca, needs_client=True) as registry,
        TestRegistry(tls=certificates.server, client_ca=certificates.ca) as thief,
    ):
        directory = put(machine.system / "docker/certs.d" / registry.host, ca_crt=certificates.ca)
        put(machine.system / "docker/certs.d" / thief.host, ca_crt=certificates.ca)
        with machine.transport() as transport, pytest.raises(ProvenderError):
            client(transport, registry.host).ping()
        put(directory, me_cert=certificates.server[0], me_key=certificates.server[1])
        registry.push_blob("acme/app", EMPTY_BYTES)
        thief.push_blob("acme/app", EMPTY_BYTES)
        target = f"{thief.url}/v2/acme/app/blobs/{EMPTY_DESCRIPTOR.digest}"
        registry.fault(("GET", "/blobs/"), action=Redirect(target))
        with machine.transport() as transport:
            repository = client(transport, registry.host).repository("acme/app")
            with repository.fetch(EMPTY_DESCRIPTOR) as reader:
                assert reader.read() == EMPTY_BYTES
        assert registry.shown_certificates == [True]
        assert thief.shown_certificates == [False]


def test_the_first_directory_of_a_host_is_its_only_one(machine: Machine) -> None:
    origin = Origin.of("https://registry.example/")
    for root in (
        machine.system / "docker/certs.d",
        machine.system / "containers/certs.d",
        machine.home / ".docker/certs.d",
    ):
        directory = root / "registry.example"
        directory.mkdir(parents=True)
        assert machine.directories().directory(origin) == directory
    user = machine.home / ".config/containers/certs.d/registry.example:443"
    user.mkdir(parents=True)
    assert machine.directories().directory(origin) == user
    assert machine.directories().directory(Origin.of("https://registry.example:5000/")) is None


def test_the_users_directory_follows_xdg(machine: Machine, tmp_path: Path) -> None:
    directory = tmp_path / "xdg/containers/certs.d/registry.example:5000"
    directory.mkdir(parents=True)
    machine.environ["XDG_CONFIG_HOME"] = str(tmp_path / "xdg")
    assert machine.directories().directory(Origin.of("https://registry.example:5000/")) == directory


@pytest.mark.parametrize("name", ["me.cert", "me.key"])
def test_half_a_client_certificate_is_an_error(machine: Machine, name: str) -> None:
    directory = machine.system / "docker/certs.d/registry.example"
    directory.mkdir(parents=True)
    (directory / name).touch()
    with pytest.raises(InvalidProject) as caught:
        machine.directories().complete(TlsSettings(), Origin.of("https://registry.example/"))
    assert caught.value.where == str(directory)


def test_settings_of_ones_own_stand_before_certs_d(machine: Machine) -> None:
    directory = machine.system / "docker/certs.d/registry.example"
    directory.mkdir(parents=True)
    for name in ("a.crt", "b.crt", "me.cert", "me.key", "hosts.toml"):
        (directory / name).touch()
    origin = Origin.of("https://registry.example/")
    own = TlsSettings(ca="mine.pem", client_certificate="i.pem", client_key="i.key")
    completed = machine.directories().complete(own, origin)
    assert (completed.ca, completed.client_certificate, completed.client_key) == ("mine.pem", "i.pem", "i.key")
    assert completed.authorities == (str(directory / "a.crt"), str(directory / "b.crt"))
    assert machine.directories().complete(TlsSettings(), origin).client_key == str(directory / "me.key")


def test_an_encrypted_key_is_an_error_and_no_question(machine: Machine, certificates: Certificates) -> None:
    directory = put(machine.system / "docker/certs.d/registry.example", me_cert=certificates.server[0])
    command = ["openssl", "pkey", "-in", certificates.server[1], "-aes128", "-passout", "pass:secret"]
    subprocess.run([*command, "-out", str(directory / "me.key")], check=True, capture_output=True, timeout=60)
    settings = machine.directories().complete(TlsSettings(), Origin.of("https://registry.example/"))
    with pytest.raises(InvalidProject) as caught:
        tls_context(settings, {})
    assert (caught.value.code, caught.value.where) == ("encrypted-key", str(directory / "me.key"))
