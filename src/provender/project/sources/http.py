"""The source `http`: a file, or the content of an archive, at a URL. Project layer, over the downloads.

What comes is locked by its sha256; a file that is laid as it is has the last part of the URL for a name.
"""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from provender.artifact.content import lay_content
from provender.artifact.selection import select
from provender.artifact.tree import Entry, TreeWriter
from provender.oci import Descriptor, Digest
from provender.project.addresses import check_asset_name
from provender.project.dependency import Dependency
from provender.project.lock_entry import LockedDependency, LockedHttp, locked_as
from provender.project.origin import HttpOrigin
from provender.project.sources.downloads import Downloads, Watch
from provender.storage.limits import DEFAULT_LIMITS, Limits
from provender.transfer.pool import Cancellation
from provender.transfer.progress import Progress

__all__ = ["HttpSource"]


class HttpSource:
    """Downloads files and unpacks archives."""

    def __init__(self, downloads: Downloads, *, limits: Limits = DEFAULT_LIMITS) -> None:
        self._downloads = downloads
        self._limits = limits

    def resolve(self, dependency: Dependency) -> LockedHttp:
        """What the URL gives now; IntegrityError if that is not the sha256 that the manifest names."""
        origin = dependency.origin_as(HttpOrigin)
        _file_name(origin)
        found = self._downloads.lock(dependency.name, origin.url, sha256=origin.sha256)
        return LockedHttp(
            url=origin.url,
            mode=origin.mode,
            selection=dependency.paths.recorded,
            sha256=found.digest.encoded,
            size=found.size,
            tree=None,
            to=dependency.to,
        )

    def lay(
        self,
        dependency: Dependency,
        locked: LockedDependency,
        staging: str,
        *,
        jobs: int,  # noqa: ARG002 - it is one file
        progress: Progress,
        cancellation: Cancellation,
    ) -> tuple[Entry, ...]:
        """The file or the archive's content in the empty directory `staging`."""
        origin, entry = dependency.origin_as(HttpOrigin), locked_as(locked, LockedHttp)
        wanted = Descriptor(
            media_type="application/octet-stream", digest=Digest(f"sha256:{entry.sha256}"), size=entry.size
        )
        watch = Watch(progress, cancellation)
        with (
            self._downloads.open(dependency.name, origin.url, wanted, watch) as opener,
            TreeWriter(staging, self._limits) as writer,
        ):
            lay_content(
                opener,
                writer,
                (_file_name(origin),),
                mode=origin.mode,
                size_bytes=entry.size,
                sha256=entry.sha256,
                limits=self._limits,
                origin=origin.url,
            )
            entries = writer.finish()
        return select(staging, entries, dependency.paths.selection)


def _file_name(origin: HttpOrigin) -> str:
    """The name of the file, if it is laid as it is; InvalidProject if no file can be called that."""
    return check_asset_name(unquote(urlsplit(origin.url).path.rpartition("/")[2]) or "content")
