"""The source `githubRelease`: assets of a release on GitHub, or of what speaks its API. Project layer.

Every asset is locked by its sha256: the one that the manifest names, else the one that the API tells, else that of what
came. Assets may be replaced under their names; a locked one is never laid with other content.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final, TypeVar
from urllib.parse import quote

import msgspec

from provender.artifact.content import lay_content
from provender.artifact.selection import matches, select
from provender.artifact.tree import Entry, TreeWriter
from provender.errors import InvalidProject, NotFound, ProvenderError, RateLimited, Unauthorized, Unavailable
from provender.oci import Descriptor, Digest
from provender.project.addresses import check_asset_name, check_sha256, check_url
from provender.project.dependency import Dependency
from provender.project.lock_entry import LockedAsset, LockedDependency, LockedRelease, locked_as
from provender.project.origin import GITHUB_API, GithubOrigin
from provender.project.sources.downloads import Downloads, Watch
from provender.project.sources.release import RELEASE, RELEASES, Asset, Release
from provender.storage.limits import DEFAULT_LIMITS, Limits
from provender.transfer.pool import Cancellation, run_all
from provender.transfer.progress import Progress
from provender.versions import Range, nearest
from provender.versions import select as newest

__all__ = ["GithubSource"]

_T = TypeVar("_T")

_ACCEPT: Final = "application/vnd.github+json"
_OCTETS: Final = "application/octet-stream"
_MAX_ANSWER_BYTES: Final = 16 << 20
_PAGE: Final = 100
_MAX_PAGES: Final = 20
_MAX_ASSETS: Final = 2000


class GithubSource:
    """Asks the API for a release and downloads its assets."""

    def __init__(self, downloads: Downloads, *, limits: Limits = DEFAULT_LIMITS, jobs: int = 4) -> None:
        self._downloads = downloads
        self._limits = limits
        self._jobs = jobs

    def resolve(self, dependency: Dependency) -> LockedRelease:
        """The release that is wanted, with the sha256 of each chosen asset.

        Raises NotFound (no such release, version or asset), IntegrityError (an asset is not what `checksums` say).
        """
        origin = dependency.origin_as(GithubOrigin)
        try:
            release = self._release(origin)
        except (RateLimited, Unauthorized) as error:
            error.hint = "set GH_TOKEN or GITHUB_TOKEN; without a token GitHub answers 60 requests an hour"
            raise
        chosen = _chosen(origin, release)
        tasks = [partial(self._locked, dependency.name, origin, asset) for asset in chosen]
        assets = run_all(tasks, jobs=self._jobs)
        return LockedRelease(
            repository=origin.repository,
            api=None if origin.api == GITHUB_API else origin.api,
            requested=origin.requested,
            wanted=origin.assets,
            mode=origin.mode,
            selection=dependency.paths.recorded,
            tag=release.tag_name,
            url=release.url,
            assets=tuple(sorted(assets, key=lambda asset: asset.name)),
            tree=None,
            to=dependency.to,
        )

    def versions(self, dependency: Dependency) -> list[str]:
        """The tags of the releases."""
        origin = dependency.origin_as(GithubOrigin)
        return [each.tag_name for each in self._all(f"{origin.api}/repos/{origin.repository}/releases")]

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
        """The locked assets in the empty directory `staging`, archives unpacked; two may not differ about a path."""
        entry = locked_as(locked, LockedRelease)
        watch = Watch(progress, cancellation)
        with TreeWriter(staging, self._limits) as writer:
            tasks = [partial(self._lay, dependency.name, entry, asset, writer, watch) for asset in entry.assets]
            run_all(tasks, jobs=jobs, cancellation=cancellation)
            entries = writer.finish()
        return select(staging, entries, dependency.paths.selection)

    def _release(self, origin: GithubOrigin) -> Release:
        base, wish = f"{origin.api}/repos/{origin.repository}/releases", origin.requested
        if wish.version is None:
            url = f"{base}/tags/{quote(wish.tag, safe='')}" if wish.tag else f"{base}/latest"
            try:
                return self._asked(url, RELEASE)
            except NotFound as error:
                error.hint = (
                    "no such tag has a release" if wish.tag else "there is no release that is no prerelease; name a tag"
                )
                raise
        return self._newest(origin, base, wish.version)

    def _all(self, base: str) -> list[Release]:
        releases: list[Release] = []
        for page in range(1, _MAX_PAGES + 1):
            found = self._asked(f"{base}?per_page={_PAGE}&page={page}", RELEASES)
            releases += [each for each in found if not each.draft]
            if len(found) < _PAGE:
                break
        return releases

    def _newest(self, origin: GithubOrigin, base: str, version: str) -> Release:
        wanted, by_tag = Range.parse(version), {each.tag_name: each for each in self._all(base)}
        tag = newest(list(by_tag), wanted)
        if tag is None:
            near = ", ".join(nearest(list(by_tag), wanted)) or "none"
            raise NotFound(
                f"no release of {origin.repository} is in the range {version!r}",
                code="no-version-matched",
                where=base,
                hint=f"nearest of its {len(by_tag)} releases: {near}",
            )
        return by_tag[tag]

    def _asked(self, url: str, decoder: msgspec.json.Decoder[_T]) -> _T:
        raw = self._downloads.content(url, limit_bytes=_MAX_ANSWER_BYTES, accept=_ACCEPT)
        try:
            return decoder.decode(raw)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise Unavailable(
                "the API's answer is no release",
                code="unusable-answer",
                where=url,
                hint="correct 'api'; for GitHub Enterprise it ends in /api/v3",
                retryable=False,
                exit_status=69,
            ) from error

    def _locked(self, name: str, origin: GithubOrigin, asset: Asset) -> LockedAsset:
        wanted = origin.checksums.get(asset.name)
        told = (asset.digest or "").removeprefix("sha256:") if (asset.digest or "").startswith("sha256:") else None
        expected = wanted or told
        if expected is not None:
            check_sha256(expected)
        found = self._downloads.lock(name, asset.url, sha256=expected, size_bytes=asset.size, accept=_OCTETS)
        return LockedAsset(name=asset.name, url=asset.url, sha256=found.digest.encoded, size=found.size)

    def _lay(self, name: str, entry: LockedRelease, asset: LockedAsset, writer: TreeWriter, watch: Watch) -> None:
        wanted = Descriptor(media_type=_OCTETS, digest=Digest(f"sha256:{asset.sha256}"), size=asset.size)
        with self._downloads.open(name, asset.url, wanted, watch, accept=_OCTETS) as opener:
            try:
                lay_content(
                    opener,
                    writer,
                    (asset.name,),
                    mode=entry.mode,
                    size_bytes=asset.size,
                    sha256=asset.sha256,
                    limits=self._limits,
                    origin=asset.name,
                )
            except ProvenderError as error:
                error.at(asset.url)
                raise


def _chosen(origin: GithubOrigin, release: Release) -> Sequence[Asset]:
    """The assets that are wanted; each has a name that a file can have."""
    if len(release.assets) > _MAX_ASSETS:
        raise Unavailable(f"the release has more than {_MAX_ASSETS} assets", code="unusable-answer", where=release.url)
    names = [asset.name for asset in release.assets]
    there = f"it has {', '.join(names)[:400] or 'no assets'}"
    chosen = [each for each in release.assets if not origin.assets or matches(each.name, origin.assets)]
    unmatched = [pattern for pattern in origin.assets if not any(matches(name, [pattern]) for name in names)]
    if unmatched or not chosen:
        said = f"matches {', '.join(unmatched)}" if unmatched else "is there"
        raise NotFound(
            f"no asset of {origin.repository} {release.tag_name} {said}",
            code="no-such-asset",
            where=release.url,
            hint=there,
        )
    for name in origin.checksums:
        if name not in names:
            raise NotFound(
                f"{origin.repository} {release.tag_name} has no asset {name}, of which the checksum is given",
                code="no-such-asset",
                where=release.url,
                hint=there,
            )
    for asset in chosen:
        try:
            check_asset_name(asset.name)
            check_url(asset.url)
        except InvalidProject as error:
            raise Unavailable(
                f"the API names an unusable asset: {error.message}",
                code="unusable-answer",
                where=release.url,
                hint="choose others with 'assets'",
                retryable=False,
                exit_status=69,
            ) from error
    return chosen
