"""The configuration of a run: all documents of all `-f` files, checked as vendir checks them, with its error texts.

An error's message is the chain that vendir prints, its cause last; `where` and `hint` are ours.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from provender.dialects.vendir.glob import check_glob
from provender.dialects.vendir.schema import API_VERSION, Config, Contents, Directory
from provender.dialects.vendir.secrets import ConfigMap, References, Secret, read_config_map, read_secret
from provender.errors import InvalidProject, NotFound, ProvenderError, Unsupported
from provender.project.capped import read_capped
from provender.settings import Path as Place
from provender.settings import Tree
from provender.settings.go_documents import MAX_FILE_BYTES, read_documents
from provender.settings.go_shape import shaped
from provender.settings.go_yaml import dump

__all__ = ["EMULATED_VERSION", "Configuration", "checked", "clean_path", "entire_path", "refuse_unsupported", "within"]

EMULATED_VERSION: Final = "0.46.3"
"""The release of vendir whose behaviour this is, for `minimumRequiredVersion` and `vendir version`."""

_DISALLOWED: Final = ("/", ".", "..", "")
_VERSION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)*)(-[0-9A-Za-z.~-]+)?(\+[0-9A-Za-z.~-]+)?")
_STDIN: Final = "-"


class Configuration(msgspec.Struct, frozen=True):
    """What the `-f` files say: one Config with cleaned paths, and everything that it may refer to."""

    config: Config
    references: References
    places: dict[str, str]
    """Where each of the contents is written (`file:line:column`), by its path with that of its directory."""

    @classmethod
    def load(cls, files: Sequence[str], *, stdin: Callable[[], bytes], warn: Callable[[str], None]) -> Configuration:
        """The configuration in `files`, of which `-` is standard input. Raises InvalidProject and NotFound."""
        return _Loader(stdin, warn).load(files)

    def replaced(self, config: Config) -> Configuration:
        """The same with another Config."""
        return msgspec.structs.replace(self, config=config)

    def dump(self) -> str:
        """The Config as vendir prints it."""
        return dump(msgspec.to_builtins(self.config))


class _Loader:
    """Reads the files of one run, one after another."""

    def __init__(self, stdin: Callable[[], bytes], warn: Callable[[str], None]) -> None:
        self._stdin = stdin
        self._warn = warn
        self._configs: list[tuple[Config, Tree]] = []
        self._secrets: dict[str, Secret] = {}
        self._config_maps: list[ConfigMap] = []

    def load(self, files: Sequence[str]) -> Configuration:
        for file in files:
            raw = self._read(file, is_only=len(files) == 1)
            try:
                trees = read_documents(raw, where=_named(file), warn=self._warn)
            except ProvenderError as error:
                raise within(error, f"Parsing config '{file}'") from error
            for tree in trees:
                try:
                    self._take(tree)
                except ProvenderError as error:
                    raise within(error, f"Parsing resource config '{file}'") from error
        if len(self._configs) != 1:
            count = "exactly one config, but found multiple" if self._configs else "at least one config, but found none"
            raise InvalidProject(
                f"Expected to find {count}",
                code="one-config",
                where=", ".join(_named(file) for file in files)[:500],
                hint=f"exactly one document of all files has apiVersion: {API_VERSION} and kind: Config",
            )
        config, tree = self._configs[0]
        return Configuration(
            config, References(tuple(self._secrets.values()), self._config_maps), _places(tree, config)
        )

    def _read(self, file: str, *, is_only: bool) -> bytes:
        if file == _STDIN:
            return self._stdin()
        try:
            return read_capped(Path(file), MAX_FILE_BYTES)
        except FileNotFoundError as error:
            is_default = is_only and file == "vendir.yml"
            hint = "change to the project's directory, or name the file with -f"
            more = (
                " (hint: Did you name your configuration file something different than 'vendir.yml', "
                "e.g. wrong extension?)"
            )
            raise NotFound(
                f"Reading config '{file}': open {file}: no such file or directory{more if is_default else ''}",
                code="no-config",
                where=file,
                hint=hint,
            ) from error
        except IsADirectoryError as error:
            raise InvalidProject(
                f"Reading config '{file}': read {file}: is a directory",
                code="not-a-file",
                where=file,
                hint="name a file with -f",
            ) from error
        except InvalidProject as error:
            raise within(error, f"Reading config '{file}'") from error

    def _take(self, tree: Tree) -> None:
        api_version, kind = _text(tree, "apiVersion"), _text(tree, "kind")
        match api_version, kind:
            case "v1", "Secret":
                self._add_secret(tree)
            case "v1", "ConfigMap":
                try:
                    self._config_maps.append(read_config_map(tree, warn=self._warn))
                except ProvenderError as error:
                    raise within(error, "Unmarshaling config map") from error
            case _ if (api_version, kind) == (API_VERSION, "Config"):
                try:
                    config = cleaned(shaped(tree, Config, warn=self._warn))
                    checked(config, tree)
                except ProvenderError as error:
                    raise within(error, "Unmarshaling config") from error
                self._configs.append((config, tree))
            case _:
                hint = f"known: {API_VERSION} Config, v1 Secret, v1 ConfigMap"
                if kind == "LockConfig":
                    hint = "that is a lock; name it with --lock-file"
                raise tree.error(
                    f"Unknown apiVersion '{api_version}' or kind '{kind}' for resource",
                    path=("apiVersion",) if api_version not in (API_VERSION, "v1") else ("kind",),
                    code="unknown-document",
                    hint=hint,
                )

    def _add_secret(self, tree: Tree) -> None:
        try:
            secret = read_secret(tree, warn=self._warn)
        except ProvenderError as error:
            raise within(error, "Unmarshaling secret") from error
        known = self._secrets.get(secret.name)
        if known is not None and known.data != secret.data:
            raise tree.error(
                f"Expected to find one secret '{secret.name}', but found multiple",
                path=("metadata", "name"),
                code="secret-twice",
                hint="give each Secret a name of its own",
            )
        self._secrets[secret.name] = secret


def refuse_unsupported(configuration: Configuration) -> None:
    """Unsupported (code `unsupported-source`) if one of the contents comes from Mercurial."""
    for directory in configuration.config.directories:
        for contents in directory.contents:
            if contents.hg is not None:
                path = entire_path(directory, contents)
                raise Unsupported(
                    f"{path}: the source hg (Mercurial) is not supported",
                    code="unsupported-source",
                    where=configuration.places.get(path),
                    hint=f"use vendir for this one: vendir sync -d {path}; sync the others here, each with -d",
                )


def entire_path(directory: Directory, contents: Contents) -> str:
    """Where contents lie, seen from the working directory."""
    return clean_path(posixpath.join(directory.path, contents.path))


def within(error: ProvenderError, doing: str) -> ProvenderError:
    """The same error, with what was being done before its message, as vendir chains its errors."""
    error.message = f"{doing}: {error.message}"
    return error


def clean_path(path: str) -> str:
    """Go's `filepath.Clean`."""
    if not path:
        return "."
    clean = posixpath.normpath(path)
    return clean[1:] if clean.startswith("//") else clean


def cleaned(config: Config) -> Config:
    """The configuration with every path of a directory and of its contents in the shortest form.

    An empty path stays: that one is refused.
    """
    directories = [
        msgspec.structs.replace(
            directory,
            path=clean_path(directory.path) if directory.path else "",
            contents=tuple(
                msgspec.structs.replace(each, path=clean_path(each.path) if each.path else "")
                for each in directory.contents
            ),
        )
        for directory in config.directories
    ]
    return msgspec.structs.replace(config, directories=tuple(directories))


def checked(config: Config, tree: Tree) -> None:
    """Nothing, if the configuration is one that vendir takes; else InvalidProject or Unsupported."""
    try:
        _check_minimum(config.minimum_required_version, tree)
        for number, directory in enumerate(config.directories):
            try:
                _check_directory(directory, tree, ("directories", number))
            except ProvenderError as error:
                raise within(error, f"Validating directory '{directory.path}' ({number})") from error
        _check_overlap(config, tree)
    except ProvenderError as error:
        raise within(error, "Validating config") from error


def _check_minimum(wanted: str, tree: Tree) -> None:
    if not wanted:
        return
    place: Place = ("minimumRequiredVersion",)
    if wanted[0] == "v":
        raise tree.error(
            "Validating minimum version: Must not have prefix 'v' (e.g. '0.8.0')",
            path=place,
            code="invalid-version",
            hint=f"write {wanted[1:40]}",
        )
    least, mine = _segments(wanted), _segments(EMULATED_VERSION)
    if least is None or mine is None:
        raise tree.error(
            f"Parsing minimum version constraint: Malformed constraint: >={wanted[:80]}",
            path=place,
            code="invalid-version",
            hint="write for example 0.44.0",
        )
    if mine < least:
        raise tree.error(
            f"vendir version '{EMULATED_VERSION}' does not meet the minimum required version '{wanted[:80]}'",
            path=place,
            code="vendir-too-old",
            hint=f"provender does what vendir {EMULATED_VERSION} does; a newer provender may do more",
        )


def _segments(text: str) -> tuple[tuple[int, ...], bool] | None:
    """Numbers to compare, and whether it is a release; hashicorp/go-version fills up with zeros."""
    found = _VERSION.fullmatch(text) if len(text) < 100 else None
    if found is None:
        return None
    numbers = tuple(int(part) for part in found[1].split("."))
    return numbers + (0,) * (8 - len(numbers)), found[2] is None


def _check_directory(directory: Directory, tree: Tree, place: Place) -> None:
    _check_path(directory.path, tree, (*place, "path"))
    if len(directory.contents) > 1 and any(each.path == "." for each in directory.contents):
        raise tree.error(
            "Expected only one directory contents if path is set to '.'",
            path=(*place, "contents"),
            code="entire-directory",
            hint="give each of the contents a path of its own, or make them directories of their own",
        )
    for number, contents in enumerate(directory.contents):
        try:
            _check_contents(contents, tree, (*place, "contents", number))
        except ProvenderError as error:
            raise within(error, f"Validating directory contents '{contents.path}' ({number})") from error


def _check_contents(contents: Contents, tree: Tree, place: Place) -> None:
    given = contents.sources
    if not given:
        raise tree.error(
            "Expected directory contents type to be specified (one of git, manual, etc.)",
            path=place,
            code="no-source",
            hint="name where it comes from: git, http, image, imgpkgBundle, ociArtifact, githubRelease, helmChart, "
            "directory, inline or manual",
        )
    if len(given) > 1:
        raise tree.error(
            f"Expected exactly one directory contents type to be specified (multiple found: {', '.join(given)})",
            path=(*place, given[1]),
            of_key=True,
            code="several-sources",
            hint="make them contents of their own, each with its path",
        )
    if contents.path != ".":
        _check_path(contents.path, tree, (*place, "path"))
    for name, patterns in (
        ("includePaths", contents.include_paths),
        ("excludePaths", contents.exclude_paths),
        ("ignorePaths", contents.ignore_paths),
        ("legalPaths", contents.legal_paths or ()),
    ):
        for number, pattern in enumerate(patterns):
            try:
                check_glob(pattern)
            except InvalidProject as error:
                raise tree.error(
                    error.message, path=(*place, name, number), code=error.code, hint=error.hint
                ) from error
    if contents.permissions is not None and not 0 <= contents.permissions <= 0o7777:
        raise _bad_permissions(tree, place)


def _bad_permissions(tree: Tree, place: Place) -> InvalidProject:
    return tree.error(
        "permissions are no mode of a directory",
        path=(*place, "permissions"),
        code="invalid-permissions",
        hint="write an octal number with a leading zero, such as 0755",
    )


def _check_path(path: str, tree: Tree, place: Place) -> None:
    if path in _DISALLOWED:
        listed = "', '".join(_DISALLOWED)
        raise tree.error(
            f"Expected path to not be one of '{listed}'",
            path=place,
            code="invalid-path",
            hint="write a relative path such as vendor/charts",
        )
    if "\0" in path:
        raise tree.error("the path has a NUL", path=place, code="invalid-path", hint="remove it")


def _check_overlap(config: Config, tree: Tree) -> None:
    directories = config.directories
    _refuse_overlap(
        [directory.path for directory in directories],
        lambda number: tree.place(("directories", number, "path")),
    )
    for index, directory in enumerate(directories):
        _refuse_overlap(
            [entire_path(directory, each) for each in directory.contents],
            lambda number, index=index: tree.place(("directories", index, "contents", number, "path")),  # type: ignore[misc]
        )


def _refuse_overlap(paths: Sequence[str], place: Callable[[int], str]) -> None:
    for number, path in enumerate(paths):
        for other, inner in enumerate(paths):
            if number != other and f"{inner}/".startswith(f"{path}/"):
                raise InvalidProject(
                    f"Expected to not manage overlapping paths: '{inner}' and '{path}'",
                    code="overlapping-paths",
                    where=place(other),
                    hint=f"move one of them; the other is at {place(number)}",
                )


def _places(tree: Tree, config: Config) -> dict[str, str]:
    return {
        entire_path(directory, contents): tree.place(("directories", number, "contents", index))
        for number, directory in enumerate(config.directories)
        for index, contents in enumerate(directory.contents)
    }


def _text(tree: Tree, key: str) -> str:
    found = tree.at(key)
    return found.value if found is not None and isinstance(found.value, str) else ""


def _named(file: str) -> str:
    return "standard input" if file == _STDIN else os.fspath(file)
