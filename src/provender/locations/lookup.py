"""Locations: the answer to "where is this registry?", merged from every source by precedence (formats, section 3)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from provender.errors import InvalidProject
from provender.locations.hosts_toml import HostsToml
from provender.locations.model import KEYS, Key, Location, Origin, PathResolver, Place, Rewrite, Route, Source
from provender.locations.registries_conf import RegistriesConf
from provender.locations.routes import Router
from provender.locations.rules import HostRules, RuleReason, Rules
from provender.locations.sources import EnvironmentLayer, FileLayer, FlagLayer, Layer, ManifestLayer, environment_name
from provender.oci import Reference

__all__ = ["Explanation", "Locations"]

SYSTEM_DIR: Final = "/etc"
_DEFAULTS: Final[dict[Key, str]] = {"mirrors": "none", "fallback": "location", "plainHttp": "only for loopback hosts"}
_DEFAULT_ORIGIN: Final = Origin("default", "default")


class Explanation(msgspec.Struct, frozen=True):
    """One value of one key of an alias: who set it, whether it is the one that counts, and why."""

    origin: Origin
    key: Key
    value: str
    wins: bool
    reason: str


class _Base:
    """Makes paths absolute; `~` is the home directory, as no shell sees what stands in a file."""

    def __init__(self, home: str) -> None:
        self._home = home

    def at(self, directory: Path) -> PathResolver:
        def resolve(text: str) -> Path:
            if self._home and (text == "~" or text.startswith("~/")):
                text = self._home + text[1:]
            return directory / text  # not normalised: `link/..` is what the system makes of it

        return resolve

    def file(self, path: Path, source: Source, *, shown_as: str | None = None, must_exist: bool = False) -> FileLayer:
        resolve = self.at(path.parent)
        return FileLayer(path, source=source, shown_as=shown_as or str(path), resolve=resolve, must_exist=must_exist)


class Locations:
    """The sources of locations, the strongest first; each key of an alias comes from the first source that sets it."""

    def __init__(self, layers: Iterable[Layer], *, cwd: Path, conf: HostRules, hosts: HostRules) -> None:
        self._layers: Sequence[Layer] = tuple(layers)
        self._rules = Rules(self._layers, conf, hosts)
        self._router = Router(self._rules, self.find, cwd=cwd)

    @classmethod
    def gather(
        cls,
        *,
        environ: Mapping[str, str],
        cwd: Path,
        flags: Iterable[str] = (),
        project_dir: Path | None = None,
        manifest: Mapping[str, str | None] | None = None,
        manifest_name: str = "provender.yaml",
        system_file: Path | None = None,
        system_dir: Path = Path(SYSTEM_DIR),
    ) -> Locations:
        """All the sources: flags, variables, the named, the project's, the user's and the system's file, the manifest;
        for concrete references also the files of containers tools and of containerd.

        `flags` are texts `ALIAS=LOCATION`; `manifest` maps an alias to its default location or None. Paths are relative
        to `cwd` in flags and variables, to the file in files, and to `project_dir` in the manifest. Files are read when
        a question needs them.
        """
        base = _Base(environ.get("HOME", ""))
        layers: list[Layer] = [FlagLayer(flags, base.at(cwd)), EnvironmentLayer(environ, base.at(cwd))]
        if named := environ.get("PROVENDER_REGISTRIES"):
            layers.append(base.file(base.at(cwd)(named), "named-file", shown_as=named, must_exist=True))
        if project_dir is not None:
            path = cwd / project_dir / ".provender" / "registries.yaml"
            layers.append(base.file(path, "project-file", shown_as=_shown(path, cwd)))
        if (directory := _user_directory(environ)) is not None:
            layers.append(base.file(directory / "provender" / "registries.yaml", "user-file"))
        layers.append(base.file(system_file or system_dir / "provender" / "registries.yaml", "system-file"))
        if manifest is not None:
            layers.append(ManifestLayer(manifest, base.at(cwd / (project_dir or "")), shown_as=manifest_name))
        conf = RegistriesConf(environ, system_dir=system_dir, cwd=cwd)
        return cls(layers, cwd=cwd, conf=conf, hosts=HostsToml(environ, system_dir=system_dir))

    def aliases(self) -> list[str]:
        """Every alias that some source names, sorted."""
        named = {alias for layer in self._layers if layer.source != "environment" for alias in layer.aliases()}
        variables = {environment_name(alias) for alias in named}
        # A variable's name cannot tell '-' from '_': it is an alias of its own only where no other source spells it.
        for layer in self._layers:
            if layer.source == "environment":
                named.update(alias for alias in layer.aliases() if environment_name(alias) not in variables)
        return sorted(named)

    def find(self, alias: str) -> Location:
        """Where the logical registry is.

        Raises InvalidProject (`unbound-registry`) with the places where it was looked for.
        """
        bindings = [found for layer in self._layers if (found := layer.binding(alias)) is not None]
        target = next((found.location for found in bindings if found.location is not None), None)
        if target is None:
            raise self._unbound(alias)
        origins: dict[Key, Origin] = {}
        for found in bindings:
            for key in KEYS:
                if key in found.origins:
                    origins.setdefault(key, found.origins[key])
        return Location(
            alias=alias,
            target=target,
            mirrors=next((found.mirrors for found in bindings if found.mirrors is not None), ()),
            fallback=next((found.fallback for found in bindings if found.fallback is not None), "location"),
            plain_http=next((found.plain_http for found in bindings if found.plain_http is not None), None),
            ca=next((found.ca for found in bindings if found.ca is not None), None),
            origins=origins,
        )

    def explain(self, alias: str) -> list[Explanation]:
        """Every value of every key from every source, the strongest first, and the defaults of keys that nobody set.

        Empty for an alias that no source knows.
        """
        if all(layer.binding(alias) is None for layer in self._layers):
            return []
        rows: list[Explanation] = []
        for key in KEYS:
            said = [
                (found.origins[key], value)
                for layer in self._layers
                if (found := layer.binding(alias)) is not None and (value := found.said(key)) is not None
            ]
            for number, (origin, value) in enumerate(said):
                reason = "nobody else sets it" if len(said) == 1 else "it is the strongest source"
                if number:
                    reason = f"{said[0][0]} is stronger"
                rows.append(Explanation(origin, key, value, wins=not number, reason=reason))
            if not said and key in _DEFAULTS:
                rows.append(Explanation(_DEFAULT_ORIGIN, key, _DEFAULTS[key], wins=True, reason="nobody sets it"))
        return rows

    def looked(self, alias: str) -> list[str]:
        """The places where an alias is looked for, the strongest first, as people know them."""
        return [layer.looked(alias) for layer in self._layers]

    def rewrite(self, reference: Reference) -> Rewrite | None:
        """The rule for a concrete reference: the longest prefix, then the strongest source; None without one.

        Raises Denied (`blocked-registry`) if the rule blocks it.
        """
        self._rules.refuse_blocked(reference.registry, reference.repository, str(reference))
        return self._rules.best(reference.registry, reference.repository)

    def explain_rules(self, reference: Reference) -> list[RuleReason]:
        """Every rule that matches a concrete reference, the one that counts first, with the reason for each."""
        return self._rules.explain(reference.registry, reference.repository)

    def place(self, reference: Reference) -> Place:
        """Where a reference really is and is written: its alias bound, its host rewritten, its path made absolute.

        Mirrors are not part of it. Raises Denied for a blocked host, InvalidProject for an alias without location.
        """
        return self._router.place(reference)

    def route(self, reference: Reference) -> Route:
        """Where a reference is read: mirrors in their order, then its place, each with what it may be asked.

        Raises as `place`, and InvalidProject (`no-source`) where no source is left.
        """
        return self._router.route(reference)

    def _unbound(self, alias: str) -> InvalidProject:
        known = self.aliases()
        looked = ", ".join(self.looked(alias))
        bind = (
            f"bind it with --registry {alias}=registry.example.com/team, or in .provender/registries.yaml: "
            f"{{version: 1, registries: {{{alias}: {{location: registry.example.com/team}}}}}}"
        )
        parts = [f"looked in: {looked}", bind]
        if near := _near(alias, [name for name in known if name != alias]):
            parts.insert(0, f"did you mean {near}?")
        elif alias not in known:
            parts.append(f"Docker Hub has to be named: docker.io/{alias}/…")
        return InvalidProject(
            f"the logical registry {alias!r} is bound to no location", code="unbound-registry", hint="; ".join(parts)
        )


def _user_directory(environ: Mapping[str, str]) -> Path | None:
    """`$XDG_CONFIG_HOME` if it is absolute (the specification ignores others), else `~/.config`."""
    named = environ.get("XDG_CONFIG_HOME", "")
    if Path(named).is_absolute():
        return Path(named)
    home = environ.get("HOME", "")
    return Path(home) / ".config" if home else None


def _shown(path: Path, cwd: Path) -> str:
    """A path for people: relative where it is below the current directory."""
    normal = Path(os.path.normpath(path))
    return str(normal.relative_to(cwd)) if normal.is_relative_to(cwd) else str(normal)


def _near(word: str, known: list[str]) -> str | None:
    import difflib

    matches = difflib.get_close_matches(word[:100], known, n=1)
    return matches[0] if matches else None
