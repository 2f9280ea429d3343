"""Which archive a path leads to, and the archives that are open: each is looked through once.

Storage layer, below `open`. A repository in an archive is named as one in a directory of layouts would be.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provender.storage.archive import ArchiveStorage

__all__ = ["OpenArchives", "in_archive"]


def in_archive(path: Path) -> tuple[Path | None, str]:
    """The archive that a path names, and the repository in it behind the file's name; None for a directory."""
    for place in (path, *path.parents):
        found = _stored(place)
        if found.is_file():
            return found, "" if place == path else path.relative_to(place).as_posix()
        if place.exists():
            break
    return None, ""


def _stored(path: Path) -> Path:
    """Where an archive lies: itself, or in parts, by their list or by the first of them."""
    if not path.exists():
        from provender.storage.split_files import first_part, parts_list

        for name in (parts_list(path), first_part(path)):
            if name.is_file():
                return name
    return path


class OpenArchives:
    """One object for each archive as it is now: its table, and its temporary file if it needs one, are made once.

    One that was replaced stays as it is for those who have it. Temporary files lie beside the cache of `environ`. Safe
    from several threads.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._open: dict[Path, ArchiveStorage] = {}
        self._lock = threading.Lock()

    def open(self, path: Path, repository: str = "") -> ArchiveStorage:
        """The archive, or one of its repositories."""
        from provender.storage.archive import ArchiveStorage
        from provender.storage.cache import default_cache_root

        with self._lock:
            storage = self._open.get(path)
            if storage is None or not storage.is_current():
                storage = self._open[path] = ArchiveStorage(path, scratch=default_cache_root(self._environ))
        return storage.repository(repository) if repository else storage

    def close(self) -> None:
        """Give back the temporary files; what was opened is not to be used any more."""
        with self._lock:
            found = list(self._open.values())
            self._open.clear()
        for storage in found:
            storage.close()
