"""The source `inline`: files whose content the manifest holds. Project layer."""

from __future__ import annotations

from provender.artifact.selection import select
from provender.artifact.tree import Entry, TreeWriter
from provender.project.dependency import Dependency
from provender.project.inline_tree import inline_tree
from provender.project.lock_entry import LockedDependency, LockedInline
from provender.project.origin import InlineOrigin
from provender.storage.limits import DEFAULT_LIMITS, Limits
from provender.transfer.pool import Cancellation
from provender.transfer.progress import Progress

__all__ = ["InlineSource"]


class InlineSource:
    """Writes what the manifest says; nothing is ever asked of anybody."""

    def __init__(self, *, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits

    def resolve(self, dependency: Dependency) -> LockedDependency:
        """The entry of these files, tree included; NotFound if `include` and the like leave nothing of them."""
        origin, paths = dependency.origin_as(InlineOrigin), dependency.paths
        return LockedInline(selection=paths.recorded, tree=inline_tree(origin, paths), to=dependency.to)

    def lay(
        self,
        dependency: Dependency,
        locked: LockedDependency,  # noqa: ARG002 - the manifest has the content, and `sync` compares the tree
        staging: str,
        *,
        jobs: int,  # noqa: ARG002
        progress: Progress,  # noqa: ARG002
        cancellation: Cancellation,
    ) -> tuple[Entry, ...]:
        """The files in the empty directory `staging`."""
        origin = dependency.origin_as(InlineOrigin)
        with TreeWriter(staging, self._limits) as writer:
            for path, content in origin.files.items():
                cancellation.check()
                writer.add_file(path, content, executable=False, size=len(content), origin="inline")
            entries = writer.finish()
        return select(staging, entries, dependency.paths.selection)
