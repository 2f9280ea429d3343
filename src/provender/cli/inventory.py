"""What `list` and `tree` say of a dependency, in words and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provender.cli.console import counted, human_bytes

if TYPE_CHECKING:
    from provender.locations import Locations
    from provender.project.dependency import Dependency
    from provender.project.inventory import Item

__all__ = ["fields", "layers_of", "location_of", "size", "verified_by", "version"]


def fields(item: Item, location: str | None) -> dict[str, object]:
    """The JSON of one dependency."""
    from provender.project.lock_entry import LockedArtifact
    from provender.project.origin_words import place_of, request_of
    from provender.project.report import describe

    dependency, entry = item.dependency, item.entry
    told = None if entry is None else describe("", entry, "unchanged", before=None)
    return {
        "name": dependency.name,
        "source": dependency.source,
        "reference": place_of(dependency.origin),
        "location": location,
        "requested": request_of(dependency.origin),
        "tag": told.tag if told else None,
        "digest": told.digest if told else None,
        "commit": told.commit if told else None,
        "artifactType": entry.artifact_type if isinstance(entry, LockedArtifact) else None,
        "sizeBytes": entry.size_bytes if entry else None,
        "tree": entry.tree if entry else None,
        "files": item.files,
        "laidBytes": item.size_bytes,
        "verified": entry.verified if isinstance(entry, LockedArtifact) else None,
        "to": dependency.to,
        "status": item.status,
        "stale": item.reason,
    }


def version(item: Item) -> str:
    """What is locked: the label and the beginning of what pins it."""
    from provender.project.report import short_pin

    if item.entry is None:
        return "-"
    return f"{item.entry.label or ''} {short_pin(item.entry.revision)}".strip()


def size(item: Item) -> str:
    """How big it is: what lies on disk if that is known, else what has to be fetched."""
    if item.files is not None:
        return f"{counted(item.files, 'file', 'files')}, {human_bytes(item.size_bytes or 0)}"
    to_fetch = None if item.entry is None else item.entry.size_bytes
    return "" if to_fetch is None else f"{human_bytes(to_fetch)} to fetch"


def verified_by(item: Item) -> str:
    """Who vouches for it: what pins its content, and who signed it once that is checked."""
    return "" if item.entry is None or item.entry.source in ("manual", "inline") else "by digest"


def layers_of(item: Item) -> list[dict[str, object]]:
    """The parts that are fetched, as JSON."""
    from provender.project.lock_entry import LockedArtifact, LockedRelease

    match item.entry:
        case LockedArtifact() as entry:
            return [{"mediaType": x.media_type, "digest": x.digest, "sizeBytes": x.size} for x in entry.layers]
        case LockedRelease() as release:
            return [{"name": x.name, "digest": f"sha256:{x.sha256}", "sizeBytes": x.size} for x in release.assets]
        case _:
            return []


def location_of(locations: Locations, dependency: Dependency) -> str | None:
    """Where a logical registry or a rewritten host really is; None for what has no such place, or is bound nowhere."""
    from provender.errors import ProvenderError
    from provender.project.origin import ImageOrigin, OciOrigin

    if not isinstance(dependency.origin, OciOrigin | ImageOrigin):
        return None
    try:
        return str(locations.place(dependency.origin.reference))
    except ProvenderError:
        return None
