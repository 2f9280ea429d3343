"""A bundle pulled into a directory of the user's: laid out aside first, then moved in."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from provender.artifact.destination import Destination
from provender.artifact.image import unpack_image
from provender.artifact.tree import Entry
from provender.artifact.unpack import UnpackOptions, unpack
from provender.bundle.laying import Laying, Repository
from provender.bundle.reading import LOCK_TYPE, BundleSource
from provender.oci import Digest, Document
from provender.transfer.pool import Cancellation
from provender.transfer.progress import NO_PROGRESS, Progress

__all__ = ["PulledBundle", "pull_bundle"]


class PulledBundle(msgspec.Struct, frozen=True):
    """What a pull did. `is_relocated` says that the lock names the images in the bundle's own repository."""

    digest: Digest
    entries: tuple[Entry, ...]
    changed: tuple[str, ...]
    is_relocated: bool


def pull_bundle(
    repository: Repository,
    digest: Digest,
    name: str | None,
    opened: Callable[[str], Repository],
    out: str,
    *,
    is_recursive: bool = False,
    force: bool = False,
    jobs: int = 4,
    progress: Progress = NO_PROGRESS,
    cancellation: Cancellation | None = None,
) -> PulledBundle:
    """Lays the bundle into the directory `out`, made if absent; `name` and `opened` as `Laying` has them.

    A file that is there with other content is a Conflict (code `files-differ`) unless `force`.
    """

    def lay(document: Document, source: BundleSource, place: str) -> None:
        manifest = document.manifest()
        if any(layer.media_type == LOCK_TYPE for layer in manifest.layers):
            options = UnpackOptions(jobs=jobs, is_hashed=False)
            unpack(manifest, source, place, options=options, progress=progress, cancellation=cancellation)
        else:
            unpack_image(manifest.layers, source, place, progress=progress, cancellation=cancellation)

    laying = Laying(lay, opened, is_recursive=is_recursive, jobs=jobs, cancellation=cancellation)
    with Destination.opened(out) as destination:
        is_relocated = laying.run(repository, digest, name, destination.staging)
        entries = tuple(_entries(destination.staging, ""))
        changed = destination.fill(entries, force=force)
    return PulledBundle(digest, entries, changed, is_relocated)


def _entries(directory: str, prefix: str) -> Iterator[Entry]:
    """The files and links that were laid; the lock among them may not be what its layer says any more."""
    with os.scandir(directory) as listing:
        children = sorted(listing, key=lambda child: child.name)
    for child in children:
        path = prefix + child.name
        if child.is_dir(follow_symlinks=False):
            yield from _entries(child.path, f"{path}/")
        elif child.is_symlink():
            yield Entry(path=path, kind="l", mode="-", size=0, content=os.readlink(child.path))
        else:
            status = child.stat(follow_symlinks=False)
            is_executable = bool(stat.S_IMODE(status.st_mode) & 0o100)
            mode: Literal["644", "755"] = "755" if is_executable else "644"
            yield Entry(path=path, kind="f", mode=mode, size=status.st_size, content="")
