"""The source `directory`: files of this machine, copied. Project layer.

Links stay links and have to stay inside; special files are refused. The tree is known before anything is copied, so
that an unchanged directory costs one reading.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from provender.artifact.names import fold_text, shown, split_path
from provender.artifact.selection import choose
from provender.artifact.tree import Entry, TreeWriter, tree_digest
from provender.errors import Conflict, IntegrityError, InvalidProject, NotFound
from provender.project.dependency import Dependency
from provender.project.lock_entry import LockedDependency, LockedDirectory, locked_as
from provender.project.origin import DirectoryOrigin
from provender.project.state import StatEntry, scan
from provender.storage.limits import DEFAULT_LIMITS, Limits
from provender.transfer.pool import Cancellation
from provender.transfer.progress import Progress

__all__ = ["DirectorySource"]

_CHUNK_BYTES: Final = 1 << 20
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class DirectorySource:
    """Copies directories whose paths are relative to `project`, the directory of the manifest."""

    def __init__(self, project: Path, *, limits: Limits = DEFAULT_LIMITS) -> None:
        self._project = project
        self._limits = limits

    def resolve(self, dependency: Dependency) -> LockedDependency:
        """The entry of the directory as it is now, tree included.

        Raises NotFound (no such directory), InvalidProject (it holds the project, or the destination), IntegrityError
        (a special file, or a name that cannot be laid everywhere).
        """
        origin, paths = dependency.origin_as(DirectoryOrigin), dependency.paths
        top = self._top(dependency, origin)
        chosen = self._chosen(top, dependency)
        hashed = [msgspec.structs.replace(each, content=_content(top, paths.root, each)) for each in chosen]
        return LockedDirectory(path=origin.path, selection=paths.recorded, tree=tree_digest(hashed), to=dependency.to)

    def lay(
        self,
        dependency: Dependency,
        locked: LockedDependency,
        staging: str,
        *,
        jobs: int,  # noqa: ARG002 - a disk gains nothing from it
        progress: Progress,
        cancellation: Cancellation,
    ) -> tuple[Entry, ...]:
        """A copy of the files in the empty directory `staging`; Conflict if they are not those of `locked`."""
        origin, paths = dependency.origin_as(DirectoryOrigin), dependency.paths
        entry = locked_as(locked, LockedDirectory)
        top = self._top(dependency, origin)
        chosen = self._chosen(top, dependency)
        task = progress.start(dependency.name, sum(each.size for each in chosen))
        with TreeWriter(staging, self._limits) as writer:
            for each in chosen:
                cancellation.check()
                parts = tuple(each.path.split("/"))
                if each.kind == "l":
                    writer.symlink(parts, each.content, origin=origin.path)
                    continue
                with _opened(_source(top, paths.root, each.path)) as file:
                    writer.file(parts, file, executable=each.mode == "755", origin=origin.path)
                progress.advance(task, each.size)
            laid = writer.finish()
        progress.done(task)
        if entry.tree is not None and tree_digest(laid) != entry.tree:
            raise Conflict(
                f"the directory {origin.path} is not as it was when it was locked",
                code="directory-changed",
                where=top,
                hint="run without --locked to follow it, or put it back as it was",
                exit_status=65,
            )
        return laid

    def _top(self, dependency: Dependency, origin: DirectoryOrigin) -> str:
        project = os.path.realpath(self._project)
        top = os.path.realpath(os.path.join(project, *origin.path.split("/")))
        if not os.path.isdir(top):
            raise NotFound(
                f"there is no directory {origin.path}"
                if not os.path.lexists(top)
                else f"{origin.path} is no directory",
                code="no-directory",
                where=top,
                hint="the path is relative to provender.yaml",
            )
        destination = os.path.realpath(os.path.join(project, *dependency.to.split("/")))
        for inner, outer, what in (
            (project, top, "it has the project in it"),
            (destination, top, "the destination lies in it"),
            (top, destination, "it lies in the destination"),
        ):
            if os.path.commonpath([inner, outer]) == outer:
                raise InvalidProject(
                    f"the directory {origin.path} cannot be copied: {what}",
                    code="directory-overlaps",
                    where=top,
                    hint="name a directory beside the destination",
                )
        return top

    def _chosen(self, top: str, dependency: Dependency) -> tuple[Entry, ...]:
        """What is laid, by the paths it will have; files are not hashed yet."""
        folded: dict[str, str] = {}
        entries = []
        for seen in scan(top):
            entry = self._entry(top, seen)
            other = folded.setdefault(fold_text(entry.path), entry.path)
            if other != entry.path:
                raise IntegrityError(
                    f"{shown(other)} and {shown(entry.path)} are one name where case or Unicode form does not count",
                    code="case-collision",
                    where=top,
                    hint="rename one of them, or leave both out with 'exclude'",
                )
            entries.append(entry)
        if not entries:
            raise NotFound(
                f"the directory of {dependency.name} is empty",
                code="nothing-selected",
                where=top,
                hint="put files in it",
            )
        return choose(entries, dependency.paths.selection)

    def _entry(self, top: str, seen: StatEntry) -> Entry:
        path = "/".join(split_path(seen.path, where=top, limits=self._limits))
        if stat.S_ISLNK(seen.mode):
            return Entry(path, "l", "-", os.readlink(os.path.join(top, path)), 0)
        if not stat.S_ISREG(seen.mode):
            raise IntegrityError(
                f"{shown(path)} is neither a file nor a link",
                code="special-file",
                where=top,
                hint="remove it, or leave it out with 'exclude'",
            )
        return Entry(path, "f", "755" if seen.mode & stat.S_IXUSR else "644", "", seen.size)


def _source(top: str, root: str | None, path: str) -> str:
    return os.path.join(top, root or "", path)


def _content(top: str, root: str | None, entry: Entry) -> str:
    if entry.kind == "l":
        return entry.content
    hasher = hashlib.sha256()
    with _opened(_source(top, root, entry.path)) as file:
        while chunk := file.read(_CHUNK_BYTES):
            hasher.update(chunk)
    return hasher.hexdigest()


def _opened(path: str) -> BinaryIO:
    return open(os.open(path, _OPEN), "rb", buffering=0)
