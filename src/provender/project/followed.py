"""Followed places: directories that are not laid, but decide what a run does: those that are copied, or kept by hand.

Project layer, over the state. As long as they look as they did, they need no reading; the state of the last run tells.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from typing import Final

from provender.oci import Digest
from provender.project.dependency import Dependency
from provender.project.origin import DirectoryOrigin, ManualOrigin
from provender.project.state import DestinationState, StatEntry

__all__ = ["are_unchanged", "look_at_followed", "settled"]

# What a followed place has is of no matter here, only whether it is still the same.
_NOTHING: Final = Digest.of(b"")


def look_at_followed(root: str, wishes: Iterable[Dependency]) -> dict[str, DestinationState] | None:
    """How the followed places of the `wishes` look, by their path from `root`; to be taken before they are read.

    None if one of them is not there, or is a link: then nothing is known of it without reading.
    """
    found: dict[str, DestinationState] = {}
    directories: list[str] = []
    for each in wishes:
        if isinstance(each.origin, DirectoryOrigin):
            directories.append(each.origin.path)
        elif isinstance(each.origin, ManualOrigin) and (top := _top(_path(root, each.to))) is not None:
            found[each.to] = top
        elif isinstance(each.origin, ManualOrigin):
            return None
    for path in directories:
        try:
            found[path] = DestinationState.record(_path(root, path), tree=_NOTHING, identity=_NOTHING)
        except OSError:
            return None
    return found


def are_unchanged(root: str, followed: Mapping[str, DestinationState]) -> bool:
    """True if every place certainly is as it was."""
    return all(_is_unchanged(root, path, state) for path, state in followed.items())


def settled(root: str, wishes: Iterable[Dependency], followed: Mapping[str, DestinationState]) -> frozenset[str]:
    """The names of dependencies on directories that certainly are as they were when they were read."""
    return frozenset(
        each.name
        for each in wishes
        if isinstance(each.origin, DirectoryOrigin)
        and (state := followed.get(each.origin.path)) is not None
        and _is_unchanged(root, each.origin.path, state)
    )


def _is_unchanged(root: str, path: str, state: DestinationState) -> bool:
    place = _path(root, path)
    return os.path.isdir(place) and not os.path.islink(place) and state.compare(place).is_unchanged


def _top(path: str) -> DestinationState | None:
    """A directory alone, without what is in it; None if it is none."""
    now = time.time_ns()
    if not os.path.isdir(path) or os.path.islink(path):
        return None
    seen = os.lstat(path)
    top = StatEntry("", seen.st_size, seen.st_mtime_ns, seen.st_ino, seen.st_mode)
    return DestinationState(tree=str(_NOTHING), identity=str(_NOTHING), scanned_ns=now, files=[], directories=[top])


def _path(root: str, relative: str) -> str:
    return os.path.join(root, *relative.split("/"))
