"""The shapes of dependencies in `provender.yaml` as their author writes them, one for each kind of source.

Project layer; data alone. The key that names the source is the first of each shape.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from provender.project.manifest_file import FileShape
from provender.project.origin import LayerMode, SourceKind

__all__ = [
    "SHAPES",
    "ChosenShape",
    "DependencyShape",
    "DirectoryDependency",
    "GitDependency",
    "GithubDependency",
    "HelmDependency",
    "HttpDependency",
    "ImageDependency",
    "InlineDependency",
    "Layers",
    "ManualDependency",
    "OciDependency",
]

_PATH_PATTERN: Final = r"^(?!/)(?!.*(^|/)\.\.(/|$))[^\\:]+$"
_PATTERN: Final = {"minLength": 1, "pattern": r"^(?![/!])[^\\]+$"}
_MEDIA_TYPE: Final = r"^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$"
_DIGEST: Final = r"^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$"
_REPOSITORY: Final = {"minLength": 3, "pattern": r"^(layout:[^\s@]+|[^\s@]+/[^\s@:]+)$"}
_URL: Final = {"pattern": r"^https?://[^\s@#\\]+$"}
_SHA256: Final = {"pattern": "^[0-9a-f]{64}$"}

_Pattern = Annotated[str, msgspec.Meta(extra_json_schema=_PATTERN)]
_Range = Annotated[
    str | None, msgspec.Meta(description="A range of SemVer versions over the tags.", examples=[">=1.0, <2", "~1.4"])
]
_Tag = Annotated[
    str | None,
    msgspec.Meta(
        description="A tag; beside a digest it is the label that `outdated` follows.",
        extra_json_schema={"pattern": r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$"},
    ),
]
_Digest = Annotated[
    str | None, msgspec.Meta(description="Exactly this content.", extra_json_schema={"pattern": _DIGEST})
]
_Platform = Annotated[
    str | None,
    msgspec.Meta(
        description="Which child of an index: os/architecture[/variant].",
        examples=["linux/amd64"],
        extra_json_schema={"pattern": r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+){1,2}(:.*)?$"},
    ),
]
_Mode = Annotated[
    LayerMode,
    msgspec.Meta(
        description="extract unpacks an archive (tar, tar.gz, tar.zst, zip), copy never does, auto goes by the content."
    ),
]


class DependencyShape(FileShape, frozen=True, kw_only=True):
    """What all kinds have."""

    to: Annotated[
        str | None,
        msgspec.Meta(
            description="The destination: a directory relative to this file, inside the project. Default: vendor/NAME.",
            extra_json_schema={"minLength": 1, "pattern": _PATH_PATTERN},
        ),
    ] = None


class ChosenShape(DependencyShape, frozen=True, kw_only=True):
    """What all kinds have that lay files."""

    include: Annotated[
        list[_Pattern] | None,
        msgspec.Meta(description="Patterns of the paths to take; all if left out.", extra_json_schema={"minItems": 1}),
    ] = None
    exclude: Annotated[
        list[_Pattern] | None,
        msgspec.Meta(description="Patterns of paths to leave out of what `include` takes."),
    ] = None
    root: Annotated[
        str | None,
        msgspec.Meta(
            description="The directory of the source that becomes the destination's root.",
            extra_json_schema={"minLength": 1, "pattern": _PATH_PATTERN},
        ),
    ] = None
    keep: Annotated[
        list[_Pattern] | None,
        msgspec.Meta(description="Patterns of existing files in the destination that stay."),
    ] = None


class Layers(FileShape, frozen=True, kw_only=True):
    """Which layers are laid on disk, and how."""

    media_types: Annotated[
        list[Annotated[str, msgspec.Meta(extra_json_schema={"pattern": r"^[A-Za-z0-9!#$&^_.+*?/-]{1,255}$"})]] | None,
        msgspec.Meta(
            description="Patterns of media types; all layers if left out. Nothing matched is an error.",
            extra_json_schema={"minItems": 1},
        ),
    ] = None
    mode: Annotated[
        LayerMode, msgspec.Meta(description="extract unpacks archives, copy never does, auto goes by the media type.")
    ] = "auto"


class OciDependency(ChosenShape, frozen=True, kw_only=True):
    """An artifact in a registry. The digest outranks the version range, the range the tag; with neither, `latest`."""

    oci: Annotated[
        str,
        msgspec.Meta(
            description="The repository: alias/repository or host/repository, without tag and digest.",
            examples=["acme/k8s-schemas", "ghcr.io/acme/k8s-schemas"],
            extra_json_schema=_REPOSITORY,
        ),
    ]
    version: _Range = None
    tag: _Tag = None
    digest: _Digest = None
    artifact_type: Annotated[
        str | None,
        msgspec.Meta(
            description="What the artifact's type must be; anything else is an error.",
            extra_json_schema={"pattern": _MEDIA_TYPE},
        ),
    ] = None
    platform: _Platform = None
    layers: Annotated[Layers | None, msgspec.Meta(description="Which layers, and how. Default: all.")] = None


class ImageDependency(ChosenShape, frozen=True, kw_only=True):
    """The file system of a container image: all layers in their order, deletions carried out."""

    image: Annotated[
        str,
        msgspec.Meta(
            description="The repository: alias/repository or host/repository, without tag and digest.",
            examples=["docker.io/library/busybox"],
            extra_json_schema=_REPOSITORY,
        ),
    ]
    version: _Range = None
    tag: _Tag = None
    digest: _Digest = None
    platform: _Platform = None


class GitDependency(ChosenShape, frozen=True, kw_only=True):
    """The tree of a commit. At most one of branch, tag and version; a commit outranks them; else the default branch."""

    git: Annotated[
        str,
        msgspec.Meta(
            description="The URL: https, ssh (also user@host:path), http, git, or file:///PATH. Git has the logins.",
            examples=["https://github.com/acme/rules.git", "git@github.com:acme/rules.git"],
            extra_json_schema={
                "pattern": r"^(?!-)(?!\w+::)((https?|ssh|git|git\+ssh|ssh\+git|file)://|[\w.-]+@?[\w.-]*:)\S+$"
            },
        ),
    ]
    branch: Annotated[str | None, msgspec.Meta(description="A branch.")] = None
    tag: Annotated[str | None, msgspec.Meta(description="A tag.")] = None
    version: _Range = None
    commit: Annotated[
        str | None,
        msgspec.Meta(
            description="Exactly this commit: its whole name.",
            extra_json_schema={"pattern": "^([0-9a-f]{40}|[0-9a-f]{64})$"},
        ),
    ] = None
    submodules: Annotated[bool, msgspec.Meta(description="Lay the trees of submodules as well.")] = False
    lfs: Annotated[bool, msgspec.Meta(description="Fetch the content of Git LFS pointers.")] = False


class HttpDependency(ChosenShape, frozen=True, kw_only=True):
    """A file, or the content of an archive, from a web server."""

    http: Annotated[
        str,
        msgspec.Meta(
            description="The URL, http or https. A login is taken from ~/.netrc.",
            examples=["https://example.com/crds-1.2.tar.gz"],
            extra_json_schema=_URL,
        ),
    ]
    sha256: Annotated[
        str | None,
        msgspec.Meta(
            description="What the content must have; else it is locked as it comes.", extra_json_schema=_SHA256
        ),
    ] = None
    mode: _Mode = "auto"


class GithubDependency(ChosenShape, frozen=True, kw_only=True):
    """Assets of a release on GitHub. With neither tag nor version the latest."""

    github_release: Annotated[
        str,
        msgspec.Meta(
            description="The repository: OWNER/NAME.",
            examples=["helm/helm"],
            extra_json_schema={"pattern": r"^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+$"},
        ),
    ]
    tag: Annotated[str | None, msgspec.Meta(description="The tag of the release.")] = None
    version: _Range = None
    assets: Annotated[
        list[_Pattern] | None,
        msgspec.Meta(description="Patterns of the assets' names; all if left out.", extra_json_schema={"minItems": 1}),
    ] = None
    checksums: Annotated[
        dict[str, Annotated[str, msgspec.Meta(extra_json_schema=_SHA256)]] | None,
        msgspec.Meta(description="The sha256 that assets must have, by name."),
    ] = None
    mode: _Mode = "auto"
    api: Annotated[
        str | None,
        msgspec.Meta(description="Where the API is, for GitHub Enterprise.", extra_json_schema=_URL),
    ] = None


class HelmDependency(ChosenShape, frozen=True, kw_only=True):
    """A Helm chart; its own directory becomes the destination. Without a version: the newest that is no prerelease."""

    helm_chart: Annotated[
        str,
        msgspec.Meta(
            description="The name of the chart.",
            examples=["podinfo"],
            extra_json_schema={"pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$"},
        ),
    ]
    repository: Annotated[
        str,
        msgspec.Meta(
            description="Where it is: the URL of a repository with an index.yaml, oci://HOST/PATH, or ALIAS/PATH.",
            examples=["https://stefanprodan.github.io/podinfo", "oci://ghcr.io/stefanprodan/charts"],
            extra_json_schema={"pattern": r"^((https?|oci)://|[a-z0-9_-]+(?=/|$))[^\s@#:\\]*(:[0-9]+(/[^\s@#\\]*)?)?$"},
        ),
    ]
    version: _Range = None


class DirectoryDependency(ChosenShape, frozen=True, kw_only=True):
    """A directory of this machine, followed as it changes."""

    directory: Annotated[
        str,
        msgspec.Meta(
            description="Its path relative to this file; it may lie outside of the project.",
            examples=["../shared-config"],
            extra_json_schema={"minLength": 1, "pattern": r"^(?!/)[^\\:]+$"},
        ),
    ]


class InlineDependency(ChosenShape, frozen=True, kw_only=True):
    """Files whose content stands here."""

    inline: Annotated[
        dict[str, str],
        msgspec.Meta(
            description="The files: path and content.",
            examples=[{"README.md": "generated\n"}],
            extra_json_schema={"minProperties": 1, "propertyNames": {"pattern": _PATH_PATTERN}},
        ),
    ]


class ManualDependency(DependencyShape, frozen=True, kw_only=True):
    """A directory that you keep yourself: it has to be there, and is left alone."""

    manual: Annotated[
        bool,
        msgspec.Meta(description="Always true.", extra_json_schema={"const": True}),
    ]


SHAPES: Final[dict[SourceKind, type[DependencyShape]]] = {
    "oci": OciDependency,
    "image": ImageDependency,
    "git": GitDependency,
    "http": HttpDependency,
    "githubRelease": GithubDependency,
    "helmChart": HelmDependency,
    "directory": DirectoryDependency,
    "inline": InlineDependency,
    "manual": ManualDependency,
}
