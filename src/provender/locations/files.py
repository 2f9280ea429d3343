"""`registries.yaml`: its model, and the file read as bindings and rewrites (design formats, section 3)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from provender.errors import InvalidProject
from provender.locations.model import (
    Binding,
    Connection,
    Fallback,
    Key,
    Mirror,
    Origin,
    PathResolver,
    Rewrite,
    Source,
    check_alias,
    parse_host_target,
    parse_target,
)

if TYPE_CHECKING:
    from provender.settings import Path as TreePath
    from provender.settings import Tree

__all__ = ["Registries", "RegistriesFile", "parse_registries", "read_registries"]


class MirrorEntry(msgspec.Struct, frozen=True, rename="camel"):
    """One mirror as written."""

    location: str
    resolve: bool = False
    plain_http: bool | None = None
    ca: str | None = None


class RegistryEntry(msgspec.Struct, frozen=True, rename="camel"):
    """One logical registry as written; None is "not said"."""

    location: str | None = None
    mirrors: tuple[MirrorEntry, ...] | None = None
    fallback: Fallback | None = None
    plain_http: bool | None = None
    ca: str | None = None


class RewriteEntry(msgspec.Struct, frozen=True):
    """One rewrite as written: `location` or `blocked: true`."""

    prefix: str
    location: str | None = None
    blocked: bool = False


class RegistriesFile(msgspec.Struct, frozen=True):
    """The whole of `registries.yaml` as written."""

    version: Literal[1]
    registries: dict[str, RegistryEntry | None] | None = None
    rewrites: tuple[RewriteEntry, ...] | None = None


class Registries(msgspec.Struct, frozen=True):
    """What one source says: bindings by alias, and rewrites in the order written."""

    bindings: dict[str, Binding]
    rewrites: tuple[Rewrite, ...] = ()


def read_registries(path: Path, *, source: Source, shown_as: str, resolve: PathResolver) -> Registries | None:
    """What the file at `path` says; None if there is no such file. OSError if it cannot be read."""
    try:
        with path.open("rb") as file:
            from provender.settings import MAX_SETTINGS_BYTES  # few have the file; reading YAML is a few modules

            raw = file.read(MAX_SETTINGS_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return parse_registries(raw, source=source, shown_as=shown_as, resolve=resolve)


def parse_registries(raw: bytes | str, *, source: Source, shown_as: str, resolve: PathResolver) -> Registries:
    """What the text of a `registries.yaml` says; `resolve` makes its paths absolute.

    Raises InvalidProject with `file:line:column`.
    """
    from provender.settings import convert, load_tree

    tree = load_tree(raw, where=shown_as)
    written = convert(tree, RegistriesFile)
    bindings = {
        check_alias(alias, tree.place(("registries", alias), of_key=True)): _binding(
            tree, alias, entry or RegistryEntry(), source, resolve
        )
        for alias, entry in (written.registries or {}).items()
    }
    rewrites = tuple(
        _rewrite(tree, number, entry, source, resolve) for number, entry in enumerate(written.rewrites or ())
    )
    _refuse_repeated(tree, rewrites)
    return Registries(bindings, rewrites)


def _binding(tree: Tree, alias: str, entry: RegistryEntry, source: Source, resolve: PathResolver) -> Binding:
    base = ("registries", alias)
    written: dict[Key, object] = {
        "location": entry.location,
        "mirrors": entry.mirrors,
        "fallback": entry.fallback,
        "plainHttp": entry.plain_http,
        "ca": entry.ca,
    }
    mirrors = None
    if entry.mirrors is not None:
        mirrors = tuple(
            _mirror(tree, (*base, "mirrors", number), mirror, resolve) for number, mirror in enumerate(entry.mirrors)
        )
    location = None
    if entry.location is not None:
        location = parse_target(entry.location, tree.place((*base, "location")), resolve)
    return Binding(
        location=location,
        mirrors=mirrors,
        fallback=entry.fallback,
        plain_http=entry.plain_http,
        ca=_ca(tree, (*base, "ca"), entry.ca, resolve),
        origins={
            key: Origin(source, tree.place((*base, key), of_key=True))
            for key, value in written.items()
            if value is not None
        },
    )


def _mirror(tree: Tree, base: TreePath, entry: MirrorEntry, resolve: PathResolver) -> Mirror:
    target = parse_host_target(entry.location, tree.place((*base, "location")))
    ca = _ca(tree, (*base, "ca"), entry.ca, resolve)
    return Mirror(target, entry.resolve, connection=Connection(plain_http=entry.plain_http, ca=ca))


def _ca(tree: Tree, path: TreePath, text: str | None, resolve: PathResolver) -> Path | None:
    if text is not None and (not text or "\0" in text):
        raise tree.error("ca has no path", path=path, hint="name a file with PEM certificates")
    return None if text is None else resolve(text)


def _rewrite(tree: Tree, number: int, entry: RewriteEntry, source: Source, resolve: PathResolver) -> Rewrite:
    base = ("rewrites", number)
    if entry.blocked is (entry.location is not None):
        raise tree.error(
            f"the rewrite of {entry.prefix[:150]!r} needs a location or blocked: true, and not both",
            path=base,
            hint="write {prefix: …, location: …} or {prefix: …, blocked: true}",
        )
    prefix = parse_host_target(entry.prefix, tree.place((*base, "prefix")))
    target = None
    if entry.location is not None:
        target = parse_target(entry.location, tree.place((*base, "location")), resolve)
    return Rewrite(prefix, target, Origin(source, tree.place(base)))


def _refuse_repeated(tree: Tree, rewrites: tuple[Rewrite, ...]) -> None:
    first: dict[str, Rewrite] = {}
    for number, rewrite in enumerate(rewrites):
        before = first.setdefault(str(rewrite.prefix), rewrite)
        if before is not rewrite:
            raise InvalidProject(
                f"two rewrites of the prefix {rewrite.prefix}",
                code="duplicate-rewrite",
                where=tree.place(("rewrites", number)),
                hint=f"the other is at {before.origin.where}; keep one",
            )
