"""Sync: makes a project's destinations equal to its lock, and the lock equal to its manifest. All or nothing.

Project layer. In order: resolve what is not locked (`resolution`); look what is there (`standing`); lay the rest into
directories beside the destinations (`staging`); compare once more; put in place, the lock last (`changeover`). A
failure at any point before the end takes everything back.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from provender.artifact.tree import Entry, tree_digest
from provender.errors import Conflict, IntegrityError, ProvenderError
from provender.project.changeover import (
    INPUTS,
    Changeover,
    Piece,
    clean_up_after_kill,
    look_at_inputs,
    refuse_other_lock,
)
from provender.project.dependency import Dependency
from provender.project.drift import kept_by, recorded_entries
from provender.project.followed import are_unchanged, look_at_followed, settled
from provender.project.lock import LOCK_NAME, Lock, LockedDependency
from provender.project.lock_entry import with_tree
from provender.project.manifest import MANIFEST_NAME, Manifest
from provender.project.report import Action, Change, Difference, SyncReport, describe
from provender.project.resolution import note_place, refuse_stale, resolve
from provender.project.scope import Scope
from provender.project.sources import Source, source_of
from provender.project.staging import Staged, Staging
from provender.project.standing import Ground, Left, Standing, surviving_destinations
from provender.project.state import STATE_DIRECTORY, DestinationState, State
from provender.storage.files import FileLock
from provender.transfer.pool import Cancellation, run_all
from provender.transfer.progress import NO_PROGRESS, JoinedProgress, Progress

__all__ = ["SyncOptions", "Synchroniser"]

_LOCKING: Final = f"{STATE_DIRECTORY}/locking"
_MAX_LISTED: Final = 100


class SyncOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a run goes about it."""

    is_locked: bool = False
    """The lock has to answer the manifest; nothing is resolved."""
    is_dry_run: bool = False
    is_forced: bool = False
    """Local changes in destinations may be lost."""
    is_lock_only: bool = False
    """Write the lock, leave the destinations alone."""
    is_updating: bool = False
    """What is locked may move as far as the manifest lets it."""
    names: tuple[str, ...] = ()
    """Only these dependencies; the entries and destinations of the others stay. None means all."""
    jobs: int = 8
    wait_s: float = 600.0
    """How long to wait for another run in the same project."""


class Synchroniser:
    """Carries out `sync` and `lock` for the project in `directory`.

    `sources` by kind; `on_wait` is called once when another run has to be waited for.
    """

    def __init__(
        self,
        directory: Path,
        sources: Mapping[str, Source],
        *,
        progress: Progress = NO_PROGRESS,
        on_wait: Callable[[], None] | None = None,
    ) -> None:
        self._directory = directory
        self._sources = sources
        self._progress = progress
        self._on_wait = on_wait

    def is_up_to_date(self) -> bool:
        """True if nothing changed since the last sync: two files and the stat index are looked at, nothing is read."""
        state = State.load(self._directory)
        if state.inputs is None or not state.inputs.are_unchanged(self._directory, INPUTS):
            return False
        if State.load_next(self._directory).destinations:
            return False  # a run was killed, and left something to put right
        root = str(self._directory)
        if not are_unchanged(root, state.followed):
            return False
        places = {os.path.join(root, *to.split("/")): laid for to, laid in state.destinations.items()}
        return all(
            os.path.isdir(path) and laid.compare(path, kept=kept_by(laid.keep)).is_unchanged
            for path, laid in places.items()
        )

    def unchanged(self) -> SyncReport:
        """The report of a project that is up to date."""
        lock = Lock.load(self._directory / LOCK_NAME) or Lock()
        states = State.load(self._directory).destinations
        changes = []
        for name, entry in lock.dependencies.items():
            state = states.get(entry.to)
            change = describe(name, entry, "unchanged", before=entry)
            changes.append(change if state is None else _counted(change, recorded_entries(state)))
        return SyncReport(changes=tuple(changes))

    def run(self, options: SyncOptions) -> SyncReport:
        """What was done.

        Raises InvalidProject (manifest, stale lock), Conflict (local changes, all of them listed), IntegrityError
        (content is not what the lock says), Unavailable (code `locked`), and what sources raise. After any error
        destinations and lock are as they were.
        """
        if options.is_dry_run:
            # Without the project's lock, which is a file: a dry run writes nothing at all.
            return _Run(self._directory, self._sources, self._progress, options).preview()
        lock_path = State.prepare(self._directory) / "lock"
        with FileLock(lock_path, timeout_s=options.wait_s, what="this project", on_wait=self._on_wait):
            run = _Run(self._directory, self._sources, self._progress, options)
            run.clean_up()
            return run.lock() if options.is_lock_only else run.sync()


class _Run:
    """One run, under the project's lock."""

    def __init__(
        self, directory: Path, sources: Mapping[str, Source], progress: Progress, options: SyncOptions
    ) -> None:
        self._root = os.path.abspath(directory)
        self._directory = directory
        self._sources = sources
        self._progress = progress
        self._options = options
        self._inputs = look_at_inputs(directory)
        self._project = Manifest.load(directory / MANIFEST_NAME)
        self._before = Lock.load(directory / LOCK_NAME)
        self._scope = Scope.of(self._project, self._before or Lock(), options.names)
        self._manifest = self._scope.manifest
        self._old = self._scope.lock
        self._cancellation = Cancellation()
        self._notes: list[str] = []
        self._states: dict[str, DestinationState] = {}
        self._known_followed = State.load(directory).followed
        self._settled = settled(self._root, self._manifest.dependencies, self._known_followed)
        self._followed = look_at_followed(self._root, self._project.dependencies)

    def clean_up(self) -> None:
        """Put right what a killed run left, and remember what it had put in place."""
        known = surviving_destinations(self._directory)
        wishes, locked = self._project.dependencies, (self._before or Lock()).dependencies.values()
        clean_up_after_kill(
            self._directory, {*known, _LOCKING, *(each.to for each in wishes), *(each.to for each in locked)}
        )
        if State.load_next(self._directory).destinations:
            State(destinations=known).write(self._directory)

    def preview(self) -> SyncReport:
        """What a run would do, as far as that can be told without fetching content."""
        ground, _ = self._ground()
        entries = self._resolve(ground)
        if self._options.is_lock_only:
            changes = [self._locked(each, entries[each.name], None) for each in self._manifest.dependencies]
        else:
            changes = []
            for each in self._manifest.dependencies:
                standing = ground.standing(each, entries[each.name])
                changes.append(self._change(each, entries[each.name], standing, None))
                made = ground.changed_files(each) if standing.kind == "unknown" and not self._options.is_forced else []
                if made:
                    self._notes.append(f"a sync may refuse, for these are not as they were laid: {_listed(made)}")
            changes += [_gone(left, "removed") for left in ground.left]
        lock = self._scope.complete(entries)
        return self._report(changes, is_lock_changed=self._before is None or lock.dump() != self._before.dump())

    def lock(self) -> SyncReport:
        """Write the lock and leave the destinations alone; what has no tree yet is unpacked in `.provender`."""
        ground, _ = self._ground()
        entries = self._resolve(ground)
        wishes = self._manifest.dependencies
        needed = [each for each in wishes if _is_laid(each) and entries[each.name].tree is None]
        with Staging(self._root) as staging:
            staged = self._stage(needed, entries, staging, lambda _: _LOCKING)
            self._complete(entries, needed, staged)
            staging.close()  # the lock is what comes last
            lock = self._scope.complete(entries)
            is_changed = self._before is None or lock.dump() != self._before.dump()
            if is_changed:
                refuse_other_lock(self._directory, self._inputs)
                lock.write(self._directory / LOCK_NAME)
        changes = [self._locked(each, entries[each.name], staged.get(each.name)) for each in wishes]
        return self._report(changes, is_lock_changed=is_changed)

    def sync(self) -> SyncReport:
        """Write the lock and make the destinations equal to it."""
        ground, others = self._ground()
        entries = self._resolve(ground)
        wishes = self._manifest.dependencies
        standings = {each.name: ground.standing(each, entries[each.name]) for each in wishes}
        states = {**others, **{each.to: state for each in wishes if (state := standings[each.name].state) is not None}}
        needed = [each for each in wishes if _is_laid(each) and standings[each.name].state is None]
        with Staging(self._root) as staging:
            staged = self._stage(needed, entries, staging, lambda each: ground.base(each.to))
            self._complete(entries, needed, staged)
            pieces = _pieces(needed, staged)
            if not self._options.is_forced:
                _refuse_losses(ground, pieces, self._directory)
            change = Changeover(
                self._directory,
                ground,
                staging,
                before=self._before,
                inputs=self._inputs,
                followed=self._seen_followed(),
            )
            change.carry_out(self._scope.complete(entries), pieces, states, wishes, is_whole=self._scope.is_whole)
        changes = [
            self._change(each, entries[each.name], standings[each.name], staged.get(each.name)) for each in wishes
        ]
        changes += [_gone(left, "released" if left.to in change.released else "removed") for left in ground.left]
        self._notes += [f"{to} was left as it is and is yours now: {why}" for to, why in change.released.items()]
        self._notes += change.notes
        return self._report(changes, is_lock_changed=change.is_lock_changed)

    # --- steps

    def _seen_followed(self) -> dict[str, DestinationState] | None:
        """How followed places looked before they were read; what was not read, as it looked when it was."""
        if not self._options.is_locked or not self._followed:
            return self._followed
        is_known = self._known_followed.keys() == self._followed.keys()
        return self._known_followed if is_known and are_unchanged(self._root, self._known_followed) else None

    def _ground(self) -> tuple[Ground, dict[str, DestinationState]]:
        """The destinations of this run, and the states of those that it leaves alone."""
        self._states, others = self._scope.divide(surviving_destinations(self._directory))
        ground = Ground(
            self._root,
            self._manifest.dependencies,
            lock=self._old,
            destinations=self._states,
            is_forced=self._options.is_forced,
        )
        return ground, others

    def _resolve(self, ground: Ground) -> dict[str, LockedDependency]:
        if self._options.is_locked:
            refuse_stale(self._manifest, self._old, self._directory)
        entries, notes = resolve(
            self._manifest,
            self._old,
            self._sources,
            ground,
            settled=frozenset(wish.name for wish in self._manifest.dependencies)
            if self._options.is_locked
            else self._settled,
            jobs=self._options.jobs,
            cancellation=self._cancellation,
            is_updating=self._options.is_updating,
            progress=self._progress,
        )
        self._notes += notes
        return entries

    def _stage(
        self,
        needed: Sequence[Dependency],
        entries: Mapping[str, LockedDependency],
        staging: Staging,
        base: Callable[[Dependency], str],
    ) -> dict[str, Staged]:
        """Lay every needed dependency into a staging directory, side by side, with one bound for all threads."""
        jobs = max(1, self._options.jobs // max(1, min(len(needed), self._options.jobs)))
        staging.announce(sorted({base(each) for each in needed}))
        paths = {each.name: staging.make(os.path.join(self._root, *base(each).split("/"))) for each in needed}

        def laying(dependency: Dependency) -> Callable[[], tuple[Entry, ...]]:
            def lay() -> tuple[Entry, ...]:
                self._cancellation.check()
                entry = entries[dependency.name]
                progress = JoinedProgress(self._progress, dependency.name, entry.size_bytes)
                try:
                    laid = source_of(self._sources, dependency).lay(
                        dependency,
                        entry,
                        paths[dependency.name],
                        jobs=jobs,
                        progress=progress,
                        cancellation=self._cancellation,
                    )
                except ProvenderError as error:
                    note_place(error, self._manifest, dependency.name)
                    raise
                progress.end()
                return laid

            return lay

        results = run_all([laying(each) for each in needed], jobs=self._options.jobs, cancellation=self._cancellation)
        return {
            each.name: Staged(path=paths[each.name], entries=laid) for each, laid in zip(needed, results, strict=True)
        }

    def _complete(
        self, entries: dict[str, LockedDependency], needed: Sequence[Dependency], staged: Mapping[str, Staged]
    ) -> None:
        """Give the entries of what was staged their tree; IntegrityError if the lock has another one."""
        for each in needed:
            entry, tree = entries[each.name], tree_digest(staged[each.name].entries)
            if entry.tree is not None and entry.tree != tree:
                raise IntegrityError(
                    f"{each.name} unpacks to the tree {tree}, but the lock says {entry.tree}",
                    code="tree-mismatch",
                    where=str(self._directory / LOCK_NAME),
                    hint="restore the lock from version control; or remove this entry from it, to have it locked anew",
                )
            entries[each.name] = with_tree(entry, tree)

    # --- what to say

    def _report(self, changes: Sequence[Change], *, is_lock_changed: bool) -> SyncReport:
        return SyncReport(
            changes=tuple(changes),
            is_lock_changed=is_lock_changed,
            is_dry_run=self._options.is_dry_run,
            notes=tuple(self._notes),
        )

    def _locked(self, dependency: Dependency, entry: LockedDependency, laid: Staged | None) -> Change:
        is_same = self._old.dependencies.get(dependency.name) == entry
        return self._said(dependency, entry, "unchanged" if is_same else "locked", laid)

    def _change(
        self, dependency: Dependency, entry: LockedDependency, standing: Standing, laid: Staged | None
    ) -> Change:
        old = self._old.dependencies.get(dependency.name)
        action: Action
        match standing.kind:
            case "right":
                action = "unchanged"
            case "adopted":
                action = "adopted"
            case "absent":
                action = "installed"
            case "old":
                action = "updated"
            case _:
                action = "repaired" if old is not None and _is_same(old, entry) else "updated"
        return self._said(dependency, entry, action, laid, standing.state)

    def _said(
        self,
        dependency: Dependency,
        entry: LockedDependency,
        action: Action,
        laid: Staged | None,
        state: DestinationState | None = None,
    ) -> Change:
        old = self._old.dependencies.get(dependency.name)
        was = self._states.get(dependency.to)
        tree = laid.entries if laid else recorded_entries(state) if state else None
        is_laid = laid is not None and not self._options.is_lock_only
        change = describe(dependency.name, entry, action, before=old, is_laid=is_laid)
        if was and laid:
            difference = Difference.between(recorded_entries(was), laid.entries)
            change = msgspec.structs.replace(change, difference=difference)
        return change if tree is None else _counted(change, tree)


def _is_laid(dependency: Dependency) -> bool:
    return dependency.source != "manual"


def _is_same(one: LockedDependency, other: LockedDependency) -> bool:
    """True if the same files of the same content are meant."""
    return with_tree(other, one.tree).identity == one.identity


def _counted(change: Change, tree: Sequence[Entry]) -> Change:
    return msgspec.structs.replace(change, files=len(tree), size_bytes=sum(each.size for each in tree))


def _pieces(needed: Sequence[Dependency], staged: Mapping[str, Staged]) -> list[Piece]:
    return [Piece(each, staged[each.name]) for each in needed]


def _refuse_losses(ground: Ground, pieces: Sequence[Piece], directory: Path) -> None:
    """Conflict if there is anything in the destinations that nobody could bring back, with all of it."""
    lost = [path for piece in pieces for path in ground.losses(piece.dependency, piece.staged.entries)]
    if lost:
        raise Conflict(
            f"local changes would be lost: {_listed(lost)}",
            code="local-changes",
            where=str(directory),
            hint="move them away, list them under 'keep', or overwrite them with --force",
        )


def _listed(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _MAX_LISTED} more" if len(paths) > _MAX_LISTED else ""
    return f"{', '.join(paths[:_MAX_LISTED])}{more}"


def _gone(left: Left, action: Literal["removed", "released"]) -> Change:
    return Change(name=left.name, action=action, to=left.to, before=None if left.entry is None else left.entry.revision)
