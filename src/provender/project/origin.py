"""Origin: where the files of a dependency come from, one frozen struct for each kind, with what is asked of it.

Project layer; pure values. Closed: whoever adds a kind adds its shape (`manifest_shapes`), its reading
(`manifest_origin`), its entry (`lock_entry`) and its source (`sources`).
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from provender.oci import Digest, Reference

__all__ = [
    "GITHUB_API",
    "ChartRequested",
    "DirectoryOrigin",
    "GitOrigin",
    "GitRequested",
    "GithubOrigin",
    "HelmOrigin",
    "HttpOrigin",
    "ImageOrigin",
    "InlineOrigin",
    "LayerMode",
    "ManualOrigin",
    "OciOrigin",
    "Origin",
    "ReleaseRequested",
    "Requested",
    "SourceKind",
]

LayerMode = Literal["auto", "extract", "copy"]
SourceKind = Literal["oci", "image", "git", "http", "githubRelease", "helmChart", "directory", "inline", "manual"]

GITHUB_API: Final = "https://api.github.com"


class Requested(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which version of an artifact is wanted. The digest outranks the range, the range the tag; beside a digest they
    are labels.
    """

    version: str | None = None
    tag: str | None = None
    digest: Digest | None = None

    def __str__(self) -> str:
        return " ".join(text for text in (self.version, self.tag, self.digest) if text)


class GitRequested(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Which commit of a repository is wanted: at most one of these; none is the default branch.

    A branch or tag beside a commit is a label that `outdated` follows.
    """

    branch: str | None = None
    tag: str | None = None
    version: str | None = None
    """A range over the tags."""
    commit: str | None = None
    """The whole name: 40 or 64 hexadecimal digits."""
    ref: str | None = None
    """A tag or, if there is none of that name, a branch: for dialects that do not tell them apart."""

    def __str__(self) -> str:
        return " ".join(text for text in (self.version, self.tag, self.branch, self.ref, self.commit) if text)


class ReleaseRequested(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Which release is wanted; the latest if neither is given."""

    version: str | None = None
    tag: str | None = None

    def __str__(self) -> str:
        return self.version or self.tag or "latest"


class ChartRequested(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Which version of a chart is wanted; the newest that is no prerelease if none is given."""

    version: str | None = None

    def __str__(self) -> str:
        return self.version or "newest"


class _Origin(msgspec.Struct, frozen=True, kw_only=True):
    """What all origins are: values."""


class OciOrigin(_Origin, frozen=True, kw_only=True, tag="oci", tag_field="source"):
    """An artifact of a registry, a logical registry or a layout."""

    reference: Reference
    """The repository, without tag and digest."""
    requested: Requested
    artifact_type: str | None = None
    """What the artifact's effective type must be; None takes any."""
    platform: str | None = None
    """The child of an index, in canonical words (`str(Platform)`)."""
    media_types: tuple[str, ...] = ()
    """Patterns of layers' media types; none means every layer."""
    mode: LayerMode = "auto"
    is_tag_implied: bool = False
    """True if nothing was requested, so that `latest` was assumed: worth a note."""


class ImageOrigin(_Origin, frozen=True, kw_only=True, tag="image", tag_field="source"):
    """The file system of a container image."""

    reference: Reference
    requested: Requested
    platform: str | None = None
    is_tag_implied: bool = False


class GitOrigin(_Origin, frozen=True, kw_only=True, tag="git", tag_field="source"):
    """The tree of a commit."""

    url: str
    requested: GitRequested = GitRequested()
    submodules: bool = False
    lfs: bool = False


class HttpOrigin(_Origin, frozen=True, kw_only=True, tag="http", tag_field="source"):
    """A file, or the content of an archive, at a URL."""

    url: str
    sha256: str | None = None
    """64 hexadecimal digits that the content must have; None takes what comes when it is locked."""
    mode: LayerMode = "auto"
    """`extract`: it has to be an archive; `copy`: it is laid as it is; `auto` goes by the content."""


class GithubOrigin(_Origin, frozen=True, kw_only=True, tag="githubRelease", tag_field="source"):
    """Assets of a release on GitHub, or what speaks its API."""

    repository: str
    """`owner/name`."""
    requested: ReleaseRequested = ReleaseRequested()
    assets: tuple[str, ...] = ()
    """Patterns of the assets' names; none means every asset."""
    checksums: dict[str, str] = {}
    """The sha256 that assets must have, by name."""
    mode: LayerMode = "auto"
    api: str = GITHUB_API


class HelmOrigin(_Origin, frozen=True, kw_only=True, tag="helmChart", tag_field="source"):
    """A Helm chart; its own top directory becomes the destination's root."""

    chart: str
    repository: str
    """The URL of a classic repository; `oci://HOST/PATH` or `ALIAS/PATH`, below which the chart's repository is."""
    requested: ChartRequested = ChartRequested()


class DirectoryOrigin(_Origin, frozen=True, kw_only=True, tag="directory", tag_field="source"):
    """A directory of this machine, followed as it changes."""

    path: str
    """Relative to the manifest, with `/`; may lead out of the project."""


class InlineOrigin(_Origin, frozen=True, kw_only=True, tag="inline", tag_field="source"):
    """Files that the manifest holds."""

    files: dict[str, bytes]
    """Their content by clean relative path."""


class ManualOrigin(_Origin, frozen=True, kw_only=True, tag="manual", tag_field="source"):
    """A directory that somebody else keeps: it has to be there, and is left alone."""


Origin = (
    OciOrigin
    | ImageOrigin
    | GitOrigin
    | HttpOrigin
    | GithubOrigin
    | HelmOrigin
    | DirectoryOrigin
    | InlineOrigin
    | ManualOrigin
)
