"""Locations: the answer to "where is this registry?", merged from every source by precedence (formats, section 3)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from provender.errors import Denied, InvalidProject, InvalidReference
from provender.locations.model import (
    KEYS,
    HostTarget,
    Key,
    Location,
    Origin,
    PathResolver,
    Place,
    Rewrite,
    Source,
    Target,
)
from provender.locations.sources import EnvironmentLayer, FileLayer, FlagLayer, Layer, ManifestLayer, environment_name
from provender.oci import Reference

__all__ = ["Explanation", "Locations"]

SYSTEM_FILE: Final = "/etc/provender/registries.yaml"
_DEFAULTS: Final[dict[Key, str]] = {"mirrors": "none", "fallback": "location", "plainHttp": "only for loopback hosts"}
_DEFAULT_ORIGIN: Final = Origin("default", "default")


class Explanation(msgspec.Struct, frozen=True):
    """One value of one key of an alias: who set it, and whether it is the one that counts."""

    origin: Origin
    key: Key
    value: str
    wins: bool


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

    def __init__(self, layers: Iterable[Layer], *, cwd: Path) -> None:
        self._layers: Sequence[Layer] = tuple(layers)
        self._cwd = cwd

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
        system_file: Path = Path(SYSTEM_FILE),
    ) -> Locations:
        """All the sources: flags, variables, the named, the project's, the user's and the system's file, the manifest.

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
        layers.append(base.file(system_file, "system-file"))
        if manifest is not None:
            layers.append(ManifestLayer(manifest, base.at(cwd / (project_dir or "")), shown_as=manifest_name))
        return cls(layers, cwd=cwd)

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
            is_set = False
            for layer in self._layers:
                binding = layer.binding(alias)
                value = binding.said(key) if binding is not None else None
                if binding is None or value is None:
                    continue
                rows.append(Explanation(binding.origins[key], key, value, wins=not is_set))
                is_set = True
            if not is_set and key in _DEFAULTS:
                rows.append(Explanation(_DEFAULT_ORIGIN, key, _DEFAULTS[key], wins=True))
        return rows

    def looked(self, alias: str) -> list[str]:
        """The places where an alias is looked for, the strongest first, as people know them."""
        return [layer.looked(alias) for layer in self._layers]

    def rewrite(self, reference: Reference) -> Rewrite | None:
        """The rule for a concrete reference: the longest prefix, then the strongest source; None without one.

        Raises Denied (`blocked-registry`) if the rule blocks it.
        """
        best: Rewrite | None = None
        for layer in self._layers:
            for rule in layer.rewrites():
                if rule.rest(reference.registry, reference.repository) is not None and (
                    best is None or len(str(rule.prefix)) > len(str(best.prefix))
                ):
                    best = rule
        if best is not None and best.is_blocked:
            raise Denied(
                f"{best.prefix} is blocked by the configuration",
                code="blocked-registry",
                where=str(reference),
                hint=f"the rule is at {best.origin.where}; use a registry that is allowed, or change the rule",
            )
        return best

    def place(self, reference: Reference) -> Place:
        """Where the bytes of a reference really are: its alias bound, its host rewritten, its path made absolute.

        Mirrors are not part of it: they serve digests beside the place, never instead of it.
        """
        if reference.kind == "layout":
            return Place(layout=self._cwd / reference.registry)
        if reference.kind == "registry":
            rule = self.rewrite(reference)
            if rule is None or rule.target is None:
                return Place(host=reference.registry, repository=reference.repository)
            rest = rule.rest(reference.registry, reference.repository) or ""
            return _below(rule.target, rest, reference, Place(origin=rule.origin))
        try:
            location = self.find(reference.registry)
        except InvalidProject as error:
            error.at(str(reference))
            raise
        said = Place(plain_http=location.plain_http, ca=location.ca, origin=location.origins["location"])
        return _below(location.target, reference.repository, reference, said)

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


def _below(target: Target, repository: str, reference: Reference, said: Place) -> Place:
    """The place of a repository below a target."""
    if not isinstance(target, HostTarget):
        if not repository:
            raise InvalidProject(
                f"the rewrite leaves no repository name for {target}",
                code="invalid-location",
                where=str(reference),
                hint="let the rewrite's prefix end before the last component",
            )
        return msgspec.structs.replace(said, store=target.path, repository=repository)
    name = "/".join(part for part in (target.prefix, repository) if part)
    try:
        bound = Reference.parse(f"{target.host}/{name}")
    except InvalidReference as error:
        raise InvalidProject(
            f"at {target} this would be {target.host}/{name[:300]}, which is no repository name",
            code="invalid-location",
            where=str(reference),
            hint=error.hint,
        ) from error
    return msgspec.structs.replace(said, host=bound.registry, repository=bound.repository)


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
