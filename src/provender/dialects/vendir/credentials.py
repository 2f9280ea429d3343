"""Credentials for registries, in the order in which vendir's imgpkg looks for them.

A Secret's first, the most specific host first; then `IMGPKG_REGISTRY_*`; then a Secret's or the environment's for any
host (`IMGPKG_USERNAME`, `IMGPKG_TOKEN`, `IMGPKG_ANON`); then what Docker keeps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from provender.dialects.vendir.secrets import Login
from provender.errors import InvalidProject

if TYPE_CHECKING:
    from provender.storage.registry import Credential, CredentialSource

__all__ = ["ImgpkgCredentials"]

_PREFIX: Final = "IMGPKG_REGISTRY_"
_FIELDS: Final = {
    "HOSTNAME": "hostname",
    "USERNAME": "username",
    "PASSWORD": "password",
    "IDENTITY_TOKEN": "identity_token",
    "REGISTRY_TOKEN": "token",
}
_HUB_NAMES: Final = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})


class ImgpkgCredentials:
    """A source of credentials. `logins` come from Secrets, `fallback` has what other tools keep."""

    def __init__(self, logins: Sequence[Login], environ: Mapping[str, str], fallback: CredentialSource) -> None:
        named = [login for login in logins if login.hostname]
        general = [login for login in logins if not login.hostname]
        self._named = [*named, *_from_environment(environ)]
        self._general = [*general, *_general_from_environment(environ)]
        self._is_anonymous = environ.get("IMGPKG_ANON", "").lower() in ("true", "1", "t")
        self._fallback = fallback

    def lookup(self, host: str, repository: str | None = None) -> Credential | None:
        """The credential for a repository of a host; None without one."""
        path = f"{_hub(host)}/{repository}" if repository else _hub(host)
        matching = [login for login in self._named if _matches(_bare(login.hostname), path)]
        if matching:
            return _credential(max(matching, key=lambda login: len(_bare(login.hostname))))
        if self._general:
            return _credential(self._general[0])
        return None if self._is_anonymous else self._fallback.lookup(host, repository)


def _from_environment(environ: Mapping[str, str]) -> Iterable[Login]:
    groups: dict[str, dict[str, str]] = {}
    for name in sorted(environ):
        if not name.startswith(_PREFIX) or "AZURE_CR_CONFIG" in name:
            continue
        rest = name.removeprefix(_PREFIX)
        field = next((each for each in _FIELDS if rest == each or rest.startswith(f"{each}_")), None)
        if field is None:
            raise InvalidProject(
                f"unknown environment variable {name[:80]}",
                code="unknown-variable",
                where=name[:80],
                hint=f"known: {', '.join(_PREFIX + each for each in _FIELDS)}, each with a suffix",
            )
        groups.setdefault(rest.removeprefix(field), {})[_FIELDS[field]] = environ[name]
    return [Login(**fields) for fields in groups.values() if fields.get("hostname")]


def _general_from_environment(environ: Mapping[str, str]) -> Iterable[Login]:
    username, password = environ.get("IMGPKG_USERNAME", ""), environ.get("IMGPKG_PASSWORD", "")
    if username or password:
        yield Login(username=username, password=password)
    elif token := environ.get("IMGPKG_TOKEN"):
        yield Login(token=token)


def _credential(login: Login) -> Credential | None:
    from provender.storage.registry import Credential

    found = Credential(
        username=login.username,
        secret=login.password,
        identity_token=login.identity_token,
        registry_token=login.token,
        source="a Secret, or the environment",
    )
    return None if found.is_empty else found


def _bare(hostname: str) -> str:
    """A host with an optional path, without scheme and without the `/v1/` of old Docker configurations."""
    bare = hostname.partition("://")[2] or hostname
    bare = bare.rstrip("/")
    for version in ("/v1", "/v2"):
        bare = bare.removesuffix(version)
    host, slash, path = bare.partition("/")
    return f"{_hub(host)}{slash}{path}"


def _hub(host: str) -> str:
    return "index.docker.io" if host in _HUB_NAMES else host


def _matches(pattern: str, path: str) -> bool:
    """As Kubernetes matches: label by label for the host, where `*` stays in one; the path as a prefix."""
    wanted_host, _, wanted_path = pattern.partition("/")
    host, _, rest = path.partition("/")
    wanted, given = wanted_host.split("."), host.split(".")
    if len(wanted) != len(given) or not all(fnmatchcase(g, w) for w, g in zip(wanted, given, strict=True)):
        return False
    return not wanted_path or rest == wanted_path or rest.startswith(f"{wanted_path}/")
