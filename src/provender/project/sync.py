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
from provender.project.drift import kept_by
from provender.project.lock import LOCK_NAME, Lock, LockedDependency
from provender.project.manifest import MANIFEST_NAME, Manifest
from provender.project.report import Change, SyncReport
from provender.project.resolution import note_place, refuse_stale, resolve
from provender.project.sources import Source
from provender.project.staging import Staged, Staging
from provender.project.standing import Ground, Left, Standing, surviving_destinations
from provender.project.state import STATE_DIRECTORY, State
from provender.storage.files import FileLock
from provender.transfer.pool import Cancellation, run_all
from provender.transfer.progress import NO_PROGRESS, Progress

__all__ = ["SyncOptions", "Synchroniser"]

_LOCKING: Final = f"{STATE_DIRECTORY}/locking"
_MAX_LISTED: Final = 100

_Action = Literal["unchanged", "installed", "updated", "repaired", "adopted", "locked", "removed", "released"]


class SyncOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a run goes about it."""

    is_locked: bool = False
    """The lock has to answer the manifest; nothing is resolved."""
    is_dry_run: bool = False
    is_forced: bool = False
    """Local changes in destinations may be lost."""
    is_lock_only: bool = False
    """Write the lock, leave the destinations alone."""
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
        places = {os.path.join(root, *to.split("/")): laid for to, laid in state.destinations.items()}
        return all(
            os.path.isdir(path) and laid.compare(path, kept=kept_by(laid.keep)).is_unchanged
            for path, laid in places.items()
        )

    def unchanged(self) -> SyncReport:
        """The report of a project that is up to date."""
        lock = Lock.load(self._directory / LOCK_NAME) or Lock()
        return SyncReport(
            changes=tuple(
                Change(name=name, action="unchanged", to=entry.to, tag=entry.tag, digest=entry.digest)
                for name, entry in lock.dependencies.items()
            )
        )

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
        self._manifest = Manifest.load(directory / MANIFEST_NAME)
        self._before = Lock.load(directory / LOCK_NAME)
        self._old = self._before or Lock()
        self._cancellation = Cancellation()
        self._notes: list[str] = []

    def clean_up(self) -> None:
        """Put right what a killed run left, and remember what it had put in place."""
        known = surviving_destinations(self._directory)
        wishes, locked = self._manifest.dependencies, self._old.dependencies.values()
        clean_up_after_kill(
            self._directory, {*known, _LOCKING, *(each.to for each in wishes), *(each.to for each in locked)}
        )
        if State.load_next(self._directory).destinations:
            State(destinations=known).write(self._directory)

    def preview(self) -> SyncReport:
        """What a run would do, as far as that can be told without fetching content."""
        ground = self._ground()
        entries = self._resolve(ground)
        if self._options.is_lock_only:
            changes = [self._locked(each, entries[each.name]) for each in self._manifest.dependencies]
        else:
            changes = []
            for each in self._manifest.dependencies:
                standing = ground.standing(each, entries[each.name])
                changes.append(self._change(each, entries[each.name], standing, None))
                made = ground.changed_files(each) if standing.kind == "unknown" and not self._options.is_forced else []
                if made:
                    self._notes.append(f"a sync may refuse, for these are not as they were laid: {_listed(made)}")
            changes += [_gone(left, "removed") for left in ground.left]
        lock = Lock(dependencies=entries)
        return self._report(changes, is_lock_changed=self._before is None or lock.dump() != self._before.dump())

    def lock(self) -> SyncReport:
        """Write the lock and leave the destinations alone; what has no tree yet is unpacked in `.provender`."""
        ground = self._ground()
        entries = self._resolve(ground)
        wishes = self._manifest.dependencies
        changes = [self._locked(each, entries[each.name]) for each in wishes]
        needed = [each for each in wishes if entries[each.name].tree is None]
        with Staging(self._root) as staging:
            staged = self._stage(needed, entries, staging, lambda _: _LOCKING)
            self._complete(entries, needed, staged)
            staging.close()  # the lock is what comes last
            lock = Lock(dependencies=entries)
            is_changed = self._before is None or lock.dump() != self._before.dump()
            if is_changed:
                refuse_other_lock(self._directory, self._inputs)
                lock.write(self._directory / LOCK_NAME)
        return self._report(changes, is_lock_changed=is_changed)

    def sync(self) -> SyncReport:
        """Write the lock and make the destinations equal to it."""
        ground = self._ground()
        entries = self._resolve(ground)
        wishes = self._manifest.dependencies
        standings = {each.name: ground.standing(each, entries[each.name]) for each in wishes}
        states = {each.to: state for each in wishes if (state := standings[each.name].state) is not None}
        needed = [each for each in wishes if standings[each.name].state is None]
        with Staging(self._root) as staging:
            staged = self._stage(needed, entries, staging, lambda each: ground.base(each.to))
            self._complete(entries, needed, staged)
            pieces = _pieces(needed, staged)
            if not self._options.is_forced:
                _refuse_losses(ground, pieces, self._directory)
            change = Changeover(self._directory, ground, staging, before=self._before, inputs=self._inputs)
            change.carry_out(Lock(dependencies=entries), pieces, states, wishes)
        changes = [
            self._change(each, entries[each.name], standings[each.name], staged.get(each.name)) for each in wishes
        ]
        changes += [_gone(left, "released" if left.to in change.released else "removed") for left in ground.left]
        self._notes += [f"{to} was left as it is and is yours now: {why}" for to, why in change.released.items()]
        self._notes += change.notes
        return self._report(changes, is_lock_changed=change.is_lock_changed)

    # --- steps

    def _ground(self) -> Ground:
        return Ground(
            self._root,
            self._manifest.dependencies,
            lock=self._old,
            destinations=surviving_destinations(self._directory),
            is_forced=self._options.is_forced,
        )

    def _resolve(self, ground: Ground) -> dict[str, LockedDependency]:
        if self._options.is_locked:
            refuse_stale(self._manifest, self._old, self._directory)
        entries, notes = resolve(
            self._manifest,
            self._old,
            self._sources,
            ground,
            jobs=self._options.jobs,
            cancellation=self._cancellation,
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
                try:
                    return self._sources[dependency.source].lay(
                        dependency,
                        entries[dependency.name],
                        paths[dependency.name],
                        jobs=jobs,
                        progress=self._progress,
                        cancellation=self._cancellation,
                    )
                except ProvenderError as error:
                    note_place(error, self._manifest, dependency.name)
                    raise

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
            entries[each.name] = msgspec.structs.replace(entry, tree=tree)

    # --- what to say

    def _report(self, changes: Sequence[Change], *, is_lock_changed: bool) -> SyncReport:
        return SyncReport(
            changes=tuple(changes),
            is_lock_changed=is_lock_changed,
            is_dry_run=self._options.is_dry_run,
            notes=tuple(self._notes),
        )

    def _locked(self, dependency: Dependency, entry: LockedDependency) -> Change:
        is_same = self._old.dependencies.get(dependency.name) == entry
        return self._said(dependency, entry, "unchanged" if is_same else "locked", None)

    def _change(
        self, dependency: Dependency, entry: LockedDependency, standing: Standing, laid: Staged | None
    ) -> Change:
        old = self._old.dependencies.get(dependency.name)
        action: _Action
        match standing.kind:
            case "right":
                action = "unchanged"
            case "adopted":
                action = "adopted"
            case "absent":
                action = "installed"
            case _:
                action = "repaired" if old is not None and old.digest == entry.digest else "updated"
        return self._said(dependency, entry, action, laid)

    def _said(self, dependency: Dependency, entry: LockedDependency, action: _Action, laid: Staged | None) -> Change:
        old = self._old.dependencies.get(dependency.name)
        return Change(
            name=dependency.name,
            action=action,
            to=dependency.to,
            tag=entry.tag,
            digest=entry.digest,
            before=old.digest if old is not None and old.digest != entry.digest else None,
            files=len(laid.entries) if laid else 0,
            size_bytes=sum(each.size for each in laid.entries) if laid else 0,
        )


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
    return Change(name=left.name, action=action, to=left.to, before=None if left.entry is None else left.entry.digest)
