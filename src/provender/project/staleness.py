"""Staleness: whether an entry of the lock still stands for what the manifest asks for. Project layer; pure."""

from __future__ import annotations

import msgspec

from provender.errors import ProvenderError
from provender.project.dependency import Dependency, Paths
from provender.project.inline_tree import inline_tree
from provender.project.lock_entry import (
    LockedArtifact,
    LockedChart,
    LockedDependency,
    LockedDirectory,
    LockedGit,
    LockedHttp,
    LockedInline,
    LockedManual,
    LockedRelease,
    Selection,
)
from provender.project.origin import (
    GITHUB_API,
    DirectoryOrigin,
    GithubOrigin,
    GitOrigin,
    HelmOrigin,
    HttpOrigin,
    ImageOrigin,
    InlineOrigin,
    OciOrigin,
)

__all__ = ["stale"]


def stale(dependency: Dependency, locked: LockedDependency | None) -> str | None:
    """Why the entry no longer stands for the dependency, for people; None if it does."""
    if locked is None:
        return "it is not in the lock"
    if dependency.source != locked.source:
        return f"it comes from {dependency.source}, the lock has {locked.source}"
    reason = _of_kind(dependency, locked)
    if reason is not None:
        return reason
    if dependency.to != locked.to:
        return f"it goes to {dependency.to}, the lock has {locked.to}"
    return _selection(dependency, locked)


def _of_kind(dependency: Dependency, locked: LockedDependency) -> str | None:
    match dependency.origin, locked:
        case (OciOrigin() | ImageOrigin()) as origin, LockedArtifact():
            return _artifact(origin, locked)
        case GitOrigin() as origin, LockedGit():
            if origin.url != locked.url:
                return f"it names {origin.url}, the lock has {locked.url}"
            if origin.requested != locked.requested:
                return _asked(origin.requested, locked.requested)
            return _changed(submodules=(origin.submodules, locked.submodules), lfs=(origin.lfs, locked.lfs))
        case HttpOrigin() as origin, LockedHttp():
            if origin.url != locked.url:
                return f"it names {origin.url}, the lock has {locked.url}"
            if origin.sha256 not in (None, locked.sha256):
                return f"it must have the sha256 {origin.sha256}, the lock has {locked.sha256}"
            return _changed(mode=(origin.mode, locked.mode))
        case GithubOrigin() as origin, LockedRelease():
            return _release(origin, locked)
        case HelmOrigin() as origin, LockedChart():
            if (origin.repository, origin.chart) != (locked.repository, locked.chart):
                mine, theirs = f"{origin.repository}/{origin.chart}", f"{locked.repository}/{locked.chart}"
                return f"it names {mine}, the lock has {theirs}"
            return None if origin.requested == locked.requested else _asked(origin.requested, locked.requested)
        case DirectoryOrigin() as origin, LockedDirectory():
            return None if origin.path == locked.path else f"it names {origin.path}, the lock has {locked.path}"
        case InlineOrigin() as origin, LockedInline():
            return _inline(origin, dependency.paths, locked)
        case _:
            return None


def _artifact(origin: OciOrigin | ImageOrigin, locked: LockedArtifact) -> str | None:
    mine, theirs = origin.reference, locked.repository_reference
    if mine.name != theirs.name:
        return f"it names {mine.name}, the lock has {theirs.name}"
    if origin.requested != locked.requested:
        return _asked(origin.requested, locked.requested)
    if isinstance(origin, OciOrigin) and origin.artifact_type not in (None, locked.artifact_type):
        return f"it must be of type {origin.artifact_type}, the lock has {locked.artifact_type}"
    return None


def _release(origin: GithubOrigin, locked: LockedRelease) -> str | None:
    if origin.repository != locked.repository or origin.api != (locked.api or GITHUB_API):
        return f"it names {origin.repository} at {origin.api}, the lock has {locked.repository}"
    if origin.requested != locked.requested:
        return _asked(origin.requested, locked.requested)
    for asset in locked.assets:
        if origin.checksums.get(asset.name, asset.sha256) != asset.sha256:
            return f"{asset.name} must have the sha256 {origin.checksums[asset.name]}, the lock has {asset.sha256}"
    return _changed(assets=(origin.assets, locked.wanted), mode=(origin.mode, locked.mode))


def _inline(origin: InlineOrigin, paths: Paths, locked: LockedInline) -> str | None:
    try:
        tree = inline_tree(origin, paths)
    except ProvenderError as error:
        return error.message
    return None if tree == locked.tree else "its files changed since it was locked"


def _selection(dependency: Dependency, locked: LockedDependency) -> str | None:
    if isinstance(locked, LockedManual):
        return None
    wanted = Selection.of(dependency) if isinstance(locked, LockedArtifact) else dependency.paths
    selected = locked.selection or type(wanted)()
    if wanted == selected:
        return None
    changed = [
        field.encode_name
        for field in msgspec.structs.fields(wanted)
        if getattr(wanted, field.name) != getattr(selected, field.name)
    ]
    return f"its {', '.join(changed)} changed since it was locked"


def _changed(**values: tuple[object, object]) -> str | None:
    """What differs between manifest and lock, by key."""
    changed = [key for key, (mine, theirs) in values.items() if mine != theirs]
    return f"its {', '.join(changed)} changed since it was locked" if changed else None


def _asked(mine: object, theirs: object) -> str:
    return f"{mine} is requested, the lock answers {theirs}"
