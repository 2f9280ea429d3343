"""Check: how a project's destinations differ from its lock, file by file. Reads, never writes; asks the network only
for the names of changed files where this machine has no state. Project layer.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from provender.artifact.tree import Entry, tree_digest
from provender.errors import InvalidProject, ProvenderError
from provender.project.dependency import Dependency
from provender.project.drift import compare_with_entries, compare_with_state, is_foreign, kept_by, read_entries
from provender.project.links import link_above
from provender.project.lock import LOCK_NAME, Lock, LockedDependency
from provender.project.manifest import MANIFEST_NAME, Manifest
from provender.project.report import CheckReport, Finding
from provender.project.sampling import laid_aside
from provender.project.sources import Source, source_of
from provender.project.staleness import stale
from provender.project.standing import surviving_destinations
from provender.project.state import DestinationState
from provender.transfer.progress import NO_PROGRESS, Progress

__all__ = ["check"]


def check(
    directory: Path,
    sources: Mapping[str, Source],
    *,
    is_deep: bool = False,
    progress: Progress = NO_PROGRESS,
) -> CheckReport:
    """What differs from the lock, per dependency; with `is_deep` every file is hashed, not only what looks different.

    Raises InvalidProject if there is no lock.
    """
    manifest = Manifest.load(directory / MANIFEST_NAME)
    lock = Lock.load(directory / LOCK_NAME)
    if lock is None and not manifest.dependencies:
        lock = Lock()
    if lock is None:
        raise InvalidProject(
            "there is no lock to check against",
            code="no-lock",
            where=str(directory / LOCK_NAME),
            hint="run 'provender sync' or 'provender lock'",
        )
    known = surviving_destinations(directory)
    examiner = _Examiner(os.path.abspath(directory), sources, known, is_deep=is_deep, progress=progress)
    findings = [examiner.examine(each, lock.dependencies.get(each.name)) for each in manifest.dependencies]
    names = {each.name for each in manifest.dependencies}
    findings += [
        Finding(name=name, to=entry.to, problem="it left the manifest, but not the lock")
        for name, entry in lock.dependencies.items()
        if name not in names
    ]
    return CheckReport(findings=tuple(sorted(findings, key=lambda finding: finding.name)))


class _Examiner:
    """Looks at one destination after the other."""

    def __init__(
        self,
        root: str,
        sources: Mapping[str, Source],
        destinations: Mapping[str, DestinationState],
        *,
        is_deep: bool,
        progress: Progress,
    ) -> None:
        self._root = root
        self._sources = sources
        self._destinations = destinations
        self._is_deep = is_deep
        self._progress = progress

    def examine(self, dependency: Dependency, entry: LockedDependency | None) -> Finding:
        """What differs at the destination of `dependency`."""
        name, to = dependency.name, dependency.to
        reason = stale(dependency, entry)
        if entry is None or reason is not None:
            return Finding(name=name, to=to, problem=f"the lock does not answer the manifest: {reason}")
        path = os.path.join(self._root, *to.split("/"))
        if (link := link_above(self._root, to)) is not None:
            return Finding(name=name, to=to, problem=f"it lies behind the symbolic link {link}")
        if not os.path.isdir(path) or os.path.islink(path):
            return Finding(name=name, to=to, problem="it is not there")
        if entry.source == "manual":
            return Finding(name=name, to=to)
        kept = kept_by(dependency.keep)
        laid = self._destinations.get(to)
        if laid is not None and (laid.identity, laid.keep) == (entry.identity, dependency.keep):
            comparison = laid.compare(path, kept=kept)
            if not is_foreign(laid, comparison, kept=kept):
                drift = compare_with_state(path, laid, kept=kept, deep=self._is_deep, comparison=comparison)
                return Finding(name=name, to=to, drift=drift)
        found = tuple(read_entries(path, kept=kept).values())
        whole = tuple(each for each in found if each is not None)
        if len(whole) == len(found) and tree_digest(whole) == entry.tree:
            return Finding(name=name, to=to)
        try:
            expected = self._expected(dependency, entry)
        except (ProvenderError, OSError) as error:
            return Finding(name=name, to=to, problem=f"its files differ; which ones cannot be told here ({error})")
        if tree_digest(expected) != entry.tree:
            return Finding(name=name, to=to, problem="the lock has another tree for it than its content makes")
        return Finding(name=name, to=to, drift=compare_with_entries(path, expected, kept=kept))

    def _expected(self, dependency: Dependency, entry: LockedDependency) -> tuple[Entry, ...]:
        """The entries that the lock stands for, from the cache or its storage."""
        source = source_of(self._sources, dependency)
        with laid_aside(source, dependency, entry, progress=self._progress) as (_, entries):
            return entries
