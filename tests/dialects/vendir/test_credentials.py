"""Which credential goes to which registry: from Secrets, from vendir's variables, and from what Docker keeps."""

from __future__ import annotations

import pytest

from provender.dialects.vendir.credentials import ImgpkgCredentials
from provender.dialects.vendir.secrets import Login
from provender.errors import InvalidProject
from provender.storage.registry import Credential


class _Docker:
    def lookup(self, host: str, repository: str | None = None) -> Credential | None:
        return Credential(username=f"docker at {host}", secret="kept")


def _name(host: str, repository: str, *logins: Login, environ: dict[str, str] | None = None) -> str | None:
    found = ImgpkgCredentials(logins, environ or {}, _Docker()).lookup(host, repository)
    return None if found is None else found.username or found.registry_token or found.identity_token


_HOST = Login(hostname="registry.test", username="host", password="p")
_VARIABLE = {
    "IMGPKG_REGISTRY_HOSTNAME": "registry.test",
    "IMGPKG_REGISTRY_USERNAME": "variable",
    "IMGPKG_REGISTRY_PASSWORD": "p",
}
_PATH = Login(hostname="registry.test/team", username="path", password="p")
_WILD = Login(hostname="*.registry.test", username="wild", password="p")
_ANY = Login(username="any", password="p")


@pytest.mark.parametrize(
    ("host", "repository", "logins", "name"),
    [
        ("registry.test", "team/app", (_HOST, _PATH), "path"),
        ("registry.test", "team", (_HOST, _PATH), "path"),
        ("registry.test", "teams/app", (_HOST, _PATH), "host"),
        ("eu.registry.test", "app", (_WILD, _ANY), "wild"),
        ("a.eu.registry.test", "app", (_WILD, _ANY), "any"),
        ("registry.test", "app", (_WILD, _ANY), "any"),
        ("other.test", "app", (_HOST,), "docker at other.test"),
        ("registry.test:5000", "app", (_HOST,), "docker at registry.test:5000"),
        ("registry.test", "app", (Login(hostname="https://registry.test/v1/", username="old", password="p"),), "old"),
        ("registry-1.docker.io", "library/x", (Login(hostname="docker.io", username="hub", password="p"),), "hub"),
        ("registry.test", "app", (Login(hostname="registry.test", token="bearer"),), "bearer"),
        ("registry.test", "app", (), "docker at registry.test"),
    ],
)
def test_the_most_specific_login_wins(host: str, repository: str, logins: tuple[Login, ...], name: str) -> None:
    assert _name(host, repository, *logins) == name


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        (_VARIABLE, "variable"),
        ({"IMGPKG_REGISTRY_HOSTNAME_2": "registry.test", "IMGPKG_REGISTRY_IDENTITY_TOKEN_2": "id"}, "id"),
        ({"IMGPKG_REGISTRY_HOSTNAME_2": "registry.test", "IMGPKG_REGISTRY_REGISTRY_TOKEN_2": "tok"}, "tok"),
        ({"IMGPKG_REGISTRY_HOSTNAME_0": "other.test", "IMGPKG_REGISTRY_USERNAME_0": "x"}, "docker at registry.test"),
        ({"IMGPKG_REGISTRY_USERNAME_0": "without-host"}, "docker at registry.test"),
        ({"IMGPKG_USERNAME": "general", "IMGPKG_PASSWORD": "p", "IMGPKG_TOKEN": "t"}, "general"),
        ({"IMGPKG_TOKEN": "t"}, "t"),
        ({"IMGPKG_ANON": "true"}, None),
        ({"IMGPKG_REGISTRY_AZURE_CR_CONFIG": "/x"}, "docker at registry.test"),
    ],
)
def test_the_variables_of_imgpkg(environ: dict[str, str], name: str | None) -> None:
    assert _name("registry.test", "app", environ=environ) == name


def test_a_secret_comes_before_a_variable_of_the_same_host() -> None:
    assert _name("registry.test", "app", _HOST, environ=_VARIABLE) == "host"
    assert _name("registry.test", "app", _ANY, environ=_VARIABLE) == "variable"


def test_an_unknown_variable_is_named() -> None:
    with pytest.raises(InvalidProject, match="IMGPKG_REGISTRY_USER_NAME") as caught:
        _name("registry.test", "app", environ={"IMGPKG_REGISTRY_USER_NAME": "x"})
    assert "IMGPKG_REGISTRY_USERNAME" in (caught.value.hint or "")
