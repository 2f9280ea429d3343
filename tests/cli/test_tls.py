"""A registry on this machine that speaks TLS: commands are told so, for this side or for that one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.certificates import Certificates, make_certificates
from support.command import Result, provender_here
from support.registry import Status, TestRegistry
from support.workspace import publish


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def secured(certificates: Certificates) -> Iterator[TestRegistry]:
    with TestRegistry(tls=certificates.server) as server:
        publish(server, "acme/good", "1.0.0", {"a.txt": b"alpha\n"})
        yield server


def run(certificates: Certificates, home: Path, *arguments: str) -> Result:
    env = {"SSL_CERT_FILE": certificates.ca, "PROVENDER_CACHE_DIR": str(home / "cache"), "DOCKER_CONFIG": str(home)}
    return provender_here(*arguments, cwd=home, env=env)


def test_tls_is_spoken_to_this_machine_when_asked_for(
    secured: TestRegistry, certificates: Certificates, tmp_path: Path
) -> None:
    place = f"{secured.host}/acme/good"
    unsaid = run(certificates, tmp_path, "tags", place)
    assert (unsaid.status, "fix if the registry speaks TLS: --no-plain-http" in unsaid.stderr) == (75, True)
    assert run(certificates, tmp_path, "tags", place, "--no-plain-http").stdout == "1.0.0\n"
    assert run(certificates, tmp_path, "tags", place, "--no-plain-http", "--plain-http").status == 75, "the last counts"


def test_a_server_that_says_that_it_wants_tls_is_understood(tmp_path: Path, registry: TestRegistry) -> None:
    # As servers written in Go, and nginx, answer.
    answer = Status(400, body=b"Client sent an HTTP request to an HTTPS server.\n")
    registry.fault(("*", "/v2/"), action=answer, times=9)
    said = provender_here("tags", f"{registry.host}/acme/good", cwd=tmp_path)
    assert (said.status, "fix if the registry speaks TLS: --no-plain-http" in said.stderr) == (69, True)


def test_each_side_of_a_copy_is_spoken_to_in_its_own_way(
    secured: TestRegistry, registry: TestRegistry, certificates: Certificates, tmp_path: Path
) -> None:
    words = ("copy", f"{secured.host}/acme/good:1.0.0", f"{registry.host}/acme/good:1.0.0")
    assert run(certificates, tmp_path, *words, "--no-plain-http", "--to-plain-http").status == 0
    assert run(certificates, tmp_path, *words, "--no-from-plain-http").status == 0
    back = (words[0], words[2], words[1])
    assert run(certificates, tmp_path, *back, "--no-to-plain-http").status == 0
    assert run(certificates, tmp_path, *back).status == 75


def test_login_and_the_explanation_know_of_it(
    secured: TestRegistry, certificates: Certificates, tmp_path: Path
) -> None:
    explained = run(certificates, tmp_path, "registry", "explain", f"{secured.host}/acme/good", "--no-plain-http")
    assert f"https://{secured.host}" in explained.stdout
    assert run(certificates, tmp_path, "login", "--help").stdout.count("--no-plain-http") == 1
