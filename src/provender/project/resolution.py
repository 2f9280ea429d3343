"""Resolution: an entry of the lock for every dependency, the locked one where it still answers, else a new one.

Project layer, between the sources and `sync`. Whatever is asked of a registry before content is fetched, is asked here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from provender.errors import InvalidProject, ProvenderError
from provender.project.dependency import Dependency
from provender.project.lock import LOCK_NAME, Lock, LockedDependency
from provender.project.lock_entry import with_tree
from provender.project.manifest import Manifest
from provender.project.origin import GitOrigin, ImageOrigin, OciOrigin
from provender.project.sources import Source, source_of
from provender.project.staleness import stale
from provender.project.standing import Ground
from provender.transfer.pool import Cancellation, run_all
from provender.transfer.progress import NO_PROGRESS, Progress

__all__ = ["note_place", "refuse_stale", "resolve"]

_MAX_LISTED: Final = 20


def refuse_stale(manifest: Manifest, lock: Lock, directory: Path) -> None:
    """InvalidProject (code `lock-stale`) unless the lock answers the manifest; every reason is told."""
    names = {each.name for each in manifest.dependencies}
    reasons = {each.name: stale(each, lock.dependencies.get(each.name)) for each in manifest.dependencies}
    lines = [f"{name}: {reason}" for name, reason in reasons.items() if reason is not None]
    lines += [f"{name}: it left the manifest" for name in sorted(lock.dependencies.keys() - names)]
    if not lines:
        return
    more = f"; and {len(lines) - _MAX_LISTED} more" if len(lines) > _MAX_LISTED else ""
    raise InvalidProject(
        f"the lock does not answer the manifest: {'; '.join(lines[:_MAX_LISTED])}{more}",
        code="lock-stale",
        where=str(directory / LOCK_NAME),
        hint="run 'provender lock' and commit the result",
    )


def note_place(error: ProvenderError, manifest: Manifest, name: str) -> None:
    """Add the line of the manifest that asks for what failed: of many dependencies, this one."""
    place = manifest.places.get(name, name)
    is_ours = error.where is None or isinstance(error, InvalidProject)
    error.where = place if is_ours else f"{error.where}, asked for at {place}"


def resolve(
    manifest: Manifest,
    lock: Lock,
    sources: Mapping[str, Source],
    ground: Ground,
    *,
    settled: frozenset[str] = frozenset(),
    jobs: int,
    cancellation: Cancellation,
    is_updating: bool = False,
    progress: Progress = NO_PROGRESS,
) -> tuple[dict[str, LockedDependency], list[str]]:
    """The entries by name, and what is worth a note. Those that are new have no `tree` unless it is known already.

    What the lock answers is not asked for again, but for directories of this machine, which are followed, unless
    their names are `settled`. With `is_updating` all is asked for again, and may move as far as the manifest lets it.
    Raises what sources raise; the first failure ends the others.
    """

    def asking(dependency: Dependency) -> Callable[[], LockedDependency]:
        def ask() -> LockedDependency:
            cancellation.check()
            task = progress.start(f"resolving {dependency.name}", None)
            try:
                found = source_of(sources, dependency).resolve(dependency)
            except ProvenderError as error:
                note_place(error, manifest, dependency.name)
                raise
            progress.done(task)
            return found

        return ask

    wishes = manifest.dependencies
    asked = [each for each in wishes if is_updating or _is_followed(each, settled) or _is_stale(each, lock)]
    found = run_all([asking(each) for each in asked], jobs=jobs, cancellation=cancellation)
    entries = {each.name: lock.dependencies[each.name] for each in wishes if each.name in lock.dependencies}
    for dependency, entry in zip(asked, found, strict=True):
        is_known = entry.tree is not None
        entries[dependency.name] = entry if is_known else with_tree(entry, ground.known_tree(dependency, entry))
    notes = [f"{each.name}: {note}" for each in asked if (note := _note(each)) is not None]
    return {each.name: entries[each.name] for each in wishes}, notes


def _is_stale(dependency: Dependency, lock: Lock) -> bool:
    return stale(dependency, lock.dependencies.get(dependency.name)) is not None


def _is_followed(dependency: Dependency, settled: frozenset[str]) -> bool:
    return dependency.source == "directory" and dependency.name not in settled


def _note(dependency: Dependency) -> str | None:
    """What was assumed, since the manifest does not say."""
    match dependency.origin:
        case OciOrigin(is_tag_implied=True) | ImageOrigin(is_tag_implied=True):
            return "no version is asked for, so the tag latest was taken"
        case GitOrigin(requested=requested) if not str(requested):
            return "no version is asked for, so the newest commit of the default branch was taken"
        case _:
            return None
