"""Sampling: the files of a locked version, laid aside to be looked at. Project layer, over the sources."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from provender.artifact.tree import Entry
from provender.project.dependency import Dependency
from provender.project.lock_entry import LockedDependency
from provender.project.sources import Source
from provender.transfer.pool import Cancellation
from provender.transfer.progress import NO_PROGRESS, Progress

__all__ = ["laid_aside"]


@contextmanager
def laid_aside(
    source: Source,
    dependency: Dependency,
    entry: LockedDependency,
    *,
    jobs: int = 4,
    progress: Progress = NO_PROGRESS,
) -> Iterator[tuple[str, tuple[Entry, ...]]]:
    """A temporary directory with the files of `entry`, and their entries; gone when the `with` block is left."""
    staging = tempfile.mkdtemp(prefix="provender-")
    try:
        cancellation = Cancellation()
        yield (
            staging,
            source.lay(dependency, entry, staging, jobs=jobs, progress=progress, cancellation=cancellation),
        )
    finally:
        shutil.rmtree(staging, ignore_errors=True)
