"""The source `oci`: artifacts of registries, of logical registries and of OCI layouts.

Project layer. A tag or range becomes a digest here, once; what is laid goes by digest, from the cache where it can.
"""

from __future__ import annotations

from typing import Final

from provender.artifact.layers import Skip, plan_layers
from provender.artifact.selection import select
from provender.artifact.tree import Entry
from provender.artifact.unpack import UnpackOptions, fetch_content, unpack
from provender.errors import InvalidProject
from provender.oci import Descriptor, Digest, Manifest
from provender.project.dependency import Dependency
from provender.project.lock_entry import LockedDependency, LockedOci, locked_as
from provender.project.origin import OciOrigin
from provender.project.sources import Contents
from provender.project.sources.repositories import Repositories, lay_undamaged
from provender.storage.limits import DEFAULT_LIMITS, Limits
from provender.storage.verify import read_all
from provender.transfer.pool import Cancellation
from provender.transfer.progress import Progress
from provender.transfer.related import NONE, Related

__all__ = ["OciSource"]

_MAX_CONFIG_BYTES: Final = 4 << 20


class OciSource:
    """Resolves and lays artifacts."""

    def __init__(self, repositories: Repositories, *, limits: Limits = DEFAULT_LIMITS) -> None:
        self._repositories = repositories
        self._limits = limits

    def resolve(self, dependency: Dependency) -> LockedOci:
        """What `dependency` means now.

        Raises InvalidProject (the artifact's type is not the one that the manifest names), and what
        `Repositories.find` raises.
        """
        origin = dependency.origin_as(OciOrigin)
        found = self._repositories.find(origin.reference, origin.requested, origin.platform)
        manifest = found.manifest
        _check_type(origin, found.document.digest, manifest)
        return LockedOci.pinned(
            dependency,
            tag=found.tag,
            digest=found.document.digest,
            manifest=found.child_digest,
            media_type=found.document.descriptor.media_type,
            artifact_type=manifest.effective_type,
            layers=self._selected(origin, manifest),
        )

    def versions(self, dependency: Dependency) -> list[str]:
        """The tags of the repository."""
        return self._repositories.tags(dependency.origin_as(OciOrigin).reference)

    def contents(self, dependency: Dependency, locked: LockedDependency, *, related: Related = NONE) -> Contents:
        """The manifest, its config and the layers that are laid."""
        reference = dependency.origin_as(OciOrigin).reference
        return self._repositories.contents(reference, locked_as(locked, LockedOci), related)

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
        """The files of `locked` in the empty directory `staging`."""
        origin = dependency.origin_as(OciOrigin)
        entry = locked_as(locked, LockedOci)

        def attempt(cancellation: Cancellation) -> tuple[Entry, ...]:
            document = self._repositories.document(origin.reference, entry.manifest or entry.digest)
            manifest = document.manifest()
            _check_type(origin, document.digest, manifest)
            options = UnpackOptions(
                media_types=origin.media_types,
                mode=origin.mode,
                limits=self._limits,
                jobs=jobs,
                repository=origin.reference.repository,
            )
            fetcher = self._repositories.fetcher(origin.reference)
            entries = unpack(manifest, fetcher, staging, options=options, progress=progress, cancellation=cancellation)
            return select(staging, entries, dependency.paths.selection)

        return lay_undamaged(attempt, staging, blobs=len(entry.layers), cancellation=cancellation)

    def _selected(self, origin: OciOrigin, manifest: Manifest) -> tuple[Descriptor, ...]:
        """The layers that will be laid on disk, in the manifest's order."""
        fetcher = self._repositories.fetcher(origin.reference)

        def config() -> bytes:
            if manifest.config is None:
                return b""
            with fetch_content(fetcher, manifest.config) as reader:
                return read_all(reader, _MAX_CONFIG_BYTES)

        plan = plan_layers(
            manifest,
            mode=origin.mode,
            media_types=origin.media_types,
            repository=origin.reference.repository,
            config=config,
        )
        return tuple(planned.layer for planned in plan if not isinstance(planned.action, Skip))


def _check_type(origin: OciOrigin, digest: Digest, manifest: Manifest) -> None:
    wanted, found = origin.artifact_type, manifest.effective_type
    if wanted is not None and found != wanted:
        raise InvalidProject(
            f"{digest} is of type {found or 'none'}, not {wanted}",
            code="wrong-artifact-type",
            hint="correct artifactType, or ask for another artifact",
        )
