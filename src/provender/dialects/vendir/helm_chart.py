"""Contents that are Helm charts: `helmChart`, from classic repositories and registries, without the helm program."""

from __future__ import annotations

import os
import posixpath
import shutil
from collections.abc import Mapping
from typing import Final
from urllib.parse import urljoin, urlsplit

import msgspec

from provender.artifact.unpack import UnpackOptions, unpack
from provender.bundle.image_reference import ImageReference
from provender.dialects.vendir.config import within
from provender.dialects.vendir.downloads import basic_login, download_file, is_archive, scratch, unpack_archive
from provender.dialects.vendir.fetch import Fetch, Work, identity_of
from provender.dialects.vendir.image import secret_name
from provender.dialects.vendir.lock import LockContents, LockHelmChart
from provender.dialects.vendir.modes import settle_modes
from provender.dialects.vendir.registries import Access, Registries
from provender.dialects.vendir.schema import Contents, HelmChart
from provender.dialects.vendir.secrets import References
from provender.errors import IntegrityError, InvalidDocument, InvalidProject, NotFound, ProvenderError
from provender.oci import Digest, Reference
from provender.project.sources.chart_index import MAX_INDEX_BYTES, ListedChart, read_chart_index
from provender.settings.go_documents import read_documents
from provender.settings.go_shape import shaped
from provender.storage.web import WebClient
from provender.versions import Range, Version, nearest
from provender.versions import select as newest

__all__ = ["ChartFetcher"]

_STABLE_PREFIX: Final = "stable/"
_STABLE_URL: Final = "https://charts.helm.sh/stable"
"""Where the charts of the former stable repository are kept since 2020."""
_MAX_CHART_YAML_BYTES: Final = 1 << 20
_CHART_MEDIA_TYPES: Final = ("application/vnd.cncf.helm.chart.content.v1.tar+gzip", "application/tar+gzip")


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    version: str = ""
    app_version: str = ""


# Made here, for two threads that meet a type for the first time at once are too much for msgspec.
_DECODER: Final = msgspec.json.Decoder(_Metadata)


class ChartFetcher:
    """A chart's files, its name's directory taken away."""

    def __init__(self, registries: Registries, web: WebClient, references: References) -> None:
        self._registries = registries
        self._web = web
        self._references = references

    def resolve(self, contents: Contents, locked: LockContents | None, work: Work) -> Fetch:
        del locked, work
        chart = contents.helm_chart or HelmChart()
        if not chart.name:
            raise InvalidProject("Expected non-empty name", code="missing-value", hint="write helmChart: {name: redis}")
        repository = chart.repository
        if repository is not None and repository.url.startswith("oci://"):
            return self._from_registry(chart, repository.url, secret_name(repository.secret_ref))
        name, url = chart.name, ""
        if name.startswith(_STABLE_PREFIX):
            name, url = name.removeprefix(_STABLE_PREFIX), _STABLE_URL
        if repository is not None:
            url = repository.url
        if not url:
            raise InvalidProject(
                "Expected non-empty repository URL",
                code="missing-value",
                hint="write repository: {url: https://charts.example.com} or oci://registry.example/charts",
            )
        secret = secret_name(repository.secret_ref) if repository is not None else ""
        login = basic_login(self._references, secret)
        address = f"{url.rstrip('/')}/index.yaml"
        raw = self._web.content(address, limit_bytes=MAX_INDEX_BYTES, authorization=login)
        entry = _chosen(name, chart.version, read_chart_index(raw, name, where=address), address)
        return _RepositoryChart(self._web, url, name, entry, login)

    def _from_registry(self, chart: HelmChart, url: str, secret: str) -> Fetch:
        if not chart.version:
            raise InvalidProject(
                "Expected non-empty version", code="missing-value", hint="write version: 1.2.3, or a range"
            )
        if secret:
            self._check_single_login(secret)
        access = Access(secret=secret)
        reference = ImageReference.parse(f"{url.removeprefix('oci://').rstrip('/')}/{chart.name}").reference
        reference = reference.with_target()
        repository = self._registries.open(reference, access)
        tag = chart.version.replace("+", "_")
        if _is_range(chart.version):
            tag = _selected(chart.version, list(repository.tags()), str(reference))
        document = repository.resolve(tag)
        return _RegistryChart(self._registries, reference, document.digest, access)

    def _check_single_login(self, secret: str) -> None:
        found = self._references.logins(secret)
        if len(found) > 1:
            raise InvalidProject(
                f"Expected 0 or 1 registry auth credential, but found {len(found)}",
                code="several-logins",
                hint="name a Secret with the login of this registry alone",
            )


class _RepositoryChart:
    def __init__(self, web: WebClient, repository: str, name: str, entry: ListedChart, login: str | None) -> None:
        self._web = web
        self._repository = repository
        self._name = name
        self._entry = entry
        self._login = login
        pinned = (entry.digest or "").removeprefix("sha256:").lower()
        self.identity = identity_of("helmChart", name, pinned) if len(pinned) == 64 else None

    def lay(self, staging: str, work: Work) -> LockContents:
        base = self._repository if self._repository.endswith("/") else f"{self._repository}/"
        url = urljoin(base, self._entry.urls[0])
        # A login is for the repository's own host.
        login = self._login if urlsplit(url)[:2] == urlsplit(base)[:2] else None
        with scratch(staging) as place:
            path = os.path.join(place, "chart.tgz")
            found = download_file(self._web, url, path, work, authorization=login)
            expected = (self._entry.digest or "").removeprefix("sha256:").lower()
            if len(expected) == 64 and found.sha256 != expected:
                raise IntegrityError(
                    f"the chart has sha256:{found.sha256}, but the index says sha256:{expected}",
                    code="digest-mismatch",
                    where=url,
                    hint="the repository is inconsistent; ask whoever keeps it",
                )
            if not is_archive(path):
                raise InvalidDocument("the chart is no archive", code="no-chart", where=url)
            unpacked = os.path.join(place, "unpacked")
            os.mkdir(unpacked)
            unpack_archive(path, unpacked, where=url)
            return _move_up(unpacked, staging, self._name, work)


class _RegistryChart:
    def __init__(self, registries: Registries, reference: Reference, digest: Digest, access: Access) -> None:
        self._registries = registries
        self._reference = reference
        self._digest = digest
        self._access = access
        self.identity = identity_of("helmChart", digest)

    def lay(self, staging: str, work: Work) -> LockContents:
        repository = self._registries.open(self._reference, self._access)
        document = repository.resolve(str(self._digest))
        if document.is_index:
            raise InvalidDocument("the chart's tag is an index", code="no-chart", where=str(self._reference))
        options = UnpackOptions(media_types=_CHART_MEDIA_TYPES, mode="extract", jobs=work.jobs, is_hashed=False)
        with scratch(staging) as place:
            unpacked = os.path.join(place, "unpacked")
            os.mkdir(unpacked)
            unpack(
                document.manifest(),
                repository,
                unpacked,
                options=options,
                progress=work.progress,
                cancellation=work.cancellation,
            )
            name = posixpath.basename(self._reference.repository)
            return _move_up(unpacked, staging, name, work)


def _move_up(unpacked: str, staging: str, name: str, work: Work) -> LockContents:
    """Make the chart's directory the contents, with the modes that helm gives it."""
    directories = sorted(each for each in os.listdir(unpacked) if os.path.isdir(os.path.join(unpacked, each)))
    if len(directories) != 1:
        raise InvalidDocument(
            f"Finding single helm chart: Expected single directory in charts directory, but was: {directories[:10]}",
            code="no-chart",
            where=name,
            hint="the archive of a chart has one directory with the chart's name",
        )
    source = os.path.join(unpacked, directories[0])
    try:
        lock = _metadata(source)
    except ProvenderError as error:
        raise within(error, "Retrieving helm chart metadata") from error
    settle_modes(source, work.umask, root_mode=None, directory_mode=0o755, keeps_executable=False)
    shutil.rmtree(staging)
    os.rename(source, staging)
    return LockContents(helm_chart=lock)


def _metadata(chart: str) -> LockHelmChart:
    try:
        with open(os.path.join(chart, "Chart.yaml"), "rb") as file:
            raw = file.read(_MAX_CHART_YAML_BYTES)
    except OSError as error:
        raise InvalidDocument("Reading Chart.yaml: there is none", code="no-chart") from error
    trees = read_documents(raw, where="Chart.yaml", warn=lambda _: None)
    found = shaped(trees[0], _Metadata, warn=lambda _: None) if trees else _Metadata()
    if not found.version:
        raise InvalidDocument("Expected non-empty chart version", code="no-chart")
    return LockHelmChart(version=found.version, app_version=found.app_version)


def _chosen(name: str, wanted: str, charts: Mapping[str, ListedChart], where: str) -> ListedChart:
    """The entry of a version, or the newest one of a range; without a wish the newest release."""
    found = wanted if wanted in charts else newest(list(charts), Range.parse(wanted or "*"))
    if found is None or not charts[found].urls:
        near = ", ".join(nearest(list(charts), Range.parse(wanted or "*"))) or "none"
        raise NotFound(
            f'Fetching helm chart: chart "{name}" version "{wanted}" not found',
            code="no-version-matched",
            where=where,
            hint=f"nearest of its {len(charts)} versions: {near}",
        )
    return charts[found]


def _is_range(text: str) -> bool:
    try:
        Version.parse(text, coerce=False)
    except ProvenderError:
        return True
    return False


def _selected(text: str, tags: list[str], where: str) -> str:
    found = newest(tags, Range.parse(text))
    if found is None:
        near = ", ".join(nearest(tags, Range.parse(text))) or "none"
        raise NotFound(
            f"Helm chart pull: no version of the chart is in the range {text!r}",
            code="no-version-matched",
            where=where,
            hint=f"nearest of its {len(tags)} tags: {near}",
        )
    return found
