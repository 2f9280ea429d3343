"""The source `oci`: artifacts of registries, of logical registries and of OCI layouts.

Project layer. A tag or range becomes a digest here, once; what is laid goes by digest, from the cache where it can.
"""

from __future__ import annotations

import os
import shutil
from typing import Final

from provender.artifact.layers import Skip, plan_layers
from provender.artifact.limits import DEFAULT_LIMITS, Limits
from provender.artifact.pull import resolve_manifest
from provender.artifact.selection import Selection as Paths
from provender.artifact.selection import select
from provender.artifact.tree import Entry
from provender.artifact.unpack import UnpackOptions, fetch_content, unpack
from provender.errors import IntegrityError, InvalidProject, NotFound
from provender.oci import Descriptor, Digest, Document, Manifest, Platform, Reference
from provender.project.dependency import Dependency
from provender.project.lock import LockedDependency
from provender.storage.abilities import BlobReader, Resolver, TagLister
from provender.storage.cache import BlobCache, CachedFetcher
from provender.storage.open import Storages
from provender.storage.verify import read_all
from provender.transfer.pool import Cancellation
from provender.transfer.progress import Progress
from provender.versions import Range, nearest
from provender.versions import select as newest

__all__ = ["OciSource"]

_MAX_CONFIG_BYTES: Final = 4 << 20


class OciSource:
    """Resolves and lays artifacts. What `storages` may not reach (offline) comes from the cache or is an error."""

    def __init__(self, storages: Storages, cache: BlobCache, *, limits: Limits = DEFAULT_LIMITS) -> None:
        self._storages = storages
        self._cache = cache
        self._limits = limits

    def resolve(self, dependency: Dependency) -> LockedDependency:
        """What `dependency` means now.

        Raises NotFound (no such repository, tag or version; the nearest tags are listed), InvalidProject (the
        artifact's type is not the one that the manifest names), and what the storage raises.
        """
        storage = self._storages.open(dependency.reference).storage
        tag = self._tag(dependency, storage)
        document = storage.resolve(dependency.requested.digest or tag or "")
        self._keep(document)
        child = self._child(dependency, document, storage)
        manifest = child.manifest()
        _check_type(dependency, document, manifest)
        return LockedDependency.pin(
            dependency,
            tag=tag,
            digest=document.digest,
            manifest=child.digest if document.is_index else None,
            media_type=document.descriptor.media_type,
            artifact_type=manifest.effective_type,
            layers=self._selected(dependency, manifest),
        )

    def lay(
        self,
        dependency: Dependency,
        locked: LockedDependency,
        staging: str,
        *,
        jobs: int,
        progress: Progress,
        cancellation: Cancellation,
    ) -> tuple[Entry, ...]:
        """The files of `locked` in the empty directory `staging`.

        A damaged entry of the cache is met as it is read, and removed; then all is laid once more, without it.
        """
        for _ in locked.layers:
            attempt = _Attempt(cancellation)
            try:
                return self._lay(dependency, locked, staging, jobs=jobs, progress=progress, cancellation=attempt)
            except IntegrityError as error:
                if error.code != "damaged-cache-entry":
                    raise
                cancellation.check()
                _empty(staging)
        return self._lay(dependency, locked, staging, jobs=jobs, progress=progress, cancellation=_Attempt(cancellation))

    def _lay(
        self,
        dependency: Dependency,
        locked: LockedDependency,
        staging: str,
        *,
        jobs: int,
        progress: Progress,
        cancellation: Cancellation,
    ) -> tuple[Entry, ...]:
        wish = dependency.selection
        origin = _Origin(self._storages, dependency.reference)
        fetcher = CachedFetcher(origin, self._cache)
        digest = locked.manifest or locked.digest
        document = fetcher.document(digest, lambda: origin.resolve(digest))
        manifest = document.manifest()
        _check_type(dependency, document, manifest)
        options = UnpackOptions(
            media_types=wish.media_types,
            mode=wish.mode,
            limits=self._limits,
            jobs=jobs,
            repository=dependency.reference.repository,
        )
        entries = unpack(manifest, fetcher, staging, options=options, progress=progress, cancellation=cancellation)
        return select(staging, entries, Paths(include=wish.include, exclude=wish.exclude, root=wish.root or ""))

    def _tag(self, dependency: Dependency, storage: TagLister) -> str | None:
        wish = dependency.requested
        if wish.digest is not None or wish.version is None:
            return wish.tag
        wanted = Range.parse(wish.version)
        tags = list(storage.tags())
        found = newest(tags, wanted)
        if found is None:
            near = ", ".join(nearest(tags, wanted)) or "none"
            raise NotFound(
                f"no tag of {dependency.reference} is in the range {wish.version!r}",
                code="no-version-matched",
                hint=f"nearest of its {len(tags)} tags: {near}",
            )
        return found

    def _child(self, dependency: Dependency, document: Document, storage: Resolver) -> Document:
        """The manifest that is laid. A lock is for every machine: this one's platform does not count."""
        wanted = dependency.selection.platform
        platform = None if wanted is None else Platform.parse(wanted)
        child = resolve_manifest(storage, document, platform=platform, here=False)
        self._keep(child)
        return child

    def _keep(self, document: Document) -> None:
        """Put the document into the cache, as far as that can be written."""
        CachedFetcher(self._cache, self._cache).document(document.digest, lambda: document)

    def _selected(self, dependency: Dependency, manifest: Manifest) -> tuple[Descriptor, ...]:
        """The layers that will be laid on disk, in the manifest's order."""
        wish = dependency.selection
        fetcher = CachedFetcher(_Origin(self._storages, dependency.reference), self._cache)

        def config() -> bytes:
            if manifest.config is None:
                return b""
            with fetch_content(fetcher, manifest.config) as reader:
                return read_all(reader, _MAX_CONFIG_BYTES)

        plan = plan_layers(
            manifest,
            mode=wish.mode,
            media_types=wish.media_types,
            repository=dependency.reference.repository,
            config=config,
        )
        return tuple(planned.layer for planned in plan if not isinstance(planned.action, Skip))


class _Attempt(Cancellation):
    """Cancelled with the run that it is part of, but not the other way round: a failed attempt may be made again."""

    def __init__(self, run: Cancellation) -> None:
        super().__init__()
        self._run = run

    @property
    def is_cancelled(self) -> bool:
        return self._run.is_cancelled or super().is_cancelled

    def check(self) -> None:
        self._run.check()
        super().check()


class _Origin:
    """The storage behind a reference, opened when the cache lacks something and not before."""

    def __init__(self, storages: Storages, reference: Reference) -> None:
        self._storages = storages
        self._reference = reference

    def fetch(self, descriptor: Descriptor, *, offset: int = 0) -> BlobReader:
        return self._storages.open(self._reference).storage.fetch(descriptor, offset=offset)

    def exists(self, descriptor: Descriptor) -> bool:
        return self._storages.open(self._reference).storage.exists(descriptor)

    def resolve(self, digest: Digest) -> Document:
        return self._storages.open(self._reference).storage.resolve(digest)


def _empty(directory: str) -> None:
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)


def _check_type(dependency: Dependency, document: Document, manifest: Manifest) -> None:
    wanted, found = dependency.artifact_type, manifest.effective_type
    if wanted is not None and found != wanted:
        raise InvalidProject(
            f"{document.digest} is of type {found or 'none'}, not {wanted}",
            code="wrong-artifact-type",
            hint="correct artifactType, or ask for another artifact",
        )
