"""Garbage collection of a store: removes blobs that no manifest needs, also while servers and clients write to it.

Server layer, over the layout directory. What was pushed, mounted or asked for within the grace time stays: a manifest
that needs it may be under way (see `LayoutRepository.keep`).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from provender.errors import InvalidDocument, NotFound
from provender.oci import Descriptor, Digest
from provender.oci.media_types import is_document
from provender.server.uploads import remove_leftovers
from provender.storage.files import temporary_name
from provender.storage.layout import LayoutStorage
from provender.storage.layout_index import LAYOUT_FILE, LayoutIndex
from provender.storage.roots import StoreRoot

__all__ = ["Collected", "collect"]

_ENCODED: Final = {"sha256": re.compile(r"[0-9a-f]{64}"), "sha512": re.compile(r"[0-9a-f]{128}")}


class Collected(msgspec.Struct, frozen=True):
    """What was removed from one repository (its name is empty for a single layout), or would be."""

    repository: str
    manifests: int
    blobs: int
    freed_bytes: int
    kept_blobs: int


def collect(path: Path, *, grace_s: float, untagged: bool = False, dry_run: bool = False) -> Iterator[Collected]:
    """Collect the layout or the store at `path`, one repository after the other.

    Only what nobody used for `grace_s` is removed. With `untagged`, manifests go as well which have no tag, belong to
    no index that stays and refer to no subject that stays. A repository with a manifest that cannot be read is left
    alone, with the error. Raises NotFound for a path where nothing is.
    """
    if not path.is_dir():
        raise NotFound(f"no such directory: {path}", code="store-not-found", where=str(path), hint="check the path")
    if not dry_run:
        remove_leftovers(path)
    if (path / LAYOUT_FILE).is_file():
        yield _Collector(path).collect("", grace_s=grace_s, untagged=untagged, dry_run=dry_run)
        return
    root = StoreRoot(path)
    for name in root.repositories():
        with suppress(NotFound):  # somebody removed it
            layout = _Collector(root.repository(name).path)
            yield layout.collect(name, grace_s=grace_s, untagged=untagged, dry_run=dry_run)


class _Node(msgspec.Struct, frozen=True):
    """What a document points to."""

    children: tuple[Descriptor, ...]
    subject: Digest | None


class _Collector(LayoutStorage):
    """A layout that can be collected."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._nodes: dict[Digest, _Node | None] = {}

    def collect(self, name: str, *, grace_s: float, untagged: bool, dry_run: bool) -> Collected:
        oldest = time.time() - grace_s
        self._reachable(self._index().descriptors)  # reads most documents before anybody has to wait for the lock
        with self._locked():
            index = self._index()
            dropped = self._untagged(index, oldest) if untagged else []
            kept = [entry for entry in index.descriptors if entry.digest not in dropped]
            needed = self._reachable(kept)
            if dropped and not dry_run:
                self._change(lambda current: _without(current, dropped))
            removed, freed, left = 0, 0, 0
            for file in self._blob_files():
                if Digest(f"{file.parent.name}:{file.name}") in needed:
                    left += 1
                    continue
                size = _remove(file, oldest, dry_run=dry_run)
                if size is None:
                    left += 1
                else:
                    removed, freed = removed + 1, freed + size
        return Collected(name, len(dropped), removed, freed, left)

    def _untagged(self, index: LayoutIndex, oldest: float) -> list[Digest]:
        """The entries that no tag, no kept index and no kept subject holds, and that nobody used lately."""
        tagged = [entry for tag in index.tags() if (entry := index.by_name(tag)) is not None]
        young = [entry for entry in index.descriptors if self._age_stamp(entry.digest) >= oldest]
        named = [entry for entry in index.descriptors if entry.annotations and _has_name(entry)]
        kept = self._reachable([*tagged, *named, *young])
        while True:
            more = [entry for entry in index.descriptors if entry.digest not in kept and self._refers(entry, kept)]
            if not more:
                break
            kept |= self._reachable(more)
        return list(dict.fromkeys(entry.digest for entry in index.descriptors if entry.digest not in kept))

    def _refers(self, entry: Descriptor, kept: set[Digest]) -> bool:
        node = self._node(entry)
        return node is not None and node.subject in kept

    def _reachable(self, roots: list[Descriptor] | tuple[Descriptor, ...]) -> set[Digest]:
        found: set[Digest] = set()
        pending = list(roots)
        while pending:
            descriptor = pending.pop()
            if descriptor.digest in found:
                continue
            found.add(descriptor.digest)
            if node := self._node(descriptor):
                pending.extend(node.children)
        return found

    def _node(self, descriptor: Descriptor) -> _Node | None:
        """What the document points to; None for a blob, and for what is not here (an index may leave children out)."""
        digest = descriptor.digest
        if digest in self._nodes:
            return self._nodes[digest]
        if descriptor.media_type and not is_document(descriptor.media_type):
            self._nodes[digest] = None
            return None
        try:
            view = self._document(digest, descriptor).parse()
        except NotFound:
            return None
        except InvalidDocument as error:
            error.hint = "nothing was removed from this repository; delete or repair the manifest first"
            raise
        node = _Node(view.successors(), None if view.subject is None else view.subject.digest)
        self._nodes[digest] = node
        return node

    def _age_stamp(self, digest: Digest) -> float:
        with suppress(FileNotFoundError):
            return os.lstat(self.path / "blobs" / digest.algorithm / digest.encoded).st_mtime
        return 0.0

    def _blob_files(self) -> Iterator[Path]:
        for algorithm, pattern in _ENCODED.items():
            directory = self.path / "blobs" / algorithm
            if directory.is_symlink() or not directory.is_dir():
                continue
            with os.scandir(directory) as entries:
                names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
            yield from (directory / name for name in names if pattern.fullmatch(name))


def _remove(file: Path, oldest: float, *, dry_run: bool) -> int | None:
    """The size of the file that was removed; None if it stays because somebody used it lately."""
    try:
        status = os.lstat(file)
        if status.st_mtime >= oldest:
            return None
        if dry_run:
            return status.st_size
        # Away first, and then a second look: whoever touched it before it went is seen, whoever comes later finds
        # nothing and pushes it again.
        aside = file.with_name(temporary_name(file.name))
        os.rename(file, aside)
        if os.lstat(aside).st_mtime >= oldest:
            os.rename(aside, file)
            return None
        os.unlink(aside)
    except FileNotFoundError:
        return None
    return status.st_size if status.st_nlink == 1 else 0


def _without(index: LayoutIndex, digests: list[Digest]) -> LayoutIndex:
    for digest in digests:
        index = index.without(digest)
    return index


def _has_name(entry: Descriptor) -> bool:
    from provender.oci.annotations import REF_NAME

    return REF_NAME in (entry.annotations or {})
