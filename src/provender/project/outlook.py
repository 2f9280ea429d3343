"""Outlook: what of a project's lock could move, and which tags were moved under it. Asks the origins; writes nothing.

Project layer, over the sources, beside `sync`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from provender.errors import NotFound, ProvenderError
from provender.project.comparison import at_version
from provender.project.dependency import Dependency
from provender.project.lock import Lock
from provender.project.lock_entry import LockedDependency, LockedGit
from provender.project.manifest import Manifest
from provender.project.origin import (
    GitOrigin,
    ImageOrigin,
    OciOrigin,
    SourceKind,
)
from provender.project.origin_words import place_of, request_of
from provender.project.resolution import note_place
from provender.project.sources import Source, Versioned, source_of
from provender.project.staleness import stale
from provender.transfer.pool import Cancellation, run_all
from provender.transfer.progress import NO_PROGRESS, Progress
from provender.versions import Range, Version, select

__all__ = ["Outlook", "look_out"]

# The place that would have the answer is not there.
_NOBODY_ASKED: Final = frozenset({"layout-not-found", "no-directory"})
_ANY: Final = Range.parse("*")


class Outlook(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One dependency: what is locked, what an update would take, and what else there is."""

    name: str
    source: SourceKind
    origin: str
    requested: str
    locked: str | None = None
    """What people call the locked version; None if it has no name, or nothing is locked."""
    locked_revision: str | None = None
    wanted: str | None = None
    """What an update would take."""
    wanted_revision: str | None = None
    latest: str | None = None
    """The newest version of all, if it is newer than what the manifest allows."""
    moved_to: str | None = None
    """What the locked tag names now, if that is no more what was locked."""
    gone: str | None = None
    """What is there no more, if the origin says that of the locked tag or of all that is asked for."""
    stale: str | None = None
    """Why the lock has no answer to what is asked for; then a `sync` asks anew."""

    @property
    def is_update(self) -> bool:
        """True if an update would change what is locked."""
        return self.wanted_revision is not None and self.wanted_revision != self.locked_revision

    @property
    def is_current(self) -> bool:
        """True if there is nothing to say but perhaps that a newer version lies out of range."""
        return not (self.is_update or self.gone or self.stale or self.moved_to)


def look_out(
    manifest: Manifest,
    lock: Lock,
    sources: Mapping[str, Source],
    *,
    names: Sequence[str] = (),
    jobs: int = 8,
    progress: Progress = NO_PROGRESS,
) -> tuple[Outlook, ...]:
    """The outlook of every dependency, or of those that `names` lists, by name.

    Raises NotFound for a name that the manifest lacks, and what sources raise; what could not be asked is an error.
    """
    wishes = [manifest.require(name) for name in dict.fromkeys(names)] if names else list(manifest.dependencies)
    cancellation = Cancellation()

    def looking(dependency: Dependency) -> Callable[[], Outlook]:
        def look() -> Outlook:
            cancellation.check()
            task = progress.start(f"asking for {dependency.name}", None)
            try:
                found = _look(dependency, lock.dependencies.get(dependency.name), source_of(sources, dependency))
            except ProvenderError as error:
                note_place(error, manifest, dependency.name)
                raise
            progress.done(task)
            return found

        return look

    found = run_all([looking(each) for each in wishes], jobs=jobs, cancellation=cancellation)
    return tuple(sorted(found, key=lambda each: each.name))


def _look(dependency: Dependency, entry: LockedDependency | None, source: Source) -> Outlook:
    told = Outlook(
        name=dependency.name,
        source=dependency.source,
        origin=place_of(dependency.origin),
        requested=request_of(dependency.origin),
        locked=None if entry is None else entry.label,
        locked_revision=None if entry is None else entry.revision,
        stale=stale(dependency, entry),
    )
    if entry is None or told.stale is not None:
        return told
    now, gone = _resolved(source, dependency)
    there = now
    if now is not None and _is_tag(entry) and (now.label != entry.label or _is_pinned(dependency)):
        there, gone = _resolved(source, at_version(dependency, entry.label or ""))
    is_moved = _is_tag(entry) and there is not None and there.revision != entry.revision
    return msgspec.structs.replace(
        told,
        wanted=None if now is None else now.label,
        wanted_revision=None if now is None else now.revision,
        latest=_latest(dependency, (now or entry).label, source),
        moved_to=there.revision if there is not None and is_moved else None,
        gone=gone,
    )


def _resolved(source: Source, dependency: Dependency) -> tuple[LockedDependency | None, str | None]:
    """What `dependency` means now; or None, and what is not there, which was asked and answered."""
    try:
        return source.resolve(dependency), None
    except NotFound as error:
        if error.code in _NOBODY_ASKED:
            raise
        return None, error.message


def _is_tag(entry: LockedDependency) -> bool:
    """True if what the entry is called should go on naming the same content. A branch is made to move."""
    return entry.tag is not None if isinstance(entry, LockedGit) else entry.label is not None


def _is_pinned(dependency: Dependency) -> bool:
    """True if what is asked for cannot move; its tag is a label beside it."""
    match dependency.origin:
        case OciOrigin() | ImageOrigin() as origin:
            return origin.requested.digest is not None
        case GitOrigin() as origin:
            return origin.requested.commit is not None
        case _:
            return False


def _latest(dependency: Dependency, than: str | None, source: Source) -> str | None:
    """The newest version that there is, if it is newer than `than`; None where versions cannot be compared."""
    if than is None or not isinstance(source, Versioned) or (current := Version.from_tag(than)) is None:
        return None
    newest = select(source.versions(dependency), _ANY)
    found = None if newest is None else Version.from_tag(newest)
    return newest if found is not None and found > current else None
