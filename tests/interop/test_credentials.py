"""Registries that ask for a password: what is said without one, and credentials shared with other clients both ways."""

from __future__ import annotations

import base64
import json
import os
import stat
from pathlib import Path

import pytest

from interop.conftest import unique
from interop.programs import Program
from interop.projects import Project
from interop.registries import PASSWORD, USER, Registry
from interop.trees import tree
from support.command import Result, provender, succeed

pytestmark = pytest.mark.interop


@pytest.fixture
def private(request: pytest.FixtureRequest, guarded: Registry) -> str:
    """A repository's name behind a password."""
    return f"{guarded.host}/{unique(request)}"


def docker_config() -> Path:
    return Path(os.environ["DOCKER_CONFIG"]) / "config.json"


def login(host: str, password: str = PASSWORD) -> Result:
    return provender("login", host, "-u", USER, "--password-stdin", stdin=password)


@pytest.mark.parametrize("command", ["push", "pull", "resolve", "tags", "tag"])
def test_without_credentials_the_error_names_login(private: str, sample: Path, command: str) -> None:
    arguments = {
        "push": ("push", f"{private}:v1", "config.json"),
        "pull": ("pull", f"{private}:v1", "-o", "out"),
        "resolve": ("resolve", f"{private}:v1"),
        "tags": ("tags", private),
        "tag": ("tag", f"{private}:v1", "latest"),
    }[command]
    result = provender(*arguments, "--format", "json", cwd=sample)
    assert (result.status, result.error["exit"], result.error["retryable"]) == (77, 77, False)
    assert "provender login" in result.error["hint"]
    assert not (sample / "out").exists()


def test_without_credentials_a_sync_leaves_nothing(private: str, tmp_path: Path) -> None:
    project = Project(tmp_path / "project", {"x": f"{private}:v1"})
    result = project.run("sync")
    assert result.status == 77
    assert "provender login" in result.stderr
    assert not (project.directory / "provender.lock").exists()
    assert not project.vendor("x").exists()


def test_after_login_all_commands_work(private: str, guarded: Registry, sample: Path, tmp_path: Path) -> None:
    assert login(guarded.host).status == 0
    digest = succeed("push", f"{private}:v1", "config.json", "schemas", "--format", "json", cwd=sample).json["digest"]
    assert succeed("resolve", f"{private}:v1").stdout.strip() == digest
    succeed("tag", f"{private}:v1", "latest")
    assert sorted(succeed("tags", private).stdout.split()) == ["latest", "v1"]
    project = Project(tmp_path / "project", {"x": f"{private}:latest"})
    project.succeed("sync")
    succeed("pull", f"{private}:v1", "-o", tmp_path / "out")
    expected = {name: leaf for name, leaf in tree(sample).items() if name != "empty"}
    assert tree(project.vendor("x")) == tree(tmp_path / "out") == expected


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_the_password_on_stdin_may_end_with_a_line_break(guarded: Registry, newline: str) -> None:
    assert login(guarded.host, PASSWORD + newline).status == 0


def test_a_wrong_password_is_refused_and_not_kept(private: str, guarded: Registry) -> None:
    result = login(guarded.host, "not the password")
    assert result.status == 77
    assert "not the password" not in result.stdout + result.stderr
    assert not docker_config().exists()
    assert provender("tags", private).status == 77


def test_a_wrong_password_that_another_client_kept_is_refused(private: str, guarded: Registry) -> None:
    docker_config().parent.mkdir(parents=True)
    wrong = base64.b64encode(f"{USER}:wrong".encode()).decode()
    docker_config().write_text(json.dumps({"auths": {guarded.host: {"auth": wrong}}}))
    result = provender("resolve", f"{private}:v1", "--format", "json")
    assert result.status == 77
    assert wrong not in result.stderr


def test_logout_forgets_and_leaves_other_entries(private: str, guarded: Registry) -> None:
    docker_config().parent.mkdir(parents=True)
    kept = {"auths": {"registry.example.com": {"auth": "eDp5"}}, "psFormat": "table"}
    docker_config().write_text(json.dumps(kept))
    assert login(guarded.host).status == 0
    written = json.loads(docker_config().read_text())
    assert set(written["auths"]) == {"registry.example.com", guarded.host}
    assert written["psFormat"] == "table"
    assert stat.S_IMODE(docker_config().stat().st_mode) == 0o600
    assert provender("tags", private).status == 66  # allowed in; there is no such repository yet
    succeed("logout", guarded.host)
    assert json.loads(docker_config().read_text()) == kept
    assert provender("tags", private).status == 77


def test_other_clients_use_the_credentials_that_we_keep(
    private: str, guarded: Registry, sample: Path, oras: Program, crane: Program
) -> None:
    assert oras.attempt("push", "--plain-http", f"{private}:v1", "config.json", cwd=sample).returncode != 0
    assert login(guarded.host).status == 0
    oras.run("push", "--plain-http", f"{private}:v1", "config.json", cwd=sample)
    assert crane.run("digest", f"{private}:v1") == succeed("resolve", f"{private}:v1").stdout.strip()


@pytest.mark.parametrize("client", ["oras", "crane"])
def test_we_use_the_credentials_that_another_client_keeps(
    private: str, guarded: Registry, sample: Path, oras: Program, crane: Program, client: str
) -> None:
    words = ("-u", USER, "--password-stdin")
    if client == "oras":
        oras.run("login", "--plain-http", *words, guarded.host, stdin=PASSWORD.encode())
    else:
        crane.run("auth", "login", *words, guarded.host, stdin=PASSWORD.encode())
    digest = succeed("push", f"{private}:v1", "config.json", "--format", "json", cwd=sample).json["digest"]
    assert crane.run("digest", f"{private}:v1") == digest


def test_a_trace_shows_no_secret(private: str, guarded: Registry, sample: Path) -> None:
    assert login(guarded.host).status == 0
    result = succeed("push", f"{private}:v1", "config.json", "--debug", cwd=sample)
    assert guarded.host in result.stderr
    encoded = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    assert not any(secret in result.stderr + result.stdout for secret in (PASSWORD, encoded))
