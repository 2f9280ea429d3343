"""Services: the collaborators of one command, made from its options and the environment. The composition root."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from provender.cli.console import Console

if TYPE_CHECKING:
    from provender.artifact.pull import PullSource
    from provender.locations import Locations
    from provender.project.manifest import Manifest
    from provender.project.sources import Source
    from provender.storage.cache import BlobCache
    from provender.storage.open import Opened, Storages
    from provender.storage.registry import CredentialSource, HostLimits, UploadSettings

__all__ = ["Services"]

_CACHE_BYTES = 10 << 30
_USUAL_JOBS = 32
_MOST_CONNECTIONS = 64  # kept for one host; as many threads as a pool may have


class Services:
    """Makes what a command needs, when it needs it."""

    def __init__(
        self,
        console: Console,
        *,
        registries: Sequence[str] = (),
        plain_http: bool | None = None,
        jobs: int = 8,
        is_offline: bool = False,
    ) -> None:
        self._console = console
        self._registries = registries
        self._plain_http = plain_http
        self._jobs = jobs
        self._is_offline = is_offline

    def locations(self, manifest: Manifest | None = None, *, directory: Path | None = None) -> Locations:
        """Where logical registries are, with the project's own defaults if there is one."""
        from provender.locations import Locations

        return Locations.gather(
            environ=os.environ,
            cwd=Path.cwd(),
            flags=self._registries,
            project_dir=directory,
            manifest=None if manifest is None else manifest.registries,
        )

    def nearby_locations(self) -> Locations:
        """As `locations`, with those of the project that the working directory is in, if it is in one."""
        from provender.errors import NotFound
        from provender.project.place import find_manifest

        try:
            path = find_manifest(Path.cwd())
        except NotFound:
            return self.locations()
        from provender.project.manifest import Manifest

        return self.locations(Manifest.load(path), directory=path.parent)

    @contextmanager
    def storages(
        self,
        locations: Locations,
        *,
        credentials: CredentialSource | None = None,
        upload: UploadSettings | None = None,
    ) -> Iterator[Storages]:
        """The storages of a command, with these credentials or the user's; connections are closed at the end."""
        from provender.storage.open import Storages

        with Storages(
            locations,
            environ=os.environ,
            plain_http=self._plain_http,
            credentials=credentials,
            is_offline=self._is_offline,
            concurrency=_MOST_CONNECTIONS,
            limits=_host_limits(self._jobs, os.environ.get("PROVENDER_REQUESTS_PER_SECOND")),
            upload=upload,
            warn=self._console.warning,
            debug=self._console.trace if self._console.debug else None,
        ) as storages:
            yield storages

    def cache(self, root: Path | None = None) -> BlobCache:
        """The blob cache of this user, or one at `root`."""
        from provender.storage.cache import BlobCache, default_cache_root

        return BlobCache(
            root or default_cache_root(os.environ), max_bytes=_size_limit(os.environ.get("PROVENDER_CACHE_SIZE"))
        )

    @contextmanager
    def cached(self, opened: Opened) -> Iterator[PullSource]:
        """What was opened, read through the blob cache; a layout or archive as it is, for it is on disk already."""
        from provender.storage.cached_source import CachedSource

        if not opened.is_remote:
            yield opened.storage
            return
        with CachedSource(opened.storage, self.cache()) as source:
            yield source

    @contextmanager
    def sources(self, manifest: Manifest) -> Iterator[dict[str, Source]]:
        """The sources of a project's dependencies, by kind."""
        from provender.project.sources.of_project import sources_of

        locations = self.locations(manifest, directory=manifest.directory)
        with self.storages(locations) as storages:
            yield sources_of(
                manifest.directory, storages, self.cache(), environ=os.environ, is_offline=self._is_offline
            )

    def waiting(self, what: str) -> Callable[[], None]:
        """What to call when somebody else holds a lock: says so once."""
        return lambda: self._console.note(f"waiting for another provender that works on {what}")


def _host_limits(jobs: int, per_second: str | None) -> HostLimits | None:
    """The limits of every host from `PROVENDER_REQUESTS_PER_SECOND`, and as many requests at once as there are jobs."""
    if per_second is None and jobs <= _USUAL_JOBS:
        return None  # the defaults; what speaks HTTP is not even imported
    from provender.errors import InvalidProject
    from provender.storage.registry import HostLimits

    if per_second is not None and not (per_second.isascii() and per_second.isdigit() and 0 < int(per_second) <= 10**6):
        raise InvalidProject(
            f"not a number of requests: {per_second[:40]!r}",
            code="invalid-rate",
            where="PROVENDER_REQUESTS_PER_SECOND",
            hint="write a whole number from 1 on; without it there is no limit until a registry sets one",
        )
    rate = None if per_second is None else float(per_second)
    return HostLimits(max_reads=max(_USUAL_JOBS, jobs), per_second=rate)


def _size_limit(text: str | None) -> int:
    """Bytes from `PROVENDER_CACHE_SIZE`, such as `500M` or `20G`."""
    if not text:
        return _CACHE_BYTES
    from provender.errors import InvalidProject

    factor = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}.get(text[-1].upper(), 1)
    digits = text if factor == 1 else text[:-1]
    if not digits.isdigit():
        raise InvalidProject(
            f"not a size: {text[:40]!r}",
            code="invalid-size",
            where="PROVENDER_CACHE_SIZE",
            hint="write bytes, or a number with K, M, G or T",
        )
    return int(digits) * factor
