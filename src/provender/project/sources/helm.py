"""The source `helmChart`: charts of classic repositories (`index.yaml`) and of registries. Project layer.

The chart's own directory becomes the destination's root, so `Chart.yaml` lies at its top.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urljoin

from provender.artifact.content import Opener, lay_content, top_directory
from provender.artifact.selection import select
from provender.artifact.tree import Entry, TreeWriter
from provender.artifact.unpack import fetch_content
from provender.errors import IntegrityError, InvalidProject, NotFound
from provender.oci import Descriptor, Manifest, Reference
from provender.project.addresses import check_sha256, check_url, is_classic
from provender.project.dependency import Dependency
from provender.project.lock_entry import LockedChart, LockedDependency, locked_as
from provender.project.origin import HelmOrigin, Requested
from provender.project.sources.chart_index import MAX_INDEX_BYTES, ListedChart, read_chart_index, unusable_index
from provender.project.sources.downloads import Downloads, Watch
from provender.project.sources.repositories import Repositories, lay_undamaged
from provender.storage.limits import DEFAULT_LIMITS, Limits
from provender.transfer.pool import Cancellation
from provender.transfer.progress import Progress, WatchedReader
from provender.versions import Range, nearest
from provender.versions import select as newest

__all__ = ["HelmSource"]

_CHART_TYPES: Final = ("application/vnd.cncf.helm.chart.content.v1.tar+gzip", "application/tar+gzip")
_OCTETS: Final = "application/octet-stream"
_ANY: Final = "*"


class HelmSource:
    """Finds versions of charts and unpacks them; no `helm` program is needed."""

    def __init__(self, downloads: Downloads, repositories: Repositories, *, limits: Limits = DEFAULT_LIMITS) -> None:
        self._downloads = downloads
        self._repositories = repositories
        self._limits = limits

    def resolve(self, dependency: Dependency) -> LockedChart:
        """The newest version of the chart that is wanted. Raises NotFound with the versions that are nearest."""
        origin = dependency.origin_as(HelmOrigin)
        if is_classic(origin.repository):
            return self._in_index(dependency, origin)
        return self._in_registry(dependency, origin)

    def versions(self, dependency: Dependency) -> list[str]:
        """The versions of the chart."""
        origin = dependency.origin_as(HelmOrigin)
        if is_classic(origin.repository):
            return list(self._listed(origin, f"{origin.repository}/index.yaml"))
        return [each.replace("_", "+") for each in self._repositories.tags(_reference(origin))]

    def lay(
        self,
        dependency: Dependency,
        locked: LockedDependency,
        staging: str,
        *,
        jobs: int,  # noqa: ARG002 - it is one archive
        progress: Progress,
        cancellation: Cancellation,
    ) -> tuple[Entry, ...]:
        """The chart in the empty directory `staging`."""
        entry, name = locked_as(locked, LockedChart), dependency.name
        if entry.url is None:
            return self._lay_artifact(dependency, entry, staging, progress, cancellation)
        wanted = Descriptor(media_type=_OCTETS, digest=entry.digest, size=entry.size)
        with self._downloads.open(name, entry.url, wanted, Watch(progress, cancellation)) as opener:
            return self._unpack(dependency, opener, staging, wanted, entry.url)

    # --- registries

    def _in_registry(self, dependency: Dependency, origin: HelmOrigin) -> LockedChart:
        reference = _reference(origin)
        tag = _exact_tag(origin.requested.version)
        if tag is None:
            # A tag cannot have the '+' of a version's metadata; helm writes '_' instead.
            tags = {each.replace("_", "+"): each for each in self._repositories.tags(reference)}
            tag = tags[_newest(list(tags), origin, where=str(reference))]
        found = self._repositories.find(reference, Requested(tag=tag))
        layer = _chart_layer(found.manifest, str(reference))
        return LockedChart(
            chart=origin.chart,
            repository=origin.repository,
            requested=origin.requested,
            selection=dependency.paths.recorded,
            version=tag.replace("_", "+"),
            digest=found.document.digest,
            size=layer.size,
            tree=None,
            to=dependency.to,
        )

    def _lay_artifact(
        self, dependency: Dependency, entry: LockedChart, staging: str, progress: Progress, cancellation: Cancellation
    ) -> tuple[Entry, ...]:
        reference = _reference(dependency.origin_as(HelmOrigin))

        def attempt(cancellation: Cancellation) -> tuple[Entry, ...]:
            manifest = self._repositories.document(reference, entry.digest).manifest()
            layer = _chart_layer(manifest, str(reference))
            fetcher = self._repositories.fetcher(reference)
            task = progress.start(entry.chart, layer.size)

            def opened() -> WatchedReader:
                return WatchedReader(fetch_content(fetcher, layer), progress, task, cancellation)

            with opened() as reader:  # once to its end: then the cache has it, and it may be looked at twice
                while reader.read(1 << 20):
                    pass
            laid = self._unpack(dependency, opened, staging, layer, str(reference))
            progress.done(task)
            return laid

        return lay_undamaged(attempt, staging, blobs=1, cancellation=cancellation)

    # --- classic repositories

    def _in_index(self, dependency: Dependency, origin: HelmOrigin) -> LockedChart:
        index = f"{origin.repository}/index.yaml"
        listed = self._listed(origin, index)
        version = _newest(list(listed), origin, where=index)
        found = listed[version]
        if not found.urls:
            raise unusable_index(index, f"{origin.chart} {version} has no URL")
        url = urljoin(f"{origin.repository}/", found.urls[0])
        expected = (found.digest or "").removeprefix("sha256:").lower() or None
        try:
            check_url(url)
            if expected is not None:
                check_sha256(expected)
        except InvalidProject as error:
            raise unusable_index(index, f"{origin.chart} {version}: {error.message}") from error
        archive = self._downloads.lock(dependency.name, url, sha256=expected)
        return LockedChart(
            chart=origin.chart,
            repository=origin.repository,
            requested=origin.requested,
            selection=dependency.paths.recorded,
            version=version,
            url=url,
            digest=archive.digest,
            size=archive.size,
            tree=None,
            to=dependency.to,
        )

    def _listed(self, origin: HelmOrigin, index: str) -> Mapping[str, ListedChart]:
        """The versions of the chart by their text; NotFound if the index has no such chart."""
        raw = self._downloads.content(index, limit_bytes=MAX_INDEX_BYTES)
        return read_chart_index(raw, origin.chart, where=index)

    def _unpack(
        self, dependency: Dependency, opener: Opener, staging: str, archive: Descriptor, where: str
    ) -> tuple[Entry, ...]:
        top = top_directory(opener, limits=self._limits, origin=where)
        with TreeWriter(staging, self._limits) as writer:
            lay_content(
                opener,
                writer,
                ("chart",),
                mode="extract",
                size_bytes=archive.size,
                limits=self._limits,
                origin=where,
                strip=top,
            )
            entries = writer.finish()
        if not any(entry.path == "Chart.yaml" for entry in entries):
            raise IntegrityError(
                "the archive is no chart: it has no Chart.yaml in its top directory",
                code="no-chart",
                where=where,
                hint="check the repository; nothing was laid",
            )
        return select(staging, entries, dependency.paths.selection)


def _reference(origin: HelmOrigin) -> Reference:
    return Reference.parse(f"{origin.repository}/{origin.chart}")


def _exact_tag(version: str | None) -> str | None:
    """The tag of a version that is spelled out; None for a range."""
    if version is None or newest([version], Range.parse(version)) != version:
        return None
    return version.replace("+", "_")


def _newest(versions: list[str], origin: HelmOrigin, *, where: str) -> str:
    wanted = Range.parse(origin.requested.version or _ANY)
    found = newest(versions, wanted)
    if found is None:
        near = ", ".join(nearest(versions, wanted)) or "none"
        asked = "that is no prerelease" if origin.requested.version is None else f"in the range {wanted}"
        raise NotFound(
            f"there is no version of {origin.chart} {asked}",
            code="no-version-matched",
            where=where,
            hint=f"nearest of its {len(versions)} versions: {near}",
        )
    return found


def _chart_layer(manifest: Manifest, where: str) -> Descriptor:
    for media_type in _CHART_TYPES:
        for layer in manifest.layers:
            if layer.media_type == media_type:
                return layer
    there = ", ".join(layer.media_type for layer in manifest.layers)[:200] or "nothing"
    raise IntegrityError(
        f"the artifact is no chart; it has {there}",
        code="no-chart",
        where=where,
        hint="use the source 'oci' for other artifacts",
    )
