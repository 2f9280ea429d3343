"""The shapes of `provender.yaml` version 1 as its author writes them (formats section 1), with what each key means.

Project layer; data alone. `manifest` turns them into `Dependency` values, `schema` into a JSON Schema.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from provender.project.dependency import LayerMode

__all__ = ["MANIFEST_VERSION", "SOURCES", "Layers", "ManifestFile", "OciDependency", "Registry"]

MANIFEST_VERSION: Final = 1
# The key that tells a dependency's source: whether this version can read it.
SOURCES: Final = {"oci": True, "git": False, "http": False, "directory": False, "inline": False}

_PATH_PATTERN: Final = r"^(?!/)(?!.*(^|/)\.\.(/|$))[^\\:]+$"
_PATTERN: Final = {"minLength": 1, "pattern": r"^(?![/!])[^\\]+$"}
_MEDIA_TYPE: Final = r"^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$"
_DIGEST: Final = r"^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$"


class _File(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What all shapes share: exactly these keys."""


class Registry(_File, frozen=True, kw_only=True):
    """A logical registry."""

    location: Annotated[
        str | None,
        msgspec.Meta(
            description="Where it is unless configuration says otherwise: host[:port][/prefix] or layout:PATH.",
            examples=["ghcr.io/fluxcd", "layout:./store"],
        ),
    ] = None


class Layers(_File, frozen=True, kw_only=True):
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


class OciDependency(_File, frozen=True, kw_only=True):
    """An artifact in a registry. The digest outranks the version range, the range the tag; with neither, `latest`."""

    oci: Annotated[
        str,
        msgspec.Meta(
            description="The repository: alias/repository or host/repository, without tag and digest.",
            examples=["acme/k8s-schemas", "ghcr.io/acme/k8s-schemas"],
            extra_json_schema={"minLength": 3, "pattern": r"^(layout:[^\s@]+|[^\s@]+/[^\s@:]+)$"},
        ),
    ]
    version: Annotated[
        str | None,
        msgspec.Meta(description="A range of SemVer versions over the tags.", examples=[">=1.0, <2", "~1.4"]),
    ] = None
    tag: Annotated[
        str | None,
        msgspec.Meta(
            description="A tag; beside a digest it is the label that `outdated` follows.",
            extra_json_schema={"pattern": r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$"},
        ),
    ] = None
    digest: Annotated[
        str | None, msgspec.Meta(description="Exactly this content.", extra_json_schema={"pattern": _DIGEST})
    ] = None
    to: Annotated[
        str | None,
        msgspec.Meta(
            description="The destination: a directory relative to this file, inside the project. Default: vendor/NAME.",
            extra_json_schema={"minLength": 1, "pattern": _PATH_PATTERN},
        ),
    ] = None
    artifact_type: Annotated[
        str | None,
        msgspec.Meta(
            description="What the artifact's type must be; anything else is an error.",
            extra_json_schema={"pattern": _MEDIA_TYPE},
        ),
    ] = None
    platform: Annotated[
        str | None,
        msgspec.Meta(
            description="Which child of an index: os/architecture[/variant].",
            examples=["linux/amd64"],
            extra_json_schema={"pattern": r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+){1,2}(:.*)?$"},
        ),
    ] = None
    layers: Annotated[Layers | None, msgspec.Meta(description="Which layers, and how. Default: all.")] = None
    include: Annotated[
        list[Annotated[str, msgspec.Meta(extra_json_schema=_PATTERN)]] | None,
        msgspec.Meta(description="Patterns of the paths to take; all if left out.", extra_json_schema={"minItems": 1}),
    ] = None
    exclude: Annotated[
        list[Annotated[str, msgspec.Meta(extra_json_schema=_PATTERN)]] | None,
        msgspec.Meta(description="Patterns of paths to leave out of what `include` takes."),
    ] = None
    root: Annotated[
        str | None,
        msgspec.Meta(
            description="The directory of the artifact that becomes the destination's root.",
            extra_json_schema={"minLength": 1, "pattern": _PATH_PATTERN},
        ),
    ] = None
    keep: Annotated[
        list[Annotated[str, msgspec.Meta(extra_json_schema=_PATTERN)]] | None,
        msgspec.Meta(description="Patterns of existing files in the destination that stay."),
    ] = None


class ManifestFile(_File, frozen=True, kw_only=True):
    """What a project needs from OCI registries, and where it is laid on disk."""

    version: Annotated[Literal[1], msgspec.Meta(description="The version of this format.")]
    registries: Annotated[
        dict[str, Registry | None] | None,
        msgspec.Meta(
            description="The logical registries that this project uses; {} leaves the location to configuration."
        ),
    ] = None
    dependencies: Annotated[
        dict[
            str,
            Annotated[
                str | OciDependency,
                msgspec.Meta(description="A reference with a tag or digest, or the long form."),
            ],
        ]
        | None,
        msgspec.Meta(description="What is needed, by name."),
    ] = None
