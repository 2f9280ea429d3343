"""The source `image`: the file systems of container images. Project layer, over `artifact.image`."""

from __future__ import annotations

from typing import Final

from provender.artifact.image import unpack_image
from provender.artifact.selection import is_selected, select
from provender.artifact.tree import Entry
from provender.errors import InvalidProject
from provender.oci import Manifest
from provender.project.dependency import Dependency
from provender.project.lock_entry import LockedDependency, LockedImage, locked_as
from provender.project.origin import ImageOrigin
from provender.project.sources import Contents
from provender.project.sources.repositories import Repositories, lay_undamaged
from provender.storage.limits import DEFAULT_LIMITS, Limits
from provender.transfer.pool import Cancellation
from provender.transfer.progress import Progress
from provender.transfer.related import NONE, Related

__all__ = ["ImageSource"]

_CONFIGS: Final = frozenset(
    {"application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"}
)


class ImageSource:
    """Resolves and lays container images."""

    def __init__(self, repositories: Repositories, *, limits: Limits = DEFAULT_LIMITS) -> None:
        self._repositories = repositories
        self._limits = limits

    def resolve(self, dependency: Dependency) -> LockedImage:
        """What `dependency` means now; InvalidProject if it is no image, and what `Repositories.find` raises."""
        origin = dependency.origin_as(ImageOrigin)
        found = self._repositories.find(origin.reference, origin.requested, origin.platform)
        manifest = found.manifest
        _check_image(manifest, str(found.child.digest))
        return LockedImage.pinned(
            dependency,
            tag=found.tag,
            digest=found.document.digest,
            manifest=found.child_digest,
            media_type=found.document.descriptor.media_type,
            artifact_type=manifest.effective_type,
            layers=manifest.layers,
        )

    def versions(self, dependency: Dependency) -> list[str]:
        """The tags of the repository."""
        return self._repositories.tags(dependency.origin_as(ImageOrigin).reference)

    def contents(self, dependency: Dependency, locked: LockedDependency, *, related: Related = NONE) -> Contents:
        """The manifest, its config and the layers."""
        reference = dependency.origin_as(ImageOrigin).reference
        return self._repositories.contents(reference, locked_as(locked, LockedImage), related)

    def lay(
        self,
        dependency: Dependency,
        locked: LockedDependency,
        staging: str,
        *,
        jobs: int,  # noqa: ARG002 - layers lie on each other
        progress: Progress,
        cancellation: Cancellation,
    ) -> tuple[Entry, ...]:
        """The image's files in the empty directory `staging`."""
        origin, entry = dependency.origin_as(ImageOrigin), locked_as(locked, LockedImage)
        selection = dependency.paths.selection

        def attempt(cancellation: Cancellation) -> tuple[Entry, ...]:
            manifest = self._repositories.document(origin.reference, entry.manifest or entry.digest).manifest()
            _check_image(manifest, str(entry.digest))
            entries = unpack_image(
                manifest.layers,
                self._repositories.fetcher(origin.reference),
                staging,
                limits=self._limits,
                is_wanted=lambda path: is_selected(path, selection),
                progress=progress,
                cancellation=cancellation,
            )
            return select(staging, entries, selection)

        return lay_undamaged(attempt, staging, blobs=len(entry.layers), cancellation=cancellation)


def _check_image(manifest: Manifest, digest: str) -> None:
    config = None if manifest.config is None else manifest.config.media_type
    if config not in _CONFIGS:
        raise InvalidProject(
            f"{digest} is no container image, but of type {manifest.effective_type or 'none'}",
            code="no-image",
            hint="use the source 'oci' for other artifacts",
        )
