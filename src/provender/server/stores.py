"""What a server serves: a store of many repositories, one layout, one archive, or memory, behind one small protocol.

Server layer, over `repositories`.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from provender.errors import InvalidReference, NotFound, Unsupported
from provender.oci.reference import check_repository
from provender.server.limits import Limits
from provender.server.repositories import (
    ArchiveRepository,
    Budget,
    LayoutRepository,
    MemoryRepository,
    Repository,
    WritableRepository,
    no_repository,
)
from provender.storage.layout_index import LAYOUT_FILE
from provender.storage.roots import StoreRoot

__all__ = ["Store", "open_store", "repository_name"]

_OPEN_LAYOUTS: Final = 1024
_MAX_MEMORY_REPOSITORIES: Final = 10_000
_NO_COMPONENT = re.compile(r"[^a-z0-9]+")
_ARCHIVES = (".zst", ".gz", ".tar", ".tgz", ".oci", ".ocitar")
_PARTS = (".001", ".parts")


class Store(Protocol):
    """Repositories by name. Safe from several threads."""

    @property
    def is_writable(self) -> bool:
        """False if no repository takes content."""
        ...

    @property
    def scratch(self) -> Path | None:
        """A directory on the same file system as the content, for uploads; None without content on a disk."""
        ...

    @property
    def title(self) -> str:
        """What is served, for people."""
        ...

    def names(self) -> list[str]:
        """Every repository once, sorted."""
        ...

    def find(self, name: str) -> Repository:
        """The repository, or NotFound."""
        ...

    def writable(self, name: str, *, create: bool) -> WritableRepository:
        """The repository for writing, made if `create` asks for that; NotFound or Unsupported without it."""
        ...


def open_store(path: Path | None, *, name: str | None = None, limits: Limits | None = None) -> Store:
    """The store at `path`: a layout directory, an archive, or a directory (not there yet, too) of many layouts.

    Without a path it is in memory. `name` is what a single layout is called; its own file name unless given.
    """
    if path is None:
        return _MemoryStore((limits or Limits()).memory_bytes)
    if path.is_file():
        archive = ArchiveRepository(path)
        if name is None and next(archive.repositories(), None) is not None:
            return _Archive(archive, path)
        return _Single(archive, path, name or repository_name(path))
    if path.suffix in (*_ARCHIVES, *_PARTS) and not path.exists():
        # Most likely misspelled: a store of that name would be made, and be empty.
        raise NotFound(
            f"there is no archive {path}",
            code="archive-not-found",
            where=str(path),
            hint="check the name; for a new store that is called so, make its directory first",
        )
    if (path / LAYOUT_FILE).is_file():
        return _Single(LayoutRepository(path), path, name or repository_name(path))
    if name is not None:
        raise Unsupported(
            f"{path} holds many repositories, each with a name of its own",
            code="not-a-layout",
            where=str(path),
            hint="leave the name out, or name a layout in it",
        )
    return _Root(path)


def repository_name(path: Path) -> str:
    """A valid repository name like the file name of `path`."""
    text = path.resolve().name.lower()
    for suffix in _ARCHIVES:
        text = text.removesuffix(suffix)
    try:
        return check_repository(text)
    except InvalidReference:
        return _NO_COMPONENT.sub("-", text).strip("-")[:128].strip("-") or "layout"


class _Root:
    """A directory of layouts."""

    is_writable = True

    def __init__(self, path: Path) -> None:
        self._root = StoreRoot(path)
        self._open: OrderedDict[str, LayoutRepository] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def scratch(self) -> Path | None:
        return self._root.path

    @property
    def title(self) -> str:
        return f"the store {self._root.path}"

    def names(self) -> list[str]:
        return sorted(self._root.repositories())

    def find(self, name: str) -> Repository:
        return self._get(name, create=False)

    def writable(self, name: str, *, create: bool) -> WritableRepository:
        return self._get(name, create=create)

    def _get(self, name: str, *, create: bool) -> LayoutRepository:
        path = self._root.path / check_repository(name)
        is_there = (path / LAYOUT_FILE).exists()
        with self._lock:
            found = self._open.get(name)
            if found is not None and is_there:
                self._open.move_to_end(name)
                return found
        if not is_there and not create:
            raise no_repository(name)
        # Through the root, which refuses links and reserved names.
        found = LayoutRepository(self._root.repository(name, create=create).path)
        with self._lock:
            kept = self._open.setdefault(name, found) if is_there else found
            self._open[name] = kept
            while len(self._open) > _OPEN_LAYOUTS:
                self._open.popitem(last=False)
            return kept


class _Single:
    """One layout or archive under one name."""

    def __init__(self, repository: LayoutRepository | ArchiveRepository, path: Path, name: str) -> None:
        self._repository = repository
        self._path = path
        self._name = check_repository(name)

    @property
    def is_writable(self) -> bool:
        return isinstance(self._repository, LayoutRepository)

    @property
    def scratch(self) -> Path | None:
        return self._path if self.is_writable else None

    @property
    def title(self) -> str:
        kind = "layout" if self.is_writable else "archive"
        return f"the {kind} {self._path} as {self._name}"

    def names(self) -> list[str]:
        return [self._name]

    def find(self, name: str) -> Repository:
        if name != self._name:
            raise no_repository(name)
        return self._repository

    def writable(self, name: str, *, create: bool) -> WritableRepository:
        if not isinstance(self._repository, LayoutRepository):
            raise Unsupported("an archive is only read", code="read-only")
        if name != self._name:
            if create:
                raise NotFound(
                    f"only the repository {self._name!r} is served here", code="repository-not-found", hint=self._name
                )
            raise no_repository(name)
        return self._repository


class _Archive:
    """The repositories of an archive that has their names; a port in a name is written as in a store, with `_`."""

    is_writable = False
    scratch = None

    def __init__(self, archive: ArchiveRepository, path: Path) -> None:
        self._archive = archive
        self._path = path
        self._repositories: dict[str, str] = {}
        self._open: dict[str, ArchiveRepository] = {}
        for full in archive.repositories():
            with suppress(InvalidReference):  # what no client could ask for
                self._repositories[check_repository(full.replace(":", "_").lower())] = full

    @property
    def title(self) -> str:
        return f"the archive {self._path}"

    def names(self) -> list[str]:
        return sorted(self._repositories)

    def find(self, name: str) -> Repository:
        full = self._repositories.get(name)
        if full is None:
            raise no_repository(name)
        # Two threads at once make two of them, of which one is kept.
        found = self._open.get(name)
        return found if found is not None else self._open.setdefault(name, self._archive.repository(full))

    def writable(self, name: str, *, create: bool) -> WritableRepository:  # noqa: ARG002 - the protocol's signature
        raise Unsupported("an archive is only read", code="read-only")


class _MemoryStore:
    """Repositories that end with the process."""

    is_writable = True
    scratch = None
    title = "memory; nothing is kept"

    def __init__(self, limit: int) -> None:
        self._repositories: dict[str, MemoryRepository] = {}
        self._budget = Budget(limit)
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        return sorted(self._repositories)

    def find(self, name: str) -> Repository:
        found = self._repositories.get(name)
        if found is None:
            raise no_repository(name)
        return found

    def writable(self, name: str, *, create: bool) -> WritableRepository:
        with self._lock:
            found = self._repositories.get(name)
            if found is not None:
                return found
            if not create:
                raise no_repository(name)
            if len(self._repositories) >= _MAX_MEMORY_REPOSITORIES:
                raise Unsupported("the registry in memory is full", code="memory-full")
            found = self._repositories[name] = MemoryRepository(f"memory:{name}", self._budget)
            return found
