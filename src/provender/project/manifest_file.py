"""The shapes of `provender.yaml` version 1 as its author writes them (formats section 1), with what each key means.

Project layer; data alone. `manifest` and `manifest_entry` turn them into `Dependency` values, `schema` into a JSON
Schema. The shapes of dependencies are in `manifest_shapes`, one for each kind of source.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

__all__ = ["MANIFEST_VERSION", "FileShape", "ManifestFile", "Registry"]

MANIFEST_VERSION: Final = 1

# Read by its kind, which its keys tell.
_Entry = Annotated[object, msgspec.Meta(description="A reference with a tag or digest, or the long form.")]


class FileShape(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What all shapes share: exactly these keys."""


class Registry(FileShape, frozen=True, kw_only=True):
    """A logical registry."""

    location: Annotated[
        str | None,
        msgspec.Meta(
            description="Where it is unless configuration says otherwise: host[:port][/prefix] or layout:PATH.",
            examples=["ghcr.io/fluxcd", "layout:./store"],
        ),
    ] = None


class ManifestFile(FileShape, frozen=True, kw_only=True):
    """What a project needs, from where, and where it is laid on disk."""

    version: Annotated[Literal[1], msgspec.Meta(description="The version of this format.")]
    registries: Annotated[
        dict[str, Registry | None] | None,
        msgspec.Meta(
            description="The logical registries that this project uses; {} leaves the location to configuration."
        ),
    ] = None
    dependencies: Annotated[
        dict[str, Annotated[object, msgspec.Meta(description="A reference with a tag or digest, or the long form.")]]
        | None,
        msgspec.Meta(description="What is needed, by name."),
    ] = None
