"""Manifest: `provender.yaml` read strictly into `Dependency` values; every error points at file:line:column.

Project layer. Reads one file, asks no network; what the references mean is for `locations` and the storages.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from provender.errors import InvalidProject, InvalidReference, NotFound
from provender.oci import Reference
from provender.project.capped import read_capped
from provender.project.dependency import Dependency, find_overlap
from provender.project.manifest_entry import read_dependency
from provender.project.manifest_file import MANIFEST_VERSION, ManifestFile
from provender.project.place import MANIFEST_NAME, find_manifest, no_manifest
from provender.settings import MAX_SETTINGS_BYTES, Tree, convert, load_tree

__all__ = ["MANIFEST_NAME", "Dependency", "Manifest", "find_manifest", "read_capped"]

_T = TypeVar("_T")
_MISSING: Final = object()
_CONFLICT: Final = re.compile(rb"^(?:<{7}|={7}|>{7}|\|{7})(?:[ \r]|$)", re.MULTILINE)


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A project's manifest, checked as a whole."""

    directory: Path
    """What destinations and relative locations are relative to."""
    registries: dict[str, str | None]
    """Logical registries that the project names, with the manifest's own default location or None."""
    dependencies: tuple[Dependency, ...]
    """Sorted by name; their destinations do not overlap."""
    places: dict[str, str] = {}
    """Where each dependency is written (`file:line:column`), by name, for messages."""

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """The manifest in the file `path`; NotFound without it, InvalidProject if it breaks the format."""
        try:
            raw = read_capped(path, MAX_SETTINGS_BYTES)
        except FileNotFoundError as error:
            raise no_manifest(str(path)) from error
        return cls.parse(raw, where=str(path), directory=path.parent)

    @classmethod
    def parse(cls, text: str | bytes, *, where: str = MANIFEST_NAME, directory: Path | None = None) -> Manifest:
        """The manifest in `text`, which `where` names in messages; InvalidProject if it breaks the format."""
        tree = _loaded(text, where)
        _check_version(tree)
        file = _converted(tree)
        registries = {
            name: _location(tree, name, entry.location if entry is not None else None)
            for name, entry in _sorted(file.registries)
        }
        dependencies = tuple([read_dependency(tree, name) for name, _ in _sorted(file.dependencies)])
        places = {each.name: tree.place(("dependencies", each.name), of_key=True) for each in dependencies}
        _check_overlap(tree, dependencies, places)
        return cls(directory=directory or Path(), registries=registries, dependencies=dependencies, places=places)

    def get(self, name: str) -> Dependency | None:
        """The dependency of that name; None if there is none."""
        return next((each for each in self.dependencies if each.name == name), None)

    def require(self, name: str, *, where: str | None = None) -> Dependency:
        """The dependency of that name; NotFound with "did you mean" if there is none."""
        found = self.get(name)
        if found is not None:
            return found
        import difflib

        known = [each.name for each in self.dependencies]
        near = difflib.get_close_matches(name[:150], known[:5000], n=1)
        raise NotFound(
            f"there is no dependency {name[:150]!r}",
            code="no-dependency",
            where=where or str(self.directory / MANIFEST_NAME),
            hint=f"did you mean {near[0]}?" if near else f"there are: {', '.join(known[:20]) or 'none'}",
        )


def _sorted(entries: dict[str, _T] | None) -> list[tuple[str, _T]]:
    return sorted((entries or {}).items())


def _converted(tree: Tree) -> ManifestFile:
    try:
        return msgspec.convert(tree.value, ManifestFile)
    except msgspec.ValidationError:
        # The slower way drops `x-` keys and explains what is wrong.
        return convert(tree, ManifestFile)


def _loaded(text: str | bytes, where: str) -> Tree:
    try:
        return load_tree(text, where=where)
    except InvalidProject as error:
        raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        found = _CONFLICT.search(raw)
        if found is None:
            raise
        line = raw.count(b"\n", 0, found.start()) + 1
        raise InvalidProject(
            "the file has merge conflict markers",
            code="manifest-conflict",
            where=f"{where}:{line}:1",
            hint="settle the conflict, then run again",
        ) from error


def _check_version(tree: Tree) -> None:
    if not isinstance(tree.value, dict):
        raise tree.error(
            "the file is empty" if tree.value is None else "the file must be a mapping",
            hint=f"begin it with version: {MANIFEST_VERSION}",
        )
    version = tree.value.get("version", _MISSING)
    if version is _MISSING:
        raise tree.error(
            "the file lacks the key 'version'", code="missing-key", hint=f"begin it with version: {MANIFEST_VERSION}"
        )
    if isinstance(version, int) and version > MANIFEST_VERSION:
        raise tree.error(
            f"the file has version {version}; this provender reads version {MANIFEST_VERSION}",
            path=("version",),
            code="manifest-too-new",
            hint="use a newer provender",
        )


def _location(tree: Tree, alias: str, location: str | None) -> str | None:
    if not _is_alias(alias):
        raise tree.error(
            f"not a name of a logical registry: {alias[:150]!r}",
            path=("registries", alias),
            of_key=True,
            code="invalid-alias",
            hint="use lower-case letters and digits, joined by '-' or '_'; a name with a dot or colon is a host",
        )
    if location is None:
        return None
    try:
        return _checked_location(location)
    except InvalidReference as error:
        raise tree.error(
            f"not a location: {location[:150]!r}",
            path=("registries", alias, "location"),
            code="invalid-location",
            hint="write host[:port][/prefix] without a scheme, such as ghcr.io/fluxcd, or layout:PATH",
        ) from error


def _is_alias(text: str) -> bool:
    try:
        return Reference.parse(f"{text}/x").kind == "logical"
    except InvalidReference:
        return False


def _checked_location(location: str) -> str:
    if location.startswith("layout:"):
        if not location.removeprefix("layout:").strip() or "\0" in location:
            raise InvalidReference("no path")
        return location
    found = Reference.parse(f"{location.rstrip('/')}/x")
    if found.kind != "registry" or found.target is not None or location.startswith("oci://"):
        raise InvalidReference("no host")
    return location.rstrip("/")


def _check_overlap(tree: Tree, dependencies: tuple[Dependency, ...], places: dict[str, str]) -> None:
    destinations = {each.name: each.to for each in dependencies}
    overlap = find_overlap(destinations)
    if overlap is None:
        return
    one, other = overlap
    raise tree.error(
        f"the destinations of {one!r} ({destinations[one]}) and {other!r} ({destinations[other]}) overlap",
        path=("dependencies", other, "to"),
        code="overlapping-destinations",
        hint=f"give each a directory of its own with 'to'; {one!r} is at {places[one]}",
    )
