"""Manifest: `provender.yaml` read strictly into `Dependency` values; every error points at file:line:column.

Project layer. Reads one file, asks no network; what the references mean is for `locations` and the storages.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from provender.errors import InvalidProject, InvalidReference, NotFound, ProvenderError
from provender.oci import Digest, Platform, Reference
from provender.oci.media_types import is_valid
from provender.oci.reference import check_tag
from provender.project.dependency import (
    Dependency,
    Requested,
    Selection,
    check_destination,
    check_media_type_pattern,
    check_name,
    check_pattern,
    check_root,
    find_overlap,
)
from provender.project.manifest_file import MANIFEST_NAME, MANIFEST_VERSION, SOURCES, ManifestFile, OciDependency
from provender.settings import MAX_SETTINGS_BYTES, Tree, convert, load_tree
from provender.versions import Range

__all__ = ["MANIFEST_NAME", "Manifest", "find_manifest", "read_capped"]

_IMPLIED_TAG: Final = "latest"

_T = TypeVar("_T")


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
            raise _no_manifest(str(path)) from error
        return cls.parse(raw, where=str(path), directory=path.parent)

    @classmethod
    def parse(cls, text: str | bytes, *, where: str = MANIFEST_NAME, directory: Path | None = None) -> Manifest:
        """The manifest in `text`, which `where` names in messages; InvalidProject if it breaks the format."""
        tree = load_tree(text, where=where)
        _check_version(tree)
        _check_sources(tree)
        file = convert(tree, ManifestFile)
        registries = {name: _location(tree, name, entry and entry.location) for name, entry in _sorted(file.registries)}
        dependencies = tuple(_dependency(tree, name, entry) for name, entry in _sorted(file.dependencies))
        places = {each.name: tree.place(("dependencies", each.name), of_key=True) for each in dependencies}
        _check_overlap(tree, dependencies, places)
        return cls(directory=directory or Path(), registries=registries, dependencies=dependencies, places=places)

    def get(self, name: str) -> Dependency | None:
        """The dependency of that name; None if there is none."""
        return next((each for each in self.dependencies if each.name == name), None)


def find_manifest(start: Path) -> Path:
    """The nearest `provender.yaml` in `start` or above it, up to the home directory or the root; else NotFound."""
    home = Path(os.path.expanduser("~"))
    first = Path(os.path.abspath(start))
    for directory in (first, *first.parents):
        path = directory / MANIFEST_NAME
        if path.is_file():
            return path
        if directory == home:
            break
    raise _no_manifest(str(first))


def read_capped(path: Path, limit: int) -> bytes:
    """The content of a regular file, at most one byte more than `limit`; what is no file is InvalidProject."""
    # Without O_NONBLOCK a named pipe would hold us up before it can be seen to be one.
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise InvalidProject("not a file", code="not-a-file", where=str(path))
        return file.read(limit + 1)


def _no_manifest(where: str) -> NotFound:
    return NotFound(
        f"there is no {MANIFEST_NAME}",
        code="no-manifest",
        where=where,
        hint="run 'provender init' to begin one, or change to the project's directory",
        exit_status=78,
    )


def _sorted(entries: dict[str, _T] | None) -> list[tuple[str, _T]]:
    return sorted((entries or {}).items())


def _check_version(tree: Tree) -> None:
    if not isinstance(tree.value, dict):
        raise tree.error(
            "the file is empty" if tree.value is None else "the file must be a mapping",
            hint=f"begin it with version: {MANIFEST_VERSION}",
        )
    version = tree.value.get("version")
    if isinstance(version, int) and version > MANIFEST_VERSION:
        raise tree.error(
            f"the file has version {version}; this provender reads version {MANIFEST_VERSION}",
            path=("version",),
            code="manifest-too-new",
            hint="use a newer provender",
        )


def _check_sources(tree: Tree) -> None:
    """Told before the shapes are looked at, since another source has other keys."""
    dependencies = tree.at("dependencies")
    if dependencies is None or not isinstance(dependencies.value, dict):
        return
    ready = [name for name, is_ready in SOURCES.items() if is_ready]
    for name, entry in dependencies.value.items():
        if not isinstance(entry, dict):
            continue
        found = [source for source in SOURCES if source in entry]
        unready = [source for source in found if source not in ready]
        if unready:
            raise dependencies.error(
                f"the source {unready[0]!r} is not available in this version",
                path=(name, unready[0]),
                of_key=True,
                code="unsupported-source",
                hint=f"available: {', '.join(ready)}",
            )
        if "verify" in entry:
            raise dependencies.error(
                "signature verification is not available in this version, so 'verify' cannot be honoured",
                path=(name, "verify"),
                of_key=True,
                code="unsupported-verify",
                hint="remove the key; content is still held to the digest in the lock",
            )


def _location(tree: Tree, alias: str, location: str | None) -> str | None:
    try:
        if Reference.parse(f"{alias}/x").kind != "logical":
            raise InvalidReference(
                f"{alias[:150]!r} reads as a host", hint="a logical registry's name has no '.' and no ':'"
            )
    except InvalidReference as error:
        raise tree.error(
            f"not a name of a logical registry: {error.message}",
            path=("registries", alias),
            of_key=True,
            code="invalid-alias",
            hint="use lower-case letters and digits, joined by '-' or '_'",
        ) from error
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


def _checked_location(location: str) -> str:
    if location.startswith("layout:"):
        if not location.removeprefix("layout:").strip() or "\0" in location:
            raise InvalidReference("no path")
        return location
    found = Reference.parse(f"{location.rstrip('/')}/x")
    if found.kind != "registry" or found.target is not None or location.startswith("oci://"):
        raise InvalidReference("no host")
    return location.rstrip("/")


def _dependency(tree: Tree, name: str, entry: str | OciDependency) -> Dependency:
    if isinstance(entry, str):
        return _Checks(tree, name).short(entry)
    return _Checks(tree, name).long(entry)


class _Checks:
    """The checks of one dependency; what they raise gets the place of the key that is wrong."""

    def __init__(self, tree: Tree, name: str) -> None:
        self._tree = tree
        self._name = name
        self._at((), lambda: check_name(name), of_key=True)

    def short(self, text: str) -> Dependency:
        """A reference with a tag or a digest."""
        reference = self._at((), lambda: _repository(text))
        if reference.target is None:
            raise self._error(
                (),
                f"{text[:150]!r} has neither tag nor digest",
                "missing-tag",
                f"write {reference.name[:150]}:TAG, or the long form with version, tag or digest",
            )
        return Dependency(
            name=self._name,
            reference=reference.with_target(),
            requested=Requested(tag=reference.tag, digest=reference.digest),
            to=self._at((), lambda: check_destination(f"vendor/{self._name}"), of_key=True),
        )

    def long(self, entry: OciDependency) -> Dependency:
        """A mapping with `oci` and what belongs to it."""
        reference = self._at(("oci",), lambda: _repository(entry.oci))
        if reference.target is not None:
            key, value = ("digest", reference.digest) if reference.digest else ("tag", reference.tag)
            raise self._error(
                ("oci",), f"'oci' names a repository, not a {key}", "target-in-oci", f"write {key}: {value} beside it"
            )
        requested = self._requested(entry)
        if entry.artifact_type is not None and not is_valid(entry.artifact_type):
            raise self._error(
                ("artifactType",),
                f"not a media type: {entry.artifact_type[:150]!r}",
                "invalid-media-type",
                "write type/subtype, such as application/vnd.cncf.flux.config.v1+json",
            )
        to = entry.to
        return Dependency(
            name=self._name,
            reference=reference,
            requested=requested or Requested(tag=_IMPLIED_TAG),
            to=self._at(("to",), lambda: check_destination(f"vendor/{self._name}" if to is None else to)),
            artifact_type=entry.artifact_type,
            selection=self._selection(entry),
            keep=self._patterns(("keep",), entry.keep, check_pattern),
            is_tag_implied=requested is None,
        )

    def _requested(self, entry: OciDependency) -> Requested | None:
        if entry.version is not None and entry.tag is not None:
            raise self._error(
                ("tag",),
                "'version' and 'tag' exclude each other",
                "version-and-tag",
                "keep one of the two",
                of_key=True,
            )
        version, tag, digest = entry.version, entry.tag, entry.digest
        if version is not None:
            wanted = version
            self._at(("version",), lambda: Range.parse(wanted))
        if tag is not None:
            label = tag
            self._at(("tag",), lambda: check_tag(label))
        if version is None and tag is None and digest is None:
            return None
        pinned = None if digest is None else self._at(("digest",), lambda: Digest(digest))
        return Requested(version=version, tag=tag, digest=pinned)

    def _selection(self, entry: OciDependency) -> Selection:
        platform, root, layers = entry.platform, entry.root, entry.layers
        media_types = self._patterns(
            ("layers", "mediaTypes"), layers and layers.media_types, check_media_type_pattern, is_choice=True
        )
        return Selection(
            platform=None if platform is None else self._at(("platform",), lambda: str(Platform.parse(platform))),
            media_types=media_types,
            mode=layers.mode if layers is not None else "auto",
            include=self._patterns(("include",), entry.include, check_pattern, is_choice=True),
            exclude=self._patterns(("exclude",), entry.exclude, check_pattern),
            root=None if root is None else self._at(("root",), lambda: check_root(root)),
        )

    def _patterns(
        self, path: tuple[str, ...], texts: list[str] | None, check: Callable[[str], str], *, is_choice: bool = False
    ) -> tuple[str, ...]:
        if is_choice and texts == []:
            raise self._error(path, f"{path[-1]!r} is empty: nothing would be taken", "empty-choice", "leave it out")
        for number, text in enumerate(texts or ()):
            self._at((*path, number), lambda text=text: check(text))
        return tuple(texts or ())

    def _at(self, path: tuple[str | int, ...], check: Callable[[], _T], *, of_key: bool = False) -> _T:
        try:
            return check()
        except ProvenderError as error:
            raise self._error(path, error.message, error.code, error.hint, of_key=of_key) from error

    def _error(
        self, path: tuple[str | int, ...], message: str, code: str, hint: str | None, *, of_key: bool = False
    ) -> InvalidProject:
        full = ("dependencies", self._name, *path)
        return self._tree.error(f"{self._name[:128]}: {message}", path=full, of_key=of_key, code=code, hint=hint)


def _repository(text: str) -> Reference:
    reference = Reference.parse(text)
    if reference.kind == "layout" and (reference.registry[:1] in ("/", "~") or ".." in reference.registry.split("/")):
        raise InvalidReference(
            f"the layout {reference.registry[:150]!r} lies outside of the project",
            code="outside-project",
            hint="name a logical registry here and bind it: registries: {store: {location: 'layout:PATH'}}",
        )
    return reference


def _check_overlap(tree: Tree, dependencies: tuple[Dependency, ...], places: dict[str, str]) -> None:
    destinations = {each.name: each.to for each in dependencies}
    overlap = find_overlap(destinations)
    if overlap is None:
        return
    one, other = overlap
    raise tree.error(
        f"the destinations of {one!r} ({destinations[one]}, {places[one]}) and {other!r} ({destinations[other]}) overlap",
        path=("dependencies", other, "to"),
        code="overlapping-destinations",
        hint="give each a directory of its own with 'to'",
    )
