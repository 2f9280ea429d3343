"""One entry of `provender.lock`: the exact content that a dependency stands for, and the checks of its values.

Project layer, below `lock`, which reads and writes the file around it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

import msgspec

from provender.errors import InvalidDocument, InvalidProject, InvalidReference, ProvenderError
from provender.oci import Descriptor, Digest, Platform, Reference
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
)
from provender.settings import Path
from provender.versions import Range

__all__ = ["LockedDependency", "LockedLayer", "find_problem"]


class LockedLayer(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A blob that is laid on disk. `size` in bytes."""

    media_type: str
    digest: Digest
    size: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class LockedDependency(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True
):
    """What a dependency stands for. The order of the fields is the order of the keys in the file."""

    # msgspec leaves out a plain default when it writes, but never that of a factory.
    source: Literal["oci"] = msgspec.field(default_factory=lambda: "oci")
    registry: str
    """A logical registry, a host, or `layout:PATH` inside the project."""
    repository: str
    """Empty for a layout."""
    requested: Requested
    selection: Selection | None = None
    """None for the default selection."""
    tag: str | None
    """What the digest was found under; None if it was given."""
    digest: Digest
    """Of the manifest or index that was asked for."""
    manifest: Digest | None = None
    """If `digest` is an index: the child that was used."""
    media_type: str
    artifact_type: str | None
    """The effective type of the manifest that was used."""
    layers: tuple[LockedLayer, ...]
    """Those that are laid on disk, in the manifest's order."""
    verified: None = msgspec.field(default_factory=lambda: None)
    """Who signed it; always None in this version."""
    tree: Digest | None
    """Of the files that were laid down (`artifact.tree`); None until they were, never in a file."""
    to: str

    @classmethod
    def pin(
        cls,
        dependency: Dependency,
        *,
        tag: str | None,
        digest: Digest,
        manifest: Digest | None = None,
        media_type: str,
        artifact_type: str | None,
        layers: tuple[Descriptor, ...],
        tree: Digest | None = None,
    ) -> LockedDependency:
        """The entry for a dependency that was resolved to these values."""
        reference = dependency.reference
        is_layout = reference.kind == "layout"
        return cls(
            registry=reference.name if is_layout else reference.registry,
            repository=reference.repository,
            requested=dependency.requested,
            selection=None if dependency.selection == Selection() else dependency.selection,
            tag=tag,
            digest=digest,
            manifest=manifest,
            media_type=media_type,
            artifact_type=artifact_type,
            layers=tuple([LockedLayer(media_type=x.media_type, digest=x.digest, size=x.size) for x in layers]),
            tree=tree,
            to=dependency.to,
        )

    @property
    def repository_reference(self) -> Reference:
        """The repository, without tag and digest."""
        return Reference.parse(self.registry if not self.repository else f"{self.registry}/{self.repository}")

    @property
    def reference(self) -> Reference:
        """Exactly this content: the repository with tag (if known) and digest."""
        return self.repository_reference.with_target(tag=self.tag, digest=self.digest)

    @property
    def size_bytes(self) -> int:
        """What has to be fetched to lay it, where nothing is there yet."""
        return sum(layer.size for layer in self.layers)

    @property
    def identity(self) -> Digest:
        """The digest of what decides what lies on disk; equal for entries that only name it otherwise."""
        parts = (self.source, self.digest, self.manifest, self.layers, self.selection, self.tree)
        return Digest(f"sha256:{hashlib.sha256(msgspec.json.encode(parts, enc_hook=str)).hexdigest()}")


def find_problem(name: str, entry: LockedDependency) -> tuple[Path, ProvenderError] | None:
    """The first value that breaks a grammar, and where it is; a lock is no more trusted than a manifest."""
    for path, check in _checks(name, entry):
        try:
            check()
        except ProvenderError as error:
            return path, error
    return None


def _checks(name: str, entry: LockedDependency) -> list[tuple[Path, Callable[[], object]]]:
    selection = entry.selection or Selection()
    checks: list[tuple[Path, Callable[[], object]]] = [
        ((), lambda: check_name(name)),
        (("repository",), lambda: _check_repository(entry)),
        (("requested",), lambda: _check_requested(entry.requested)),
        (("to",), lambda: _check_clean(entry.to, check_destination)),
        (("mediaType",), lambda: _check_media_type(entry.media_type)),
        (("tree",), lambda: _check_tree(entry.tree)),
    ]
    if entry.tag is not None:
        tag = entry.tag
        checks.append((("tag",), lambda: check_tag(tag)))
    if entry.artifact_type is not None:
        artifact_type = entry.artifact_type
        checks.append((("artifactType",), lambda: _check_media_type(artifact_type)))
    if entry.selection is not None:
        checks.append((("selection",), lambda: _check_selection(selection)))
    for number, layer in enumerate(entry.layers):
        checks.append((("layers", number, "mediaType"), partial(_check_media_type, layer.media_type)))
    return checks


def _check_repository(entry: LockedDependency) -> None:
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


def _check_selection(selection: Selection) -> None:
    if selection.platform is not None:
        Platform.parse(selection.platform)
    for text in (*selection.include, *selection.exclude):
        check_pattern(text)
    for text in selection.media_types:
        check_media_type_pattern(text)
    if selection.root is not None:
        _check_clean(selection.root, check_root)


def _check_clean(text: str, check: Callable[[str], str]) -> None:
    if check(text) != text:
        raise InvalidProject(f"not in the form that provender writes: {text[:150]!r}", code="invalid-path")


def _check_media_type(text: str) -> None:
    if not is_valid(text):
        raise InvalidDocument(f"not a media type: {text[:150]!r}", code="invalid-media-type")


def _check_tree(tree: Digest | None) -> None:
    if tree is None:
        raise InvalidProject("the digest of the tree is missing", code="missing-tree")
