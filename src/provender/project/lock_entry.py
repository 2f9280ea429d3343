"""Entries of `provender.lock`: the exact content that a dependency stands for, one struct for each kind of source.

Project layer, below `lock`, which reads and writes the file around them; `lock_checks` looks at their values. The order
of the fields is the order of the keys in the file, after `source`, which tells the kind.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Final, Self, TypeVar

import msgspec

from provender.oci import Descriptor, Digest, Reference
from provender.project.dependency import Dependency, Paths
from provender.project.origin import (
    ChartRequested,
    GitRequested,
    ImageOrigin,
    LayerMode,
    OciOrigin,
    ReleaseRequested,
    Requested,
    SourceKind,
)

__all__ = [
    "LockedArtifact",
    "LockedAsset",
    "LockedChart",
    "LockedDependency",
    "LockedDirectory",
    "LockedGit",
    "LockedHttp",
    "LockedImage",
    "LockedInline",
    "LockedLayer",
    "LockedManual",
    "LockedOci",
    "LockedRelease",
    "Selection",
    "locked_as",
    "with_tree",
]

_Size = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_E = TypeVar("_E")


class Selection(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Which part of an artifact is laid on disk, and how: which layers, then which paths."""

    platform: str | None = None
    media_types: tuple[str, ...] = ()
    mode: LayerMode = "auto"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    root: str | None = None

    @classmethod
    def of(cls, dependency: Dependency) -> Selection:
        """What a dependency on an artifact or image selects."""
        origin, paths = dependency.origin, dependency.paths
        chosen = cls(include=paths.include, exclude=paths.exclude, root=paths.root)
        if isinstance(origin, OciOrigin):
            return msgspec.structs.replace(
                chosen, platform=origin.platform, media_types=origin.media_types, mode=origin.mode
            )
        if isinstance(origin, ImageOrigin):
            return msgspec.structs.replace(chosen, platform=origin.platform)
        return chosen


class LockedLayer(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A blob that is laid on disk. `size` in bytes."""

    media_type: str
    digest: Digest
    size: _Size


class LockedAsset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of a release. `size` in bytes, `sha256` in hexadecimal."""

    name: str
    url: str
    sha256: str
    size: _Size


class _Entry(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename="camel",
    omit_defaults=True,
    forbid_unknown_fields=True,
    tag_field="source",
):
    """What all entries have in common, besides `tree` and `to`, which stand last in the file.

    Each kind says two things more: `revision`, what names this content and no other (equal for two entries of one kind
    if they stand for the same), and `identity`, the digest of what decides what lies on disk (equal for entries that
    only name it otherwise).
    """

    @property
    def source(self) -> SourceKind:
        """The kind of source that it came from."""
        kind: SourceKind = self.__struct_config__.tag  # type: ignore[assignment]
        return kind

    @property
    def label(self) -> str | None:
        """What people call this version; None where it has no name."""
        return None

    @property
    def size_bytes(self) -> int | None:
        """How much has to be fetched for it, where the lock tells."""
        return None

    def _identity(self, *pins: object) -> Digest:
        parts = (self.source, *pins)
        return Digest(f"sha256:{hashlib.sha256(msgspec.json.encode(parts, enc_hook=str)).hexdigest()}")


class LockedArtifact(_Entry, frozen=True, kw_only=True):
    """What `oci` and `image` pin alike: a manifest in a repository."""

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
    # msgspec leaves out a plain default when it writes, but never that of a factory.
    verified: None = msgspec.field(default_factory=lambda: None)
    """Who signed it; always None in this version."""
    tree: Digest | None
    """Of the files that were laid down (`artifact.tree`); None until they were, never in a file."""
    to: str

    @classmethod
    def pinned(
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
    ) -> Self:
        """The entry for a dependency that was resolved to these values."""
        origin = dependency.origin
        if not isinstance(origin, OciOrigin | ImageOrigin):
            raise TypeError(f"no artifact: {origin!r}")
        reference, selection = origin.reference, Selection.of(dependency)
        return cls(
            registry=reference.name if reference.kind == "layout" else reference.registry,
            repository=reference.repository,
            requested=origin.requested,
            selection=None if selection == Selection() else selection,
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
    def label(self) -> str | None:
        return self.tag

    @property
    def revision(self) -> str:
        return str(self.digest)

    @property
    def size_bytes(self) -> int | None:
        return sum(layer.size for layer in self.layers)

    @property
    def identity(self) -> Digest:
        return self._identity(self.digest, self.manifest, self.layers, self.selection, self.tree)


class LockedOci(LockedArtifact, frozen=True, kw_only=True, tag="oci"):
    """An artifact."""


class LockedImage(LockedArtifact, frozen=True, kw_only=True, tag="image"):
    """The file system of a container image."""


class LockedGit(_Entry, frozen=True, kw_only=True, tag="git"):
    """A commit."""

    url: str
    requested: GitRequested = GitRequested()
    submodules: bool = False
    lfs: bool = False
    selection: Paths | None = None
    commit: str
    tag: str | None = None
    """The tag that the commit was found under; None if it was found otherwise."""
    tree: Digest | None
    to: str

    @property
    def label(self) -> str | None:
        return self.tag or self.requested.branch or self.requested.ref

    @property
    def revision(self) -> str:
        return self.commit

    @property
    def identity(self) -> Digest:
        return self._identity(self.commit, self.submodules, self.lfs, self.selection, self.tree)


class LockedHttp(_Entry, frozen=True, kw_only=True, tag="http"):
    """A file at a URL. `size` in bytes, `sha256` in hexadecimal."""

    url: str
    mode: LayerMode = "auto"
    selection: Paths | None = None
    sha256: str
    size: _Size
    tree: Digest | None
    to: str

    @property
    def revision(self) -> str:
        return f"sha256:{self.sha256}"

    @property
    def size_bytes(self) -> int | None:
        return self.size

    @property
    def identity(self) -> Digest:
        # A file that is laid as it is has its name from the URL.
        return self._identity(self.url, self.mode, self.sha256, self.selection, self.tree)


class LockedRelease(_Entry, frozen=True, kw_only=True, tag="githubRelease"):
    """Assets of a release."""

    repository: str
    api: str | None = None
    """None for GitHub itself."""
    requested: ReleaseRequested = ReleaseRequested()
    wanted: tuple[str, ...] = ()
    """The patterns that chose the assets."""
    mode: LayerMode = "auto"
    selection: Paths | None = None
    tag: str
    url: str
    """The release in the API: its number stays when the tag is moved."""
    assets: tuple[LockedAsset, ...]
    tree: Digest | None
    to: str

    @property
    def label(self) -> str | None:
        return self.tag

    @property
    def revision(self) -> str:
        return str(self._identity(self.assets))

    @property
    def size_bytes(self) -> int | None:
        return sum(asset.size for asset in self.assets)

    @property
    def identity(self) -> Digest:
        return self._identity(self.assets, self.mode, self.selection, self.tree)


class LockedChart(_Entry, frozen=True, kw_only=True, tag="helmChart"):
    """A version of a Helm chart."""

    chart: str
    repository: str
    requested: ChartRequested = ChartRequested()
    selection: Paths | None = None
    version: str
    url: str | None = None
    """Where the archive is; None in a registry, where the digest names it."""
    digest: Digest
    """Of the archive; in a registry, of the manifest."""
    size: _Size
    """Of the archive."""
    tree: Digest | None
    to: str

    @property
    def label(self) -> str | None:
        return self.version

    @property
    def revision(self) -> str:
        return str(self.digest)

    @property
    def size_bytes(self) -> int | None:
        return self.size

    @property
    def identity(self) -> Digest:
        return self._identity(self.digest, self.selection, self.tree)


class LockedDirectory(_Entry, frozen=True, kw_only=True, tag="directory"):
    """Files of this machine, as they were when it was locked."""

    path: str
    selection: Paths | None = None
    tree: Digest | None
    to: str

    @property
    def revision(self) -> str:
        return str(self.tree)

    @property
    def identity(self) -> Digest:
        return self._identity(self.selection, self.tree)


class LockedInline(_Entry, frozen=True, kw_only=True, tag="inline"):
    """Files that the manifest holds."""

    selection: Paths | None = None
    tree: Digest | None
    to: str

    @property
    def revision(self) -> str:
        return str(self.tree)

    @property
    def identity(self) -> Digest:
        return self._identity(self.selection, self.tree)


class LockedManual(_Entry, frozen=True, kw_only=True, tag="manual"):
    """A directory that is left alone: nothing of it is locked."""

    to: str

    @property
    def tree(self) -> Digest | None:
        return None

    @property
    def revision(self) -> str:
        return ""

    @property
    def identity(self) -> Digest:
        return self._identity()


LockedDependency = (
    LockedOci
    | LockedImage
    | LockedGit
    | LockedHttp
    | LockedRelease
    | LockedChart
    | LockedDirectory
    | LockedInline
    | LockedManual
)

_TREELESS: Final = (LockedManual,)


def with_tree(entry: LockedDependency, tree: Digest | None) -> LockedDependency:
    """The entry with this tree; what has none stays as it is."""
    return entry if isinstance(entry, _TREELESS) else msgspec.structs.replace(entry, tree=tree)


def locked_as(entry: LockedDependency, kind: type[_E]) -> _E:
    """The entry, for whoever handles that kind alone; TypeError if it is another."""
    if not isinstance(entry, kind):
        raise TypeError(f"locked from {entry.source}, not {kind.__name__}")
    return entry
