"""TLS of single contents: several authorities, and none that counts, as a vendir.yml may ask for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.archives import archive, file
from support.certificates import Certificates, make_certificates
from support.registry import TestRegistry
from support.vendir import VendirProject


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("others"))


@pytest.fixture
def registry(certificates: Certificates) -> Iterator[TestRegistry]:
    """A registry whose certificate nobody of this machine has signed."""
    with TestRegistry(tls=certificates.server) as server:
        server.push_artifact("team/app", "v1", [archive(file("a.txt", b"alpha"))])
        yield server


def _config(source: str, host: str, more: str) -> str:
    image = "url" if source == "image" else "image"
    return (
        f"directories: [{{path: v, contents: [{{path: app, {source}: {{{image}: '{host}/team/app:v1', {more}}}}}]}}]\n"
    )


@pytest.mark.parametrize("source", ["image", "ociArtifact"])
def test_any_certificate_is_taken_where_that_is_asked_for(
    project: VendirProject, registry: TestRegistry, source: str
) -> None:
    project.write(_config(source, registry.host, "dangerousSkipTLSVerify: true"))
    project.sync()
    assert len(project.tree("v/app")) == 1
    project.write(_config(source, registry.host, "dangerousSkipTLSVerify: false"))
    assert project.run("sync").status == 1


def test_a_registry_without_tls_on_this_machine_is_met_all_the_same(project: VendirProject) -> None:
    with TestRegistry() as registry:
        registry.push_artifact("team/app", "v1", [archive(file("a.txt", b"alpha"))])
        project.write(_config("image", registry.host, "dangerousSkipTLSVerify: true"))
        project.sync()
    assert project.tree("v/app") == {"a.txt": "alpha"}


def test_certificates_of_several_authorities_are_taken(
    project: VendirProject, registry: TestRegistry, certificates: Certificates, others: Certificates
) -> None:
    for authorities, status in (([others.ca], 1), ([others.ca, certificates.ca], 0)):
        project.write(_config("ociArtifact", registry.host, f"additionalCACertificates: {authorities}"))
        assert project.run("sync").status == status


def test_an_authority_that_cannot_be_read_is_named(
    project: VendirProject, registry: TestRegistry, certificates: Certificates, tmp_path: Path
) -> None:
    authorities = f"additionalCACertificates: [{certificates.ca}, {tmp_path}/none.pem]"
    project.write(_config("imgpkgBundle", registry.host, authorities))
    result = project.run("sync")
    assert result.status == 1
    assert "none.pem" in result.stderr
