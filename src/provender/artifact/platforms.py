"""Which child of an index is meant. Artifact layer; pure but for `host_platform`."""

from __future__ import annotations

import sys
from typing import Final

from provender.errors import NotFound
from provender.oci import Descriptor, Index, Platform

__all__ = ["choose_platform", "host_platform"]

_REFERENCE_TYPE: Final = "vnd.docker.reference.type"
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


def _is_attestation(child: Descriptor) -> bool:
    return (child.platform is not None and child.platform.is_unknown) or _REFERENCE_TYPE in (child.annotations or {})


def _shown(child: Descriptor) -> str:
    if child.platform is not None:
        return str(child.platform)
    return f"{child.artifact_type or child.media_type} {child.digest}"
