"""Which child of an index is meant, and what an image is for. Artifact layer."""

from __future__ import annotations

import sys
from typing import Final

import msgspec

from provender.errors import NotFound
from provender.oci import Descriptor, Document, Index, Platform
from provender.oci.media_types import DOCKER_CONFIG, IMAGE_CONFIG
from provender.storage.abilities import Fetcher
from provender.storage.verify import read_all

__all__ = ["choose_platform", "host_platform", "platform_of"]

_REFERENCE_TYPE: Final = "vnd.docker.reference.type"
_MAX_CONFIG_BYTES: Final = 16 << 20
_ARM: Final = {"armv6l": "v6", "armv7l": "v7", "armv8l": "v7"}
_SYSTEMS: Final = {"win32": "windows", "cygwin": "windows"}


def host_platform() -> Platform:
    """The platform of this machine, in the words of GOOS and GOARCH."""
    import platform

    machine = platform.machine().lower()
    variant = _ARM.get(machine)
    architecture = "arm" if variant else {"i686": "386", "i586": "386", "loongarch64": "loong64"}.get(machine, machine)
    system = _SYSTEMS.get(sys.platform, sys.platform)
    return Platform(os=system, architecture=architecture or "unknown", variant=variant).normalised()


def choose_platform(index: Index, wanted: Platform | None = None, *, here: bool = True) -> Descriptor:
    """The child for `wanted`; without one, the only child there is, else (unless `here` is False) this machine's.

    The first match wins; where none matches, a single child without platform is for everyone. Attestations and
    `unknown/unknown` are no candidates. `here=False` is for what has to be the same on every machine, such as a lock.
    Raises NotFound (code `no-matching-platform`) that lists what there is.
    """
    candidates = [child for child in index.manifests if not _is_attestation(child)]
    if wanted is None and len(candidates) == 1:
        return candidates[0]
    platform = wanted or (host_platform() if here else None)
    for child in candidates:
        if platform is not None and child.platform is not None and child.platform.matches(platform):
            return child
    general = [child for child in candidates if child.platform is None]
    if len(general) == 1:
        return general[0]
    there = ", ".join(_shown(child) for child in candidates[:20]) or "no manifest"
    what = f"nothing for {platform}" if platform else f"{len(candidates)} manifests, and no platform was named"
    raise NotFound(
        f"the index has {what}",
        code="no-matching-platform",
        hint=f"it has {there}; name a platform, or one of them by its digest",
    )


class _Config(msgspec.Struct, frozen=True):
    """What an image's config says of its machine (image-spec config.md)."""

    architecture: str = ""
    os: str = ""
    variant: str | None = None
    os_version: str | None = msgspec.field(default=None, name="os.version")
    os_features: tuple[str, ...] | None = msgspec.field(default=None, name="os.features")


# Made at import: threads that meet a type for the first time at once crash in msgspec.
_CONFIG_DECODER: Final = msgspec.json.Decoder(_Config)


def platform_of(storage: Fetcher, document: Document) -> Platform | None:
    """The platform that an image's config names; None for an index, an artifact, or a config that names none."""
    if document.is_index:
        return None
    config = document.manifest().config
    if config is None or config.media_type not in (IMAGE_CONFIG, DOCKER_CONFIG) or config.size > _MAX_CONFIG_BYTES:
        return None
    with storage.fetch(config) as reader:
        raw = read_all(reader, _MAX_CONFIG_BYTES)
    try:
        found = _CONFIG_DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None  # a config of another kind under an image's type: oras's vectors have one that is not JSON
    if not found.os or not found.architecture:
        return None
    return Platform(
        architecture=found.architecture,
        os=found.os,
        variant=found.variant or None,
        os_version=found.os_version or None,
        os_features=found.os_features or None,
    )


def _is_attestation(child: Descriptor) -> bool:
    return (child.platform is not None and child.platform.is_unknown) or _REFERENCE_TYPE in (child.annotations or {})


def _shown(child: Descriptor) -> str:
    if child.platform is not None:
        return str(child.platform)
    return f"{child.artifact_type or child.media_type} {child.digest}"
