"""Lists in the style of flux-mirror, read as wishes: `artifacts`, each with source, destination and selector; `charts`.

https://github.com/fluxcd/flux-mirror, docs/config.md. Charts are copied from registries as they are, never made anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from provender.errors import ProvenderError
from provender.oci import Reference
from provender.relocate.selector import Selector
from provender.relocate.wish import Wish
from provender.settings import Path, Tree, convert, load_tree

__all__ = ["is_mirror_list", "read_mirror_list"]

_KEYS: Final = re.compile(r"^(?:artifacts|charts)\s*:", re.MULTILINE)
_SCHEME: Final = "oci://"


class _Artifact(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    source: str
    destination: str | None = None
    selector: Selector | None = None
    overwrite: bool = False
    include_referrers: bool = True


class _Chart(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    name: str
    source: str
    destination: str | None = None
    version: str = "*"
    limit: int = 1
    overwrite: bool = False


class _List(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    api_version: str | None = None
    kind: str | None = None
    artifacts: tuple[_Artifact, ...] = ()
    charts: tuple[_Chart, ...] = ()


def is_mirror_list(text: str) -> bool:
    """True for a file with `artifacts:` or `charts:` at its top."""
    return _KEYS.search(text) is not None


def read_mirror_list(text: str, *, where: str) -> tuple[Wish, ...]:
    """The wishes of a list. Raises InvalidProject with file:line:column.

    Unless `includeReferrers` is false related content comes along, as everywhere else; without `overwrite` a tag that
    names something else at the destination is an error of the plan.
    """
    tree = load_tree(text, where=where)
    read = convert(tree, _List)
    return (*_artifacts(tree, read), *_charts(tree, read))


def _artifacts(tree: Tree, read: _List) -> Iterator[Wish]:
    for number, each in enumerate(read.artifacts):
        path: Path = ("artifacts", number)
        source = _reference(tree, (*path, "source"), each.source)
        if source.target is not None and each.selector is not None:
            raise tree.error(
                "a selector beside a tag or digest: the source names one artifact already",
                path=(*path, "selector"),
                code="invalid-wish",
                hint="leave the one or the other out",
            )
        yield Wish(
            source=source.with_target(),
            target=source.target,
            tags=(source.tag,) if source.tag is not None else (),
            selector=None if source.target is not None else each.selector or Selector(),
            destination=_destination(tree, (*path, "destination"), each.destination, below=None),
            is_bare=not each.include_referrers,
            keeps_tags=not each.overwrite,
        )


def _charts(tree: Tree, read: _List) -> Iterator[Wish]:
    for number, each in enumerate(read.charts):
        path: Path = ("charts", number)
        if not each.source.startswith(_SCHEME):
            raise tree.error(
                "a chart that is in no registry cannot be relocated",
                path=(*path, "source"),
                code="not-in-a-registry",
                hint="name an oci:// repository; 'helm push' puts a chart into one",
            )
        yield Wish(
            source=_reference(tree, (*path, "source"), f"{each.source.rstrip('/')}/{each.name}"),
            selector=_versions(tree, path, each),
            destination=_destination(tree, (*path, "destination"), each.destination, below=each.name),
            keeps_tags=not each.overwrite,
        )


def _versions(tree: Tree, path: Path, chart: _Chart) -> Selector:
    try:
        return Selector(semver=chart.version, limit=chart.limit)
    except ProvenderError as error:
        raise tree.error(error.message, path=(*path, "version"), code=error.code, hint=error.hint) from error
    except ValueError as error:
        raise tree.error(str(error), path=(*path, "limit")) from error


def _destination(tree: Tree, path: Path, text: str | None, *, below: str | None) -> Reference | None:
    if text is None:
        return None
    found = _reference(tree, path, text if below is None else f"{text.rstrip('/')}/{below}")
    if found.target is not None:
        raise tree.error(
            "a destination is a repository; tags keep their names",
            path=path,
            code="invalid-mapping",
            hint=f"write {found.name[:200]}",
        )
    return found


def _reference(tree: Tree, path: Path, text: str) -> Reference:
    try:
        return Reference.parse(text.removeprefix(_SCHEME))
    except ProvenderError as error:
        raise tree.error(error.message, path=path, code=error.code, hint=error.hint) from error
