"""The sources of locations, each with the same small face: what it says of an alias, and how it is called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from provender.errors import InvalidProject
from provender.locations.files import Registries, read_registries
from provender.locations.model import (
    Binding,
    Origin,
    PathResolver,
    Rewrite,
    Source,
    check_alias,
    parse_target,
)

__all__ = [
    "EnvironmentLayer",
    "FileLayer",
    "FlagLayer",
    "Layer",
    "ManifestLayer",
    "environment_name",
]

_PREFIX = "PROVENDER_REGISTRY_"
_MAX_SHOWN = 150


class Layer(Protocol):
    """One source of locations."""

    @property
    def source(self) -> Source: ...

    def binding(self, alias: str) -> Binding | None:
        """What it says of the alias; None if it does not know it."""
        ...

    def aliases(self) -> Iterable[str]:
        """Every alias that it names."""
        ...

    def rewrites(self) -> Iterable[Rewrite]:
        """Its rewrites of concrete references."""
        ...

    def looked(self, alias: str, /) -> str:
        """The place where the alias was looked for, and what was there, for people."""
        ...


class FlagLayer:
    """`--registry ALIAS=LOCATION`, as given on the command line; of two for one alias the last counts."""

    source: Source = "flag"

    def __init__(self, flags: Iterable[str], resolve: PathResolver) -> None:
        self._bindings: dict[str, Binding] = {}
        for flag in flags:
            alias, equals, text = flag.partition("=")
            where = f"--registry {alias[:_MAX_SHOWN]}"  # without the location, which may hold a password by mistake
            if not equals:
                raise InvalidProject(
                    "--registry needs an alias and a location",
                    code="invalid-location",
                    where=where,
                    hint="write --registry ALIAS=LOCATION, such as --registry acme=registry.example.com/team",
                    exit_status=2,
                )
            self._bindings[check_alias(alias, where)] = _located(text, "flag", where, resolve)

    def binding(self, alias: str) -> Binding | None:
        return self._bindings.get(alias)

    def aliases(self) -> Iterable[str]:
        return self._bindings

    def rewrites(self) -> Iterable[Rewrite]:
        return ()

    def looked(self, alias: str) -> str:
        return f"--registry {alias}=…"


class EnvironmentLayer:
    """`PROVENDER_REGISTRY_<ALIAS>`; an empty variable counts as unset."""

    source: Source = "environment"

    def __init__(self, environ: Mapping[str, str], resolve: PathResolver) -> None:
        self._environ = environ
        self._resolve = resolve

    def binding(self, alias: str) -> Binding | None:
        name = environment_name(alias)
        text = self._environ.get(name)
        return _located(text, "environment", name, self._resolve) if text else None

    def aliases(self) -> Iterable[str]:
        """The usual spelling of each variable's alias: `_` stands for `-` (the name cannot tell them apart)."""
        for name, value in self._environ.items():
            alias = name.removeprefix(_PREFIX).lower().replace("_", "-")
            if name.startswith(_PREFIX) and value and re.fullmatch(r"[a-z0-9]+(?:-+[a-z0-9]+)*", alias):
                yield alias

    def rewrites(self) -> Iterable[Rewrite]:
        return ()

    def looked(self, alias: str) -> str:
        return environment_name(alias)


class FileLayer:
    """One `registries.yaml`, read when it is first asked. With `must_exist` its absence is an error."""

    def __init__(
        self, path: Path, *, source: Source, shown_as: str, resolve: PathResolver, must_exist: bool = False
    ) -> None:
        self._path = path
        self.source: Source = source
        self._shown_as = shown_as
        self._resolve = resolve
        self._must_exist = must_exist
        self._read: Registries | None = None
        self._is_read = False

    def binding(self, alias: str) -> Binding | None:
        registries = self._registries()
        return registries.bindings.get(alias) if registries is not None else None

    def aliases(self) -> Iterable[str]:
        registries = self._registries()
        return registries.bindings if registries is not None else ()

    def rewrites(self) -> Iterable[Rewrite]:
        registries = self._registries()
        return registries.rewrites if registries is not None else ()

    def looked(self, _alias: str, /) -> str:
        return self._shown_as if self._registries() is not None else f"{self._shown_as} (absent)"

    def _registries(self) -> Registries | None:
        if not self._is_read:
            found = read_registries(self._path, source=self.source, shown_as=self._shown_as, resolve=self._resolve)
            if found is None and self._must_exist:
                raise InvalidProject(
                    f"there is no file {self._shown_as}",
                    code="registries-file-missing",
                    where="PROVENDER_REGISTRIES",
                    hint="correct the variable, or unset it",
                )
            self._read, self._is_read = found, True
        return self._read


class ManifestLayer:
    """The defaults in the project's own manifest: `registries: {acme: {location: …}}`."""

    source: Source = "manifest"

    def __init__(self, defaults: Mapping[str, str | None], resolve: PathResolver, *, shown_as: str) -> None:
        self._shown_as = shown_as
        self._bindings = {}
        for alias, text in defaults.items():
            where = f"{shown_as}: registries.{alias[:_MAX_SHOWN]}"
            check_alias(alias, where)
            self._bindings[alias] = Binding(origins={}) if text is None else _located(text, "manifest", where, resolve)

    def binding(self, alias: str) -> Binding | None:
        return self._bindings.get(alias)

    def aliases(self) -> Iterable[str]:
        return self._bindings

    def rewrites(self) -> Iterable[Rewrite]:
        return ()

    def looked(self, _alias: str, /) -> str:
        return f"{self._shown_as} (no default)"


def environment_name(alias: str) -> str:
    """The variable that binds an alias: `my-team` is bound by `PROVENDER_REGISTRY_MY_TEAM`."""
    return _PREFIX + alias.upper().replace("-", "_")


def _located(text: str, source: Source, where: str, resolve: PathResolver) -> Binding:
    return Binding(location=parse_target(text, where, resolve), origins={"location": Origin(source, where)})
