"""Checks of the values in `provender.lock`: a lock is no more trusted than a manifest, for it comes from anywhere.

Project layer, over `lock_entry`, below `lock`. Shapes are msgspec's; this is about what the text in them says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from provender.errors import InvalidDocument, InvalidProject, InvalidReference, ProvenderError
from provender.oci import Platform
from provender.oci.media_types import is_valid
from provender.oci.reference import check_tag
from provender.project.addresses import (
    check_asset_name,
    check_chart,
    check_chart_repository,
    check_commit,
    check_directory,
    check_git_url,
    check_ref,
    check_sha256,
    check_slug,
    check_url,
)
from provender.project.dependency import (
    Paths,
    check_destination,
    check_media_type_pattern,
    check_name,
    check_pattern,
    check_root,
)
from provender.project.lock_entry import (
    LockedArtifact,
    LockedChart,
    LockedDependency,
    LockedDirectory,
    LockedGit,
    LockedHttp,
    LockedManual,
    LockedRelease,
    Selection,
)
from provender.project.origin import Requested
from provender.settings import Path
from provender.versions import Range

__all__ = ["find_problem"]

_Check = tuple[Path, Callable[[], object]]


def find_problem(name: str, entry: LockedDependency) -> tuple[Path, ProvenderError] | None:
    """The first value that breaks a grammar, and where it is."""
    for path, check in _checks(name, entry):
        try:
            check()
        except ProvenderError as error:
            return path, error
    return None


def _checks(name: str, entry: LockedDependency) -> Iterator[_Check]:
    yield (), partial(check_name, name)
    yield ("to",), partial(_check_clean, entry.to, check_destination)
    match entry:
        case LockedArtifact():
            yield from _artifact(entry)
        case LockedGit():
            yield from _git(entry)
        case LockedHttp():
            yield ("url",), partial(check_url, entry.url)
            yield ("sha256",), partial(check_sha256, entry.sha256)
        case LockedRelease():
            yield from _release(entry)
        case LockedChart():
            yield from _chart(entry)
        case LockedDirectory():
            yield ("path",), partial(_check_clean, entry.path, check_directory)
        case _:
            pass
    if not isinstance(entry, LockedManual):
        yield ("tree",), partial(_check_tree, entry)
        if entry.selection is not None:
            yield ("selection",), partial(_check_selection, entry.selection)


def _artifact(entry: LockedArtifact) -> Iterator[_Check]:
    yield ("repository",), partial(_check_repository, entry)
    yield ("requested",), partial(_check_requested, entry.requested)
    yield ("mediaType",), partial(_check_media_type, entry.media_type)
    if entry.tag is not None:
        yield ("tag",), partial(check_tag, entry.tag)
    if entry.artifact_type is not None:
        yield ("artifactType",), partial(_check_media_type, entry.artifact_type)
    for number, layer in enumerate(entry.layers):
        yield ("layers", number, "mediaType"), partial(_check_media_type, layer.media_type)


def _git(entry: LockedGit) -> Iterator[_Check]:
    yield ("url",), partial(check_git_url, entry.url)
    yield ("commit",), partial(check_commit, entry.commit)
    wish = entry.requested
    for key, text in (("branch", wish.branch), ("tag", wish.tag), ("ref", wish.ref)):
        if text is not None:
            yield ("requested", key), partial(check_ref, text)
    if wish.version is not None:
        yield ("requested", "version"), partial(Range.parse, wish.version)
    if wish.commit is not None:
        yield ("requested", "commit"), partial(check_commit, wish.commit)
    if entry.tag is not None:
        yield ("tag",), partial(check_ref, entry.tag)


def _release(entry: LockedRelease) -> Iterator[_Check]:
    yield ("repository",), partial(check_slug, entry.repository)
    yield ("url",), partial(check_url, entry.url)
    if entry.api is not None:
        yield ("api",), partial(check_url, entry.api)
    if entry.requested.version is not None:
        yield ("requested", "version"), partial(Range.parse, entry.requested.version)
    for text in (entry.tag, entry.requested.tag):
        if text is not None:
            yield ("tag",), partial(check_ref, text)
    for number, pattern in enumerate(entry.wanted):
        yield ("wanted", number), partial(check_pattern, pattern)
    for number, asset in enumerate(entry.assets):
        yield ("assets", number, "name"), partial(check_asset_name, asset.name)
        yield ("assets", number, "url"), partial(check_url, asset.url)
        yield ("assets", number, "sha256"), partial(check_sha256, asset.sha256)


def _chart(entry: LockedChart) -> Iterator[_Check]:
    yield ("chart",), partial(check_chart, entry.chart)
    yield ("repository",), partial(check_chart_repository, entry.repository)
    yield ("version",), partial(check_ref, entry.version)
    if entry.requested.version is not None:
        yield ("requested", "version"), partial(Range.parse, entry.requested.version)
    if entry.url is not None:
        yield ("url",), partial(check_url, entry.url)


def _check_repository(entry: LockedArtifact) -> None:
    reference = entry.repository_reference
    is_plain = reference.target is None and reference.name.partition("/")[0] == entry.registry
    if reference.kind == "layout":
        path = reference.registry
        is_plain = reference.target is None and path[:1] not in ("/", "~") and ".." not in path.split("/")
    if not is_plain:
        raise InvalidReference(
            f"not a registry and a repository: {entry.registry[:150]!r}, {entry.repository[:150]!r}",
            code="invalid-repository",
        )


def _check_requested(requested: Requested) -> None:
    if requested == Requested():
        raise InvalidProject("nothing is requested", code="missing-key")
    if requested.version is not None:
        Range.parse(requested.version)
    if requested.tag is not None:
        check_tag(requested.tag)


def _check_selection(selection: Selection | Paths) -> None:
    if isinstance(selection, Selection):
        if selection.platform is not None:
            Platform.parse(selection.platform)
        for text in selection.media_types:
            check_media_type_pattern(text)
    for text in (*selection.include, *selection.exclude):
        check_pattern(text)
    if selection.root is not None:
        _check_clean(selection.root, check_root)


def _check_clean(text: str, check: Callable[[str], str]) -> None:
    if check(text) != text:
        raise InvalidProject(f"not in the form that provender writes: {text[:150]!r}", code="invalid-path")


def _check_media_type(text: str) -> None:
    if not is_valid(text):
        raise InvalidDocument(f"not a media type: {text[:150]!r}", code="invalid-media-type")


def _check_tree(entry: LockedDependency) -> None:
    if entry.tree is None:
        raise InvalidProject("the digest of the tree is missing", code="missing-tree")
