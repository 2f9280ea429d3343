"""How `tagSelection` and `refSelection` are written; what they select is in `semver`. Pure."""

from __future__ import annotations

import msgspec

__all__ = ["Prereleases", "SemverSelection", "VersionSelection"]


class Prereleases(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which prereleases take part: those with one of these identifiers; all of them without any."""

    identifiers: tuple[str, ...] = ()


class SemverSelection(msgspec.Struct, frozen=True, omit_defaults=True):
    """Select by version; without `prereleases` no prerelease takes part."""

    constraints: str = ""
    prereleases: Prereleases | None = None


class VersionSelection(msgspec.Struct, frozen=True, omit_defaults=True):
    """`tagSelection` and `refSelection`."""

    semver: SemverSelection | None = None
