"""Sync: makes a project's destinations equal to its lock, and the lock equal to its manifest. All or nothing.

Project layer. In order: read and decide; resolve what is not locked; lay everything into staging directories beside the
destinations; compare; swap by rename; write the lock last. A failure at any point before the end takes everything back.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from provender.artifact.tree import Entry, tree_digest
from provender.errors import Conflict, InvalidProject, ProvenderError
from provender.project.dependency import Dependency
from provender.project.drift import Drift, compare_with_entries, compare_with_state, kept_by, read_entries
from provender.project.lock import LOCK_NAME, Lock, LockedDependency, stale
from provender.project.manifest import MANIFEST_NAME, Manifest
from provender.project.report import Change, SyncReport
from provender.project.sources import Source
from provender.project.staging import Staged, carry_over, refuse_links, settle
from provender.project.state import STATE_DIRECTORY, DestinationState, Inputs, State
from provender.project.swap import Swap, link_above, prune, recover, staging_name
from provender.storage.files import FileLock
from provender.transfer.pool import Cancellation, run_all
from provender.transfer.progress import NO_PROGRESS, Progress

__all__ = ["SyncOptions", "Synchroniser"]

_INPUTS: Final = (MANIFEST_NAME, LOCK_NAME)
_MAX_LISTED: Final = 20


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
        if state.inputs is None or not state.inputs.are_unchanged(self._directory, _INPUTS):
            return False
        root = str(self._directory)
        return all(
            laid.compare(os.path.join(root, to), kept=kept_by(laid.keep)).is_unchanged
            for to, laid in state.destinations.items()
        )

    def unchanged(self) -> SyncReport:
        """The report of a project that is up to date."""
        lock = Lock.load(self._directory / LOCK_NAME) or Lock()
        return SyncReport(changes=tuple(_unchanged(name, entry) for name, entry in lock.dependencies.items()))

    def run(self, options: SyncOptions) -> SyncReport:
        """What was done.

        Raises InvalidProject (manifest, stale lock), Conflict (local changes, all of them listed), IntegrityError
        (content is not what the lock says), Unavailable (code `locked`), and what sources raise. After any error
        destinations and lock are as they were.
        """
        lock_path = self._directory / STATE_DIRECTORY / "lock"
        if options.is_dry_run and not lock_path.parent.is_dir():
            return _Run(self._directory, self._sources, self._progress, options).carry_out()
        State.prepare(self._directory)
        with FileLock(lock_path, timeout_s=options.wait_s, what="this project", on_wait=self._on_wait):
            return _Run(self._directory, self._sources, self._progress, options).carry_out()


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
        self._inputs = Inputs.record(directory, _INPUTS)
        self._manifest = Manifest.load(directory / MANIFEST_NAME)
        self._lock = Lock.load(directory / LOCK_NAME) or Lock()
        self._state = self._surviving_state()
        self._adopted: dict[str, Staged] = {}
        self._cancellation = Cancellation()
        self._notes: list[str] = []

    def carry_out(self) -> SyncReport:
        if not self._options.is_lock_only:
            refuse_links(self._root, (each.to for each in self._manifest.dependencies))
        if not self._options.is_dry_run:
            self._recover()
        entries = self._resolve()
        if self._options.is_dry_run:
            return self._preview(entries)
        staged: dict[str, Staged] = {}
        try:
            return self._commit(entries, staged)
        finally:
            for stage in staged.values():
                shutil.rmtree(stage.path, ignore_errors=True)
                prune(os.path.dirname(stage.path), self._root)

    def _recover(self) -> None:
        for to in {*self._state.destinations, *(each.to for each in self._manifest.dependencies)}:
            if link_above(self._root, to) is None:
                recover(self._path(to))

    def _surviving_state(self) -> State:
        """The state, with what a killed run had put in place already."""
        state, later = State.load(self._directory), State.load_next(self._directory)
        found = {
            to: laid
            for to, laid in later.destinations.items()
            if compare_with_state(self._path(to), laid, kept=kept_by(laid.keep)).is_none
        }
        return State(destinations={**state.destinations, **found})

    # --- read and decide

    def _resolve(self) -> dict[str, LockedDependency]:
        """An entry for every dependency: the locked one where it still answers, else a new one."""
        wishes = self._manifest.dependencies
        reasons = {each.name: stale(each, self._lock.dependencies.get(each.name)) for each in wishes}
        if self._options.is_locked:
            self._refuse_stale(reasons)
        asked = [each for each in wishes if reasons[each.name] is not None]
        found = run_all(
            [self._resolution(each) for each in asked], jobs=self._options.jobs, cancellation=self._cancellation
        )
        fresh = dict(zip((each.name for each in asked), found, strict=True))
        for each in asked:
            if each.is_tag_implied:
                self._notes.append(f"{each.name}: no version is asked for, so the tag latest was taken")
        return {each.name: self._known(each.name, fresh) for each in wishes}

    def _known(self, name: str, fresh: Mapping[str, LockedDependency]) -> LockedDependency:
        """The entry of `name`, with the digest of its tree where the lock has the same content already."""
        old = self._lock.dependencies.get(name)
        new = fresh.get(name)
        if new is None and old is not None:
            return old
        if new is None:
            raise InvalidProject(f"{name} was not resolved", code="unresolved")
        if old is not None and msgspec.structs.replace(new, tree=old.tree).identity == old.identity:
            return msgspec.structs.replace(new, tree=old.tree)
        return new

    def _resolution(self, dependency: Dependency) -> Callable[[], LockedDependency]:
        def resolve() -> LockedDependency:
            self._cancellation.check()
            try:
                return self._sources[dependency.source].resolve(dependency)
            except ProvenderError as error:
                raise self._placed(error, dependency.name) from error.__cause__

        return resolve

    def _placed(self, error: ProvenderError, name: str) -> ProvenderError:
        """`error` with the line of the manifest that asks for what failed: of many dependencies, this one."""
        place = self._manifest.places.get(name, name)
        is_ours = error.where is None or isinstance(error, InvalidProject)
        error.where = place if is_ours else f"{error.where}, asked for at {place}"
        return error

    def _refuse_stale(self, reasons: Mapping[str, str | None]) -> None:
        left = sorted(self._lock.dependencies.keys() - reasons.keys())
        lines = [f"{name}: {reason}" for name, reason in reasons.items() if reason is not None]
        lines += [f"{name}: it left the manifest" for name in left]
        if lines:
            raise InvalidProject(
                f"the lock does not answer the manifest: {'; '.join(lines[:_MAX_LISTED])}",
                code="lock-stale",
                where=str(self._directory / LOCK_NAME),
                hint="run 'provender lock' and commit the result",
            )

    def _preview(self, entries: Mapping[str, LockedDependency]) -> SyncReport:
        changes = [
            self._change(each, entries[each.name], self._standing(each, entries[each.name]))
            for each in self._manifest.dependencies
        ]
        changes += [_gone(name, to, entry, "removed") for to, (name, entry) in self._left().items()]
        lock = Lock(dependencies=dict(entries))
        return SyncReport(
            changes=tuple(changes),
            is_lock_changed=lock.dump() != self._lock.dump(),
            is_dry_run=True,
            notes=tuple(self._notes),
        )

    # --- standing of a destination

    def _standing(self, dependency: Dependency, entry: LockedDependency) -> str:
        """How the destination compares with `entry`.

        `right`, `adopted` (right, but not known yet), `absent`, `damaged` (files are missing), `old` (clean, of other
        content) or `unknown` (somebody changed it, or it is not ours).
        """
        path = self._path(dependency.to)
        if os.path.islink(path) or (os.path.lexists(path) and not os.path.isdir(path)):
            raise Conflict(
                "something that is no directory stands at the destination",
                code="destination-occupied",
                where=dependency.to,
                hint="move it away, or choose another destination",
            )
        if not os.path.isdir(path) or not os.listdir(path):
            return "absent"
        laid = self._state.destinations.get(dependency.to)
        if laid is None:
            return "adopted" if self._adopt(dependency, entry) else "unknown"
        drift = compare_with_state(path, laid, kept=kept_by(dependency.keep))
        if drift.local:
            return "unknown"
        if laid.identity != entry.identity or entry.tree is None:
            return "old"
        return "damaged" if drift.missing else "right"

    def _adopt(self, dependency: Dependency, entry: LockedDependency) -> bool:
        """True if the files without state, in a checkout perhaps, are exactly those of `entry`."""
        path = self._path(dependency.to)
        found = tuple(read_entries(path, kept=kept_by(dependency.keep)).values())
        whole = tuple(each for each in found if each is not None)
        if len(whole) < len(found) or tree_digest(whole) != entry.tree:
            return False
        self._adopted[dependency.name] = Staged(path=path, entries=whole)
        return True

    def _left(self) -> dict[str, tuple[str, LockedDependency | None]]:
        """What the manifest has no more, by destination: the name and the entry of the lock."""
        wishes = self._manifest.dependencies
        names, places = {each.name for each in wishes}, {each.to for each in wishes}
        left: dict[str, tuple[str, LockedDependency | None]] = {
            to: (to, None) for to in self._state.destinations if to not in places
        }
        for name, entry in self._lock.dependencies.items():
            if entry.to not in places:
                left[entry.to] = (name, entry)
            elif name not in names:
                left.setdefault(entry.to, (name, entry))
        return dict(sorted(left.items()))

    # --- act

    def _commit(self, entries: dict[str, LockedDependency], staged: dict[str, Staged]) -> SyncReport:
        wishes = self._manifest.dependencies
        if self._options.is_lock_only:
            needed = [each for each in wishes if entries[each.name].tree is None]
            standing = {each.name: "locked" if each in needed else "right" for each in wishes}
        else:
            standing = {each.name: self._standing(each, entries[each.name]) for each in wishes}
            needed = [each for each in wishes if standing[each.name] not in ("right", "adopted")]
        self._stage(needed, entries, staged)
        for each in needed:
            entries[each.name] = staged[each.name].pin(each.name, entries[each.name], lock=str(self._directory / LOCK_NAME))
        changes = [self._change(each, entries[each.name], standing[each.name], staged) for each in wishes]
        lock = Lock(dependencies=entries)
        if self._options.is_lock_only:
            return self._finish(lock, changes)
        self._refuse_local_changes(needed, standing, staged)
        return self._swap(lock, changes, needed, staged)

    def _stage(
        self, needed: list[Dependency], entries: Mapping[str, LockedDependency], staged: dict[str, Staged]
    ) -> None:
        """Lay every needed dependency into a staging directory, side by side."""
        jobs = max(1, self._options.jobs // max(1, min(len(needed), self._options.jobs)))

        def laying(dependency: Dependency) -> Callable[[], tuple[Entry, ...]]:
            stage = staged[dependency.name]

            def lay() -> tuple[Entry, ...]:
                self._cancellation.check()
                os.makedirs(stage.path)
                try:
                    return self._sources[dependency.source].lay(
                        dependency,
                        entries[dependency.name],
                        stage.path,
                        jobs=jobs,
                        progress=self._progress,
                        cancellation=self._cancellation,
                    )
                except ProvenderError as error:
                    raise self._placed(error, dependency.name) from error.__cause__

            return lay

        for each in needed:
            destination = self._path(each.to)
            if self._options.is_lock_only:
                destination = self._path(f"{STATE_DIRECTORY}/{each.name}")
            staged[each.name] = Staged(path=staging_name(destination))
        results = run_all([laying(each) for each in needed], jobs=self._options.jobs, cancellation=self._cancellation)
        for each, laid in zip(needed, results, strict=True):
            staged[each.name] = Staged(path=staged[each.name].path, entries=laid)

    def _refuse_local_changes(
        self,
        needed: list[Dependency],
        standing: Mapping[str, str],
        staged: Mapping[str, Staged],
    ) -> None:
        if self._options.is_forced:
            return
        lines: list[str] = []
        for each in needed:
            if standing[each.name] == "unknown":
                drift = self._local_drift(each, staged[each.name])
                lines += [f"{each.to}/{path}" for path in drift.local]
        if lines:
            more = f" and {len(lines) - _MAX_LISTED} more" if len(lines) > _MAX_LISTED else ""
            raise Conflict(
                f"local changes would be lost: {', '.join(lines[:_MAX_LISTED])}{more}",
                code="local-changes",
                where=str(self._directory),
                hint="move them away, list them under 'keep', or overwrite them with --force",
            )

    def _local_drift(self, dependency: Dependency, stage: Staged) -> Drift:
        """What somebody made in a destination, as far as it is not exactly what is to be laid there anyway."""
        path, kept = self._path(dependency.to), kept_by(dependency.keep)
        laid = self._state.destinations.get(dependency.to)
        drift = compare_with_entries(path, stage.entries, kept=kept)
        if laid is None:
            # Without state, files of the version that the lock had are recognised by the digest of their tree.
            old = self._lock.dependencies.get(dependency.name)
            found = read_entries(path, kept=kept).values()
            whole = tree_digest([each for each in found if each is not None])
            return Drift() if old is not None and whole == old.tree and None not in found else drift
        local = set(compare_with_state(path, laid, kept=kept).local)
        return Drift(
            changed=tuple(path for path in drift.changed if path in local),
            extra=tuple(path for path in drift.extra if path in local),
        )

    def _swap(
        self, lock: Lock, changes: list[Change], needed: list[Dependency], staged: Mapping[str, Staged]
    ) -> SyncReport:
        wishes = {each.to: each for each in self._manifest.dependencies}
        destinations = {to: laid for to, laid in self._state.destinations.items() if to in wishes}
        for each in needed:
            if os.path.isdir(self._path(each.to)):
                carry_over(self._path(each.to), staged[each.name].path, kept=kept_by(each.keep))
        settle()
        for each in self._manifest.dependencies:
            ready = staged.get(each.name) or self._adopted.get(each.name)
            if ready is not None:
                destinations[each.to] = ready.record(lock.dependencies[each.name], keep=each.keep)
        swap = Swap(self._root)
        try:
            # Told before the first rename: should this process die, the next one knows both sides.
            State(destinations={**self._state.destinations, **destinations}).write_next(self._directory)
            for each in needed:
                swap.replace(staged[each.name].path, self._path(each.to))
            changes += [self._remove(swap, to, name, entry, wishes) for to, (name, entry) in self._left().items()]
            report = self._finish(lock, changes)
        except BaseException:
            swap.roll_back()
            self._recover()
            State.forget_next(self._directory)
            raise
        swap.finish()
        self._remember(destinations)
        return report

    def _remember(self, destinations: Mapping[str, DestinationState]) -> None:
        settle()
        state = State(inputs=Inputs.record(self._directory, _INPUTS), destinations=dict(destinations))
        try:
            state.write(self._directory)
        except OSError as error:
            # Everything is in place; without state the next run only has to hash.
            self._notes.append(f"the state could not be written ({error.strerror}); the next run will take longer")

    def _remove(
        self,
        swap: Swap,
        to: str,
        name: str,
        entry: LockedDependency | None,
        wishes: Mapping[str, Dependency],
    ) -> Change:
        """Take away what a dependency that left the manifest had laid; what somebody changed is left to them."""
        path = self._path(to)
        if not os.path.isdir(path) or os.path.islink(path) or to in wishes:
            return _gone(name, to, entry, "removed")
        is_entangled = any(other.startswith(f"{to}/") or to.startswith(f"{other}/") for other in wishes)
        is_behind_link = link_above(self._root, to) is not None
        if is_entangled or is_behind_link or not (self._options.is_forced or self._is_untouched(path, to, entry)):
            why = "another destination lies in its way" if is_entangled else "it has local changes"
            why = "it lies behind a symbolic link" if is_behind_link else why
            self._notes.append(f"{to} was left as it is and is yours now: {why}")
            return _gone(name, to, entry, "released")
        swap.remove(path)
        return _gone(name, to, entry, "removed")

    def _is_untouched(self, path: str, to: str, entry: LockedDependency | None) -> bool:
        laid = self._state.destinations.get(to)
        if laid is not None:
            return not compare_with_state(path, laid, kept=None).local
        found = tuple(read_entries(path, kept=None).values())
        whole = tuple(each for each in found if each is not None)
        return entry is not None and len(whole) == len(found) and tree_digest(whole) == entry.tree

    def _finish(self, lock: Lock, changes: list[Change]) -> SyncReport:
        is_changed = lock.write(self._directory / LOCK_NAME) if lock.dump() != self._lock.dump() else False
        return SyncReport(changes=tuple(changes), is_lock_changed=is_changed, notes=tuple(self._notes))

    def _change(
        self,
        dependency: Dependency,
        entry: LockedDependency,
        standing: str,
        staged: Mapping[str, Staged] | None = None,
    ) -> Change:
        old = self._lock.dependencies.get(dependency.name)
        before = old.digest if old is not None else None
        is_same = before == entry.digest
        actions = {"right": "unchanged", "absent": "installed", "adopted": "adopted", "locked": "locked"}
        action = actions.get(standing) or ("repaired" if is_same else "updated")
        laid = (staged or {}).get(dependency.name)
        return Change(
            name=dependency.name,
            action=action,  # type: ignore[arg-type]  # one of the words above
            to=dependency.to,
            tag=entry.tag,
            digest=entry.digest,
            before=before if before != entry.digest else None,
            files=len(laid.entries) if laid else 0,
            size_bytes=sum(each.size for each in laid.entries) if laid else 0,
        )

    def _path(self, to: str) -> str:
        return os.path.join(self._root, *to.split("/"))


def _unchanged(name: str, entry: LockedDependency) -> Change:
    return Change(name=name, action="unchanged", to=entry.to, tag=entry.tag, digest=entry.digest)


def _gone(name: str, to: str, entry: LockedDependency | None, action: Literal["removed", "released"]) -> Change:
    return Change(name=name, action=action, to=to, before=None if entry is None else entry.digest)
