"""Sync: makes managed directories equal to a vendir configuration, all of them or none, and writes the lock last.

For everything at once: ask what is meant (`fetch`), look what lies there already (`record`), lay and filter the rest in
directories beside the managed ones. Then, in order: check links; exchange the directories; write the lock. The outcome
is that of vendir's own sync; only that a failure anywhere changes nothing.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from provender.dialects.vendir.config import Configuration, entire_path
from provender.dialects.vendir.describe import described
from provender.dialects.vendir.fetch import Fetcher, Work, identity_of
from provender.dialects.vendir.item import Item, config_digest, locate, lock_of, mode_of
from provender.dialects.vendir.lock import LockConfig, LockContents, LockNothing
from provender.dialects.vendir.lock_file import OnRollBack
from provender.dialects.vendir.record import ContentsRecord, Records
from provender.dialects.vendir.schema import Directory
from provender.dialects.vendir.standing import Standing
from provender.errors import InvalidProject, NotFound, ProvenderError
from provender.project.state import STATE_DIRECTORY, State
from provender.storage.files import FileLock
from provender.transfer.pool import Cancellation, run_all
from provender.transfer.progress import NO_PROGRESS, Progress

if TYPE_CHECKING:
    from provender.dialects.vendir.exchange import Exchange

__all__ = ["SyncOptions", "Synced", "Synchroniser"]


class SyncOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a run goes about it."""

    is_lazy: bool = True
    """Contents that are marked lazy are left alone while their configuration is the same."""
    is_partial: bool = False
    """Only these contents are replaced; what else lies in their managed directories stays."""
    allows_all_symlinks: bool = False
    jobs: int = 20
    wait_s: float = 600.0


class Synced(msgspec.Struct, frozen=True):
    """What a sync came to."""

    lock: LockConfig
    """Of these directories, in the order of the configuration."""
    standing: Standing | None
    """Where nothing was to be done and nobody was asked: what tells that it is still so."""


class Synchroniser:
    """Carries out a sync in the working directory `directory`.

    `fetchers` by the source's name in the configuration; `say` gets vendir's progress lines, `on_wait` is called once
    when another run has to be waited for.
    """

    def __init__(
        self,
        directory: Path,
        fetchers: Mapping[str, Fetcher],
        *,
        progress: Progress = NO_PROGRESS,
        say: Callable[[str], None],
        on_wait: Callable[[], None] | None = None,
    ) -> None:
        self._directory = Path(os.path.abspath(directory))
        self._fetchers = fetchers
        self._progress = progress
        self._say = say
        self._on_wait = on_wait

    def run(
        self,
        asked: Configuration,
        meant: Configuration,
        lock: LockConfig | None,
        options: SyncOptions,
        *,
        conclude: Callable[[LockConfig, OnRollBack], None],
    ) -> Synced:
        """Make it so.

        `asked` is the configuration as written, `meant` with what a lock pins (the same without one), `lock` the
        existing one. `conclude` gets the new lock once everything is in place; it says how its writing is taken
        back, and writes. After any error everything is as it was.
        """
        place = State.prepare(self._directory)
        with FileLock(place / "lock", timeout_s=options.wait_s, what="this directory", on_wait=self._on_wait):
            run = _Run(self._directory, self._fetchers, self._progress, options)
            return run.sync(asked, meant, lock or LockConfig(), self._say, conclude)


class _Run:
    """One run, under the directory's lock."""

    def __init__(
        self, directory: Path, fetchers: Mapping[str, Fetcher], progress: Progress, options: SyncOptions
    ) -> None:
        self._directory = directory
        self._fetchers = fetchers
        self._options = options
        self._records = Records.load(directory)
        umask = os.umask(0o022)
        os.umask(umask)
        self._cancellation = Cancellation()
        self._work = Work(jobs=options.jobs, progress=progress, cancellation=self._cancellation, umask=umask)

    def sync(
        self,
        asked: Configuration,
        meant: Configuration,
        lock: LockConfig,
        say: Callable[[str], None],
        conclude: Callable[[LockConfig, OnRollBack], None],
    ) -> Synced:
        items = self._items(asked, meant, lock)
        for directory in asked.config.directories:
            self._check_place(directory)
        self._recover(asked)
        for item in items:
            self._announce(item, say)
        from provender.dialects.vendir.exchange import Exchange

        with Exchange(self._directory) as exchange:
            self._make_ready(items, exchange)
            is_done = self._is_done(asked, items)
            new = lock_of(asked, items)
            if is_done:
                conclude(new, lambda _: None)
            else:
                self._exchange(asked, items, new, conclude, exchange)
        if not is_done or any(item.staged for item in items):
            self._remember(items)
            return Synced(new, None)
        return Synced(new, None if meant is asked else self._standing(asked, items))

    def _standing(self, asked: Configuration, items: Sequence[Item]) -> Standing | None:
        if any(item.asked.helm_chart is not None and not item.is_lazy for item in items):
            return None  # the lock knows no digest of a chart: its repository is asked every time
        contents = tuple((item.target, item.record) for item in items)
        return Standing(str(self._directory), tuple(self._managed(each) for each in asked.config.directories), contents)

    def _exchange(
        self,
        asked: Configuration,
        items: Sequence[Item],
        new: LockConfig,
        conclude: Callable[[LockConfig, OnRollBack], None],
        exchange: Exchange,
    ) -> None:
        changed = self._changed(asked, items)
        self._carry([item for item in items if item.target in changed and item.is_right], exchange)
        self._place(asked, items, changed, exchange)
        exchange.carry_out(lambda on_roll_back: conclude(new, on_roll_back))

    def _recover(self, asked: Configuration) -> None:
        """Put right what a killed run left beside the managed directories, and those that it had announced."""
        from provender.project.swap import recover

        paths = {self._managed(directory) for directory in asked.config.directories}
        if os.path.lexists(self._directory / STATE_DIRECTORY / "staging"):
            from provender.project.staging import Staging

            paths.update(os.path.join(self._directory, to) for to in Staging.announced(os.fspath(self._directory)))
        for path in sorted(paths):
            recover(path)

    def _is_done(self, asked: Configuration, items: Sequence[Item]) -> bool:
        """True if everything lies there as it is wanted."""
        if not all(item.is_right for item in items) or self._changed(asked, items):
            return False
        wanted = [(item.target, mode_of(item)) for item in items if item.asked.manual is not None]
        wanted += [(self._managed(each), each.permissions) for each in asked.config.directories]
        return all(mode is None or _has_mode(path, mode) for path, mode in wanted) and all(
            directory.contents for directory in asked.config.directories
        )

    # --- what there is to do

    def _items(self, asked: Configuration, meant: Configuration, lock: LockConfig) -> list[Item]:
        items: list[Item] = []
        for directory, pinned in zip(asked.config.directories, meant.config.directories, strict=True):
            known = lock.find_directory(directory.path)
            for contents, wish in zip(directory.contents, pinned.contents, strict=True):
                path = entire_path(directory, contents)
                items.append(
                    Item(
                        directory=directory,
                        asked=contents,
                        meant=wish,
                        path=path,
                        target=os.path.join(self._directory, path),
                        place=asked.places.get(path),
                        old_lock=known.find(contents.path) if known is not None else None,
                        digest=config_digest(contents) if contents.lazy else "",
                    )
                )
        for item in items:
            old = item.old_lock.config_digest if item.old_lock is not None else ""
            item.is_lazy = self._options.is_lazy and item.asked.lazy and old == item.digest
        return items

    def _managed(self, directory: Directory) -> str:
        return os.path.normpath(os.path.join(self._directory, directory.path))

    def _check_place(self, directory: Directory) -> None:
        path = self._managed(directory)
        here = os.fspath(self._directory)
        parts = os.path.relpath(path, here).split(os.sep)
        if here == path or here.startswith(path.rstrip("/") + "/") or parts[0] in (".git", ".provender"):
            raise InvalidProject(
                f"the managed directory '{directory.path}' holds the working directory, or files of version control",
                code="reserved-destination",
                where=path,
                hint="everything else in a managed directory is removed; choose one of its own, such as vendor",
            )

    def _announce(self, item: Item, say: Callable[[str], None]) -> None:
        spot = f"{item.directory.path} + {item.asked.path}"
        if item.is_lazy:
            say(f"Skipping fetch: {spot} (flagged as lazy, config has not changed since last sync)")
        else:
            say(f"Fetching: {spot} ({described(item.meant)})")

    # --- asking and looking

    def _make_ready(self, items: Sequence[Item], exchange: Exchange) -> None:
        """Have all contents at hand, side by side: each is asked for, looked at, and laid if it is not there yet."""
        for item in items:
            if item.is_lazy or item.asked.manual is not None:
                self._require_present(item)
                item.is_right = True
                item.lock = item.old_lock if item.is_lazy else LockContents(manual=LockNothing())
        wanted = [item for item in items if not item.is_right]
        jobs = max(1, self._options.jobs // max(1, min(len(wanted), self._options.jobs)))
        work = msgspec.structs.replace(self._work, jobs=jobs)
        staging = threading.Lock()

        def stage(item: Item) -> str:
            with staging:
                return exchange.stage(self._managed(item.directory))

        def making(item: Item) -> Callable[[], None]:
            def make() -> None:
                self._cancellation.check()
                try:
                    self._ask(item)
                    self._cancellation.check()
                    if not item.is_right:
                        item.staged = stage(item)
                        self._fetch(item, work)
                except ProvenderError as error:
                    locate(error, item)
                    raise

            return make

        run_all([making(item) for item in wanted], jobs=self._options.jobs, cancellation=self._cancellation)

    def _pin(self, item: Item) -> LockContents | None:
        return item.old_lock if item.meant is not item.asked else None

    def _ask(self, item: Item) -> None:
        """Find out what the contents mean now, and whether just that lies there."""
        item.fetch = self._fetchers[item.meant.sources[0]].resolve(item.meant, self._pin(item), self._work)
        known = item.fetch.identity
        if known is None:
            return
        options = (item.asked.include_paths, item.asked.exclude_paths, item.asked.ignore_paths, item.asked.legal)
        modes = (item.asked.permissions, item.directory.permissions, self._work.umask)
        item.identity = identity_of(known, options, item.asked.new_root_path, modes)
        record = self._records.contents.get(item.target)
        if record is not None and record.identity == item.identity and record.holds(item.target):
            item.is_right, item.lock, item.record = True, record.lock, record

    def _require_present(self, item: Item) -> None:
        if os.path.isdir(item.target) and not os.path.islink(item.target):
            return
        if item.is_lazy:
            raise NotFound(
                f"Lazy content missing. Run sync with --lazy=false to fix. '{item.directory.path}': "
                f"lstat {item.path}: no such file or directory",
                code="lazy-missing",
                where=item.place,
                hint="sync once with --lazy=false",
            )
        error = NotFound(
            f"Moving directory '{item.path}' to staging dir: it is no directory that is there",
            code="manual-missing",
            hint=f"put the files into {item.path} first; contents that are 'manual' are never fetched",
        )
        locate(error, item)
        raise error

    def _changed(self, asked: Configuration, items: Sequence[Item]) -> frozenset[str]:
        """The targets that are replaced: in a full sync all of a managed directory, if one thing in it is not right."""
        if self._options.is_partial:
            return frozenset(item.target for item in items if not item.is_right)
        changed: set[str] = set()
        for directory in asked.config.directories:
            mine = [item for item in items if item.directory is directory]
            if not all(item.is_right for item in mine) or self._has_more(directory, mine):
                changed.update(item.target for item in mine)
        return frozenset(changed)

    def _has_more(self, directory: Directory, items: Sequence[Item]) -> bool:
        """True if there is anything in a managed directory but its contents, or it is not there."""
        top = self._managed(directory)
        targets = {item.target for item in items}
        if top in targets:
            return False
        above = {top}
        for target in targets:
            parent = os.path.dirname(target)
            while parent.startswith(f"{top}/"):
                above.add(parent)
                parent = os.path.dirname(parent)
        try:
            return any(
                entry.path not in targets and not (entry.path in above and entry.is_dir(follow_symlinks=False))
                for place in above
                for entry in os.scandir(place)
            )
        except OSError:
            return True

    # --- laying

    def _carry(self, items: Sequence[Item], exchange: Exchange) -> None:
        """Have what stays in a replaced directory staged too: the same files, by a further name."""
        from provender.dialects.vendir.filter import link_tree

        for item in items:
            item.staged = exchange.stage(self._managed(item.directory))
            link_tree(item.target, item.staged)

    def _fetch(self, item: Item, work: Work) -> None:
        """Fill the staged directory. What turns out to lie there already is right."""
        from provender.dialects.vendir.filter import apply_filter, apply_new_root, copy_ignored, same_trees

        contents = item.asked
        os.mkdir(item.staged, 0o700)
        if item.fetch is None:
            raise InvalidProject(f"{item.path} has no source", code="no-source")
        item.lock = item.fetch.lay(item.staged, work)
        apply_filter(item.staged, contents)
        if contents.new_root_path:
            apply_new_root(item.staged, contents.new_root_path)
        if os.path.isdir(item.target) and not os.path.islink(item.target):
            copy_ignored(item.target, item.staged, contents.ignore_paths)
        mode = mode_of(item)
        if mode is not None:
            os.chmod(item.staged, mode)
        item.is_right = same_trees(item.staged, item.target)

    def _place(self, asked: Configuration, items: Sequence[Item], changed: frozenset[str], exchange: Exchange) -> None:
        """Give the exchange what it is to put where, once the links in it are checked."""
        from provender.dialects.vendir.symlinks import check_symlinks

        for directory in asked.config.directories:
            mine = [item for item in items if item.directory is directory and item.target in changed]
            top = self._managed(directory)
            if not self._options.allows_all_symlinks:
                check_symlinks(top, {item.target: item.staged for item in mine})
            if mine and (self._options.is_partial or mine[0].target == top):
                for item in mine:
                    exchange.replace(item.target, item.staged)
            elif mine:
                frame = exchange.frame(top, {os.path.relpath(item.target, top): item.staged for item in mine})
                exchange.replace(top, frame)
            elif not self._options.is_partial and not directory.contents:
                exchange.replace(top, exchange.frame(top, {}))
            for item in items:
                mode = mode_of(item)
                if item.directory is directory and item.asked.manual is not None and mode is not None:
                    exchange.chmod(item.target, mode)
            if directory.permissions is not None and (mine or os.path.isdir(top)):
                exchange.chmod(top, directory.permissions & 0o7777)

    def _remember(self, items: Sequence[Item]) -> None:
        """Note what was laid; without that the next run only takes longer."""
        records = dict(self._records.contents)
        for item in items:
            if not item.identity or item.lock is None:
                records.pop(item.target, None)
            elif item.staged or item.record is None:
                try:
                    records[item.target] = ContentsRecord.take(item.target, identity=item.identity, lock=item.lock)
                except OSError:
                    records.pop(item.target, None)
        if records != self._records.contents:
            try:
                Records(contents=records).write(self._directory)
            except (OSError, UnicodeEncodeError):  # a path that is not UTF-8 cannot stand in the file
                with suppress(OSError):
                    os.unlink(self._directory / ".provender" / "vendir.json")


def _has_mode(path: str, mode: int) -> bool:
    try:
        return stat.S_IMODE(os.lstat(path).st_mode) == mode & 0o7777
    except OSError:
        return False
