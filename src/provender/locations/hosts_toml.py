"""containerd's `hosts.toml` as rules for concrete references (containerd, docs/hosts.md).

Read, never written; the weakest of all sources. One host has one file, found by its directory's name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

from provender.errors import InvalidProject
from provender.locations.model import Connection, HostTarget, Mirror, Origin, Rewrite, parse_host_target, rule_host
from provender.locations.toml_file import read_toml

__all__ = ["HostsToml"]


_OTHERWISE: Final = "let a rule for this host in registries.yaml stand in for it"


class _Host(msgspec.Struct, frozen=True):
    capabilities: list[Literal["pull", "resolve", "push"]] = []
    ca: str | list[str] = []
    client: str | list[str | list[str]] = []
    skip_verify: bool = False
    override_path: bool = False
    header: dict[str, str | list[str]] = {}

    def may(self, capability: Literal["pull", "resolve"]) -> bool:
        """True if the host is asked for this; without any capability named, for everything."""
        return not self.capabilities or capability in self.capabilities


class _File(_Host, frozen=True):
    server: str = ""
    host: dict[str, _Host] = {}


class HostsToml:
    """The rules in the `certs.d` directories of the user and of the system; a host's file is read once."""

    def __init__(self, environ: Mapping[str, str], *, system_dir: Path) -> None:
        config = environ.get("XDG_CONFIG_HOME", "")
        home = environ.get("HOME", "")
        users = Path(config) if Path(config).is_absolute() else Path(home) / ".config" if home else None
        self._roots = (
            *([users / "containerd" / "certs.d"] if users is not None else ()),
            system_dir / "containerd" / "certs.d",
            system_dir / "docker" / "certs.d",
        )
        self._rules: dict[str, Rewrite | None] = {}

    def rules(self, host: str) -> Iterator[Rewrite]:
        """The rule for references of `host`, if there is one."""
        if host not in self._rules:
            self._rules[host] = self._read(host)
        if (rule := self._rules[host]) is not None:
            yield rule

    def _read(self, host: str) -> Rewrite | None:
        directory = self._directory(host)
        path = None if directory is None else directory / "hosts.toml"
        file = None if path is None else read_toml(path, _File, otherwise=_OTHERWISE)
        return None if file is None or path is None else _Reader(path, host).rule(file)

    def _directory(self, host: str) -> Path | None:
        """The first directory for this host, as containerd looks for it."""
        name, colon, port = host.rpartition(":")
        names = [host, "_default"]
        if colon and not host.endswith("]"):
            names.insert(0, f"{name}_{port}_")
        return next((root / name for root in self._roots for name in names if (root / name).is_dir()), None)


class _Reader:
    """Turns one file into a rule."""

    def __init__(self, path: Path, host: str) -> None:
        self._path = path
        self._host = host

    def rule(self, file: _File) -> Rewrite:
        target, connection = HostTarget(self._host), self._connection(file, "the server")
        if file.server:
            target, connection = self._endpoint(file.server, file)
            if rule_host(target.host) == self._host:
                target = HostTarget(self._host, target.prefix)  # the API host of Docker Hub is no other registry
        mirrors: list[Mirror] = []
        for url, host in file.host.items():  # TOML tables keep their order, which is that of asking
            location, speaking = self._endpoint(url, host)
            if host.may("pull") or host.may("resolve"):
                mirrors.append(Mirror(location, host.may("resolve"), digests=host.may("pull"), connection=speaking))
        return Rewrite(
            HostTarget(self._host),
            target,
            Origin("hosts-toml", str(self._path)),
            mirrors=tuple(mirrors),
            connection=connection,
            resolves_tags=file.may("resolve"),
            serves_digests=file.may("pull"),
        )

    def _endpoint(self, url: str, host: _Host) -> tuple[HostTarget, Connection]:
        """What a URL names, and how it is spoken to."""
        where = f"{self._path}: {url[:150]}"
        try:
            parts = urlsplit(url if "://" in url else f"https://{url}")
            has_user = parts.username is not None
        except ValueError as error:
            raise self._invalid("it is no URL", where) from error
        if parts.scheme not in ("http", "https") or has_user or parts.query or parts.fragment:
            raise self._invalid(
                "it is no http or https URL of a host", where.replace(parts.netloc, "…") if has_user else where
            )
        path = parts.path.strip("/")
        if (host.override_path and path.split("/")[0] != "v2") or (not host.override_path and path not in ("", "v2")):
            path = "?"
        if path == "?":
            raise self._invalid(
                "its API does not lie below /v2/ of the host, which is where registries are asked",
                where,
                hint='write "https://host/v2/prefix" with override_path = true, or a rule in registries.yaml',
            )
        prefix = path.removeprefix("v2").strip("/")
        location = parse_host_target("/".join(part for part in (parts.netloc, prefix) if part), where)
        return location, self._connection(host, url[:150], plain_http=True if parts.scheme == "http" else None)

    def _connection(self, host: _Host, name: str, *, plain_http: bool | None = None) -> Connection:
        where = f"{self._path}: {name}"
        if host.skip_verify:
            raise self._invalid(
                "skip_verify asks for TLS without checking the certificate, which provender never does",
                where,
                code="insecure-setting",
                hint=f"name the host's CA in ca, or {_OTHERWISE}",
            )
        if host.header:
            raise self._invalid(
                "it sets headers, which are not sent",
                where,
                code="unsupported-setting",
                hint=_OTHERWISE,
            )
        cas = [host.ca] if isinstance(host.ca, str) else host.ca
        clients = [host.client] if isinstance(host.client, str) else host.client
        if len(cas) > 1 or len(clients) > 1:
            raise self._invalid("it names several files", where, hint="join the certificates in one PEM file")
        client = clients[0] if clients else []
        pair = [client] if isinstance(client, str) else client
        if len(pair) > 2 or not all(name and "\0" not in name for name in (*cas, *pair)):
            raise self._invalid("it names no file, or too many", where)
        paths = [self._path.parent / name for name in pair]
        return Connection(
            plain_http=plain_http,
            ca=self._path.parent / cas[0] if cas else None,
            client_certificate=paths[0] if paths else None,
            client_key=paths[1] if len(paths) > 1 else None,
        )

    def _invalid(
        self,
        why: str,
        where: str,
        *,
        code: str = "invalid-container-settings",
        hint: str = "correct the file; containerd reads it as well",
    ) -> InvalidProject:
        return InvalidProject(f"hosts.toml: {why}", code=code, where=where, hint=hint)
