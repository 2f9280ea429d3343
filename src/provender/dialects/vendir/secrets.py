"""Secret and ConfigMap documents, and the credentials in them, with vendir's rules for their keys.

What a Secret holds is never part of a message or of a `repr`.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from provender.errors import InvalidProject
from provender.settings import Tree
from provender.settings.go_shape import shaped

__all__ = ["ConfigMap", "Login", "References", "Secret", "read_config_map", "read_secret"]

_DOCKER_CONFIG_TYPE: Final = "kubernetes.io/dockerconfigjson"
_DOCKER_CONFIG_KEY: Final = ".dockerconfigjson"
_GENERAL_KEYS: Final = frozenset({"username", "password", "token"})
_HOST_KEYS: Final = _GENERAL_KEYS | {"hostname", "identity-token"}


class Secret(msgspec.Struct, frozen=True):
    """A Secret document, its values decoded."""

    name: str
    type: str
    data: dict[str, bytes]

    def __repr__(self) -> str:
        return f"Secret({self.name!r}, {sorted(self.data)})"


class ConfigMap(msgspec.Struct, frozen=True):
    """A ConfigMap document."""

    name: str
    data: dict[str, str]


class Login(msgspec.Struct, frozen=True):
    """Credentials for a registry: for `hostname`, or without one for whichever is asked."""

    hostname: str = ""
    username: str = ""
    password: str = ""
    token: str = ""
    identity_token: str = ""

    def __repr__(self) -> str:
        return f"Login({self.hostname!r})"


class _Metadata(msgspec.Struct, frozen=True):
    name: str = ""


class _SecretShape(msgspec.Struct, rename="camel"):
    api_version: str = ""
    kind: str = ""
    metadata: _Metadata = _Metadata()
    type: str = ""
    data: dict[str, str] = {}


class _ConfigMapShape(msgspec.Struct, rename="camel"):
    api_version: str = ""
    kind: str = ""
    metadata: _Metadata = _Metadata()
    data: dict[str, str] = {}


def read_secret(tree: Tree, *, warn: Callable[[str], None]) -> Secret:
    """The Secret of a document; InvalidProject where a value is not base64."""
    shape = shaped(tree, _SecretShape, warn=_quiet(warn))
    if tree.at("stringData") is not None:
        warn(
            f"{tree.place(('stringData',), of_key=True)}: vendir knows no stringData; "
            "write the values in base64 below data"
        )
    data: dict[str, bytes] = {}
    for key, text in shape.data.items():
        try:
            data[key] = base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True)
        except (binascii.Error, ValueError) as error:
            raise tree.error(
                f"the value of {key[:80]!r} is not base64",
                path=("data", key),
                code="not-base64",
                hint="encode it: printf %s VALUE | base64 -w0",
            ) from error
    return Secret(shape.metadata.name, shape.type, data)


def read_config_map(tree: Tree, *, warn: Callable[[str], None]) -> ConfigMap:
    """The ConfigMap of a document."""
    shape = shaped(tree, _ConfigMapShape, warn=_quiet(warn))
    return ConfigMap(shape.metadata.name, shape.data)


class References:
    """The Secrets and ConfigMaps of a run, by name."""

    def __init__(self, secrets: Sequence[Secret] = (), config_maps: Sequence[ConfigMap] = ()) -> None:
        self._secrets = {secret.name: secret for secret in secrets}
        self._config_maps = list(config_maps)

    def secret(self, name: str) -> Secret:
        """The Secret of that name; InvalidProject (code `no-secret`) without it."""
        found = self._secrets.get(name)
        if found is None:
            known = ", ".join(sorted(self._secrets)) or "none"
            raise InvalidProject(
                f"Expected to find one secret '{name}', but found none",
                code="no-secret",
                hint=f"add a document of kind Secret with that name, here or in another -f file; known: {known}",
            )
        return found

    def config_map(self, name: str) -> ConfigMap:
        """The ConfigMap of that name; InvalidProject without it, or with two."""
        found = [each for each in self._config_maps if each.name == name]
        if len(found) != 1:
            known = ", ".join(sorted({each.name for each in self._config_maps})) or "none"
            hint = f"add a document of kind ConfigMap with that name; known: {known}"
            raise InvalidProject(
                f"Expected to find one config map '{name}', but found {'multiple' if found else 'none'}",
                code="no-config-map",
                hint="give each a name of its own" if found else hint,
            )
        return found[0]

    def fields(self, name: str, known: frozenset[str]) -> Mapping[str, str]:
        """The values of a Secret as text; InvalidProject (`unknown-secret-field`) for a key that is not `known`."""
        return _fields(self.secret(name), known)

    def logins(self, name: str) -> tuple[Login, ...]:
        """The credentials for registries that a Secret holds, of either form; those for a host sorted by it."""
        secret = self.secret(name)
        if secret.type == _DOCKER_CONFIG_TYPE:
            return _docker_logins(secret)
        is_general = "hostname" not in secret.data
        fields = _fields(secret, _GENERAL_KEYS if is_general else _HOST_KEYS)
        return (
            Login(
                hostname=fields.get("hostname", ""),
                username=fields.get("username", ""),
                password=fields.get("password", ""),
                token=fields.get("token", ""),
                identity_token=fields.get("identity-token", ""),
            ),
        )


def _fields(secret: Secret, known: frozenset[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for key, value in secret.data.items():
        # Newer releases of vendir take the keys in any case.
        name = key if key in known else key.lower()
        if name not in known:
            raise InvalidProject(
                f"Unknown secret field '{key[:80]}' in secret '{secret.name}'",
                code="unknown-secret-field",
                hint=f"known here: {', '.join(sorted(known))}",
            )
        try:
            fields[name] = value.decode()
        except UnicodeDecodeError as error:
            raise InvalidProject(
                f"the field '{key[:80]}' of the secret '{secret.name}' is not UTF-8",
                code="unusable-secret",
                hint="encode the text itself in base64, once",
            ) from error
    return fields


def _docker_logins(secret: Secret) -> tuple[Login, ...]:
    try:
        auths = _auths(json.loads(secret.data.get(_DOCKER_CONFIG_KEY, b"")))
    except (ValueError, RecursionError) as error:
        raise InvalidProject(
            f"the secret '{secret.name}' of type {_DOCKER_CONFIG_TYPE} holds no JSON below {_DOCKER_CONFIG_KEY}",
            code="unusable-secret",
            hint=f"encode a Docker config.json in base64 as data: {{{_DOCKER_CONFIG_KEY}: ...}}",
        ) from error
    return tuple(_docker_login(secret, host, auths[host]) for host in sorted(auths))


def _docker_login(secret: Secret, host: str, auth: Mapping[str, str]) -> Login:
    username, password = auth.get("username", ""), auth.get("password", "")
    if not password and auth.get("auth"):
        try:
            decoded = base64.b64decode(auth["auth"], validate=True).decode()
        except (binascii.Error, ValueError) as error:
            raise InvalidProject(
                f"Decoding auth field: the one for {host[:80]} in the secret '{secret.name}' is not base64",
                code="unusable-secret",
                hint="auth is the base64 of USER:PASSWORD",
            ) from error
        username, colon, password = decoded.partition(":")
        if not colon:
            raise InvalidProject(
                "Expected auth field to have 'username:password' format, but did not",
                code="unusable-secret",
                hint=f"correct the auth for {host[:80]} in the secret '{secret.name}'",
            )
    return Login(hostname=host, username=username, password=password)


def _auths(value: object) -> dict[str, dict[str, str]]:
    """The `auths` of a Docker configuration, with text values alone."""
    found = value.get("auths") if isinstance(value, dict) else None
    return {
        host: {key.lower(): text for key, text in auth.items() if isinstance(text, str)}
        for host, auth in (found if isinstance(found, dict) else {}).items()
        if isinstance(auth, dict)
    }


def _quiet(warn: Callable[[str], None]) -> Callable[[str], None]:
    """Kubernetes documents have more keys than vendir knows; that is nobody's slip."""
    del warn
    return lambda _: None
