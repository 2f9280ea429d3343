"""A directory of OCI layouts, one per repository: `PATH/<repository>/{oci-layout,index.json,blobs/}`.

Storage layer, over `layout`: the store of an embedded registry, and what `serve` serves.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from provender.errors import IntegrityError, NotFound, Unsupported
from provender.oci.reference import check_repository
from provender.storage.layout import LayoutStorage
from provender.storage.layout_index import INDEX_FILE, LAYOUT_FILE

__all__ = ["StoreRoot"]

_MAX_DEPTH: Final = 128  # a repository name has at most 255 characters
_MAX_ENTRIES: Final = 200_000
_BLOBS: Final = "blobs"
# Names that a layout needs for itself: a repository `x/blobs` would lie inside the layout of `x`.
_RESERVED: Final = frozenset({_BLOBS, INDEX_FILE, LAYOUT_FILE})


class StoreRoot:
    """The store at `path`, which need not exist until something is written.

    `lock_timeout_s` and `on_wait` are handed to every layout.
    """

    def __init__(self, path: Path, *, lock_timeout_s: float = 60.0, on_wait: Callable[[], None] | None = None) -> None:
        self._path = path
        self._lock_timeout_s = lock_timeout_s
        self._on_wait = on_wait

    @property
    def path(self) -> Path:
        """The directory."""
        return self._path

    def repository(self, name: str, *, create: bool = False) -> LayoutStorage:
        """The layout of a repository; NotFound without it unless `create`.

        No component of the name may be a link (IntegrityError): a store never reaches outside of its directory.
        """
        path = self._place(name)
        if not create and not (path / LAYOUT_FILE).exists():
            raise NotFound(
                f"no repository {name!r} in the store",
                code="repository-not-found",
                where=f"layout:{self._path}",
                hint=_near(name, self.repositories()),
            )
        return LayoutStorage(path, create=create, lock_timeout_s=self._lock_timeout_s, on_wait=self._on_wait)

    def repositories(self) -> Iterator[str]:
        """Every repository once, sorted within each directory; links and foreign files are passed over."""
        if self._path.is_dir():
            yield from _walk(self._path)

    def _place(self, name: str) -> Path:
        components = check_repository(name).split("/")
        reserved = sorted(_RESERVED.intersection(components[1:]))
        if reserved:
            raise Unsupported(
                f"{name!r} cannot be a repository of a store: {reserved[0]!r} is a name inside every layout",
                code="reserved-repository",
                where=f"layout:{self._path}",
                hint="name the repository differently",
            )
        path = self._path
        for component in components:
            path = path / component
            try:
                status = os.lstat(path)
            except FileNotFoundError:
                continue
            if not stat.S_ISDIR(status.st_mode):
                raise IntegrityError(
                    f"{path} is a link or a file, not the directory of a repository",
                    code="not-a-directory",
                    where=f"layout:{self._path}",
                    hint="a store has no links; move the directory itself there",
                )
        return path


def _walk(root: Path) -> Iterator[str]:
    pending: list[tuple[str, ...]] = [()]
    seen = 0
    while pending:
        parts = pending.pop()
        here = root.joinpath(*parts)
        directories = []
        files = set()
        with os.scandir(here) as entries:
            for entry in entries:
                seen += 1
                if seen > _MAX_ENTRIES:
                    raise Unsupported(
                        f"more than {_MAX_ENTRIES} directory entries in the store",
                        code="store-too-large",
                        where=f"layout:{root}",
                        hint="check that the path is a store; spread a larger one over several directories",
                    )
                if entry.is_dir(follow_symlinks=False):
                    directories.append(entry.name)
                elif entry.is_file(follow_symlinks=False):
                    files.add(entry.name)
        is_layout = {LAYOUT_FILE, INDEX_FILE} <= files
        if is_layout and parts:
            yield "/".join(parts)
        below = [name for name in directories if _is_component(name) and not (is_layout and name == _BLOBS)]
        if len(parts) < _MAX_DEPTH:
            pending.extend((*parts, name) for name in sorted(below, reverse=True))


def _is_component(name: str) -> bool:
    from provender.errors import InvalidReference

    try:
        check_repository(name)
    except InvalidReference:
        return False
    return True


def _near(name: str, names: Iterator[str]) -> str:
    import difflib
    from itertools import islice

    known = list(islice(names, 5000))
    if not known:
        return "the store is empty; check its path"
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    if near:
        return "did you mean " + " or ".join(near) + "?"
    return f"it has {', '.join(known[:5])}" + (f" and {len(known) - 5} more" if len(known) > 5 else "")
