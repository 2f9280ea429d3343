"""Contents from the releases of GitHub: `githubRelease`."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec

from provender.artifact.names import split_path
from provender.dialects.vendir.config import clean_path, within
from provender.dialects.vendir.downloads import download_file, fetch_http, is_archive, scratch, unpack_archive
from provender.dialects.vendir.fetch import Fetch, Work, identity_of
from provender.dialects.vendir.glob import matches_glob
from provender.dialects.vendir.image import secret_name
from provender.dialects.vendir.lock import LockContents, LockGithubRelease
from provender.dialects.vendir.modes import settle_modes
from provender.dialects.vendir.schema import Contents, GithubRelease, Http
from provender.dialects.vendir.secrets import References
from provender.dialects.vendir.semver import select_highest
from provender.errors import (
    Denied,
    IntegrityError,
    InvalidProject,
    NotFound,
    ProvenderError,
    RateLimited,
    Unauthorized,
    Unavailable,
)
from provender.project.sources.release import RELEASE, Asset, Release
from provender.storage.web import WebClient

__all__ = ["API_BASE", "ReleaseFetcher"]

API_BASE: Final = "https://api.github.com"
_MAX_RELEASE_BYTES: Final = 8 << 20
_MAX_PAGES: Final = 500
_MAX_ASSETS: Final = 2000
_PAGE: Final = 100
_SLUG: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_NEXT: Final = re.compile(r'<([^>]+)>\s*;\s*rel="next"')
_LOGIN_HINT: Final = "set VENDIR_GITHUB_API_TOKEN, or name a Secret with the field token"


class _Login(msgspec.Struct, frozen=True):
    """A token, and the schemes and hosts that may see it."""

    token: str
    hosts: tuple[tuple[str, str], ...]

    def __repr__(self) -> str:
        return f"_Login({self.hosts})"


class ReleaseFetcher:
    """Assets of a release by glob, each held to a checksum. `token` is used where contents name no Secret."""

    def __init__(self, web: WebClient, references: References, *, api_base: str = API_BASE, token: str = "") -> None:
        self._web = web
        self._references = references
        self._api_base = api_base.rstrip("/")
        self._token = token

    def resolve(self, contents: Contents, locked: LockContents | None, work: Work) -> Fetch:
        del work
        wish = contents.github_release or GithubRelease()
        login = self._login(wish)
        if locked is not None and locked.github_release is not None:
            return _ReleaseFetch(self, wish, None, locked.github_release, login)
        release = self.release(self._address(wish, login), login)
        return _ReleaseFetch(self, wish, release, LockGithubRelease(url=release.url, tag=release.tag_name), login)

    @property
    def web(self) -> WebClient:
        """Who downloads."""
        return self._web

    @property
    def references(self) -> References:
        """The Secrets."""
        return self._references

    def authorization(self, url: str, login: _Login) -> str | None:
        """The token, for the hosts that it belongs to."""
        return f"token {login.token}" if login.token and _host(url) in login.hosts else None

    def release(self, url: str, login: _Login) -> Release:
        """What the API says of a release."""
        try:
            raw = self._web.content(url, limit_bytes=_MAX_RELEASE_BYTES, authorization=self.authorization(url, login))
            found = RELEASE.decode(raw)
        except ProvenderError as error:
            _explain(within(error, f"Downloading release info: Downloading release details from {url}"))
            raise
        except (msgspec.MsgspecError, RecursionError) as error:
            raise Unavailable(
                f"Downloading release info: Parsing response from: {url}: it is no release",
                code="unusable-answer",
                where=url,
                hint="look at what the address gives in a browser",
                retryable=False,
                exit_status=69,
            ) from error
        if len(found.assets) > _MAX_ASSETS:
            raise Unavailable(f"the release has more than {_MAX_ASSETS} assets", code="unusable-answer", where=url)
        return found

    def _login(self, wish: GithubRelease) -> _Login:
        """The token of the environment is for the API's own host; that of a Secret also for an address beside it."""
        name = secret_name(wish.secret_ref)
        if not name:
            return _Login(self._token.strip(), (_host(self._api_base),))
        token = self._references.fields(name, frozenset({"token"})).get("token", "").strip()
        hosts = (_host(self._api_base), _host(wish.url)) if wish.url else (_host(self._api_base),)
        return _Login(token, hosts)

    def _address(self, wish: GithubRelease, login: _Login) -> str:
        if wish.url:
            return wish.url
        if _SLUG.fullmatch(wish.slug) is None:
            raise InvalidProject(
                f"not a repository of GitHub: {wish.slug[:100]!r}",
                code="invalid-slug",
                hint="write slug: owner/repository",
            )
        base = f"{self._api_base}/repos/{wish.slug}"
        if wish.tag:
            return f"{base}/releases/tags/{quote(wish.tag, safe='')}"
        if wish.tag_selection is not None:
            try:
                tag = select_highest(self._tags(base, login), wish.tag_selection)
            except InvalidProject as error:
                raise within(error, "Failed to find tag matching tagSelection") from error
            return f"{base}/releases/tags/{quote(tag, safe='')}"
        if wish.latest:
            return f"{base}/releases/latest"
        raise InvalidProject(
            "Expected to have non-empty tag, tagSelection, latest or url",
            code="missing-value",
            hint="write tag: v1.2.3 or latest: true",
        )

    def _tags(self, base: str, login: _Login) -> list[str]:
        tags: list[str] = []
        url = f"{base}/tags?per_page={_PAGE}"
        for _ in range(_MAX_PAGES):
            try:
                page, headers = self._web.json(
                    url, limit_bytes=_MAX_RELEASE_BYTES, authorization=self.authorization(url, login)
                )
            except ProvenderError as error:
                _explain(within(error, "Downloading tags info"))
                raise
            tags += [each["name"] for each in page if _has_name(each)] if isinstance(page, list) else []
            following = _NEXT.search(headers.get("link", ""))
            if following is None or _host(following[1]) != _host(base):
                break
            url = following[1]
        return tags


class _ReleaseFetch:
    def __init__(
        self,
        fetcher: ReleaseFetcher,
        wish: GithubRelease,
        release: Release | None,
        lock: LockGithubRelease,
        login: _Login,
    ) -> None:
        self._fetcher = fetcher
        self._wish = wish
        self._release = release
        self._lock = lock
        self._login = login
        chosen = msgspec.to_builtins(msgspec.structs.replace(wish, url="", tag="", tag_selection=None, secret_ref=None))
        # A release's assets may be replaced under its number; checksums tell, so they are asked for again.
        pins = wish.checksums if wish.http is None else {}
        is_pinned = bool(pins) or (wish.http is not None and bool(wish.http.sha256))
        self.identity = identity_of("githubRelease", lock.url, chosen) if is_pinned or release is None else None

    def lay(self, staging: str, work: Work) -> LockContents:
        wish = self._wish
        release = self._release or self._fetcher.release(self._lock.url, self._login)
        if wish.http is not None:
            self._fetch_http(wish.http, release, staging, work)
        else:
            self._fetch_assets(release, staging, work)
        if wish.unpack_archive is not None:
            self._unpack(wish.unpack_archive.path, staging, work)
        return LockContents(github_release=LockGithubRelease(url=release.url, tag=release.tag_name))

    def _fetch_http(self, http: Http, release: Release, staging: str, work: Work) -> None:
        wish = msgspec.structs.replace(http, url=http.url.replace("{tag}", release.tag_name))
        try:
            fetch_http(self._fetcher.web, wish, staging, work, self._fetcher.references)
        except ProvenderError as error:
            raise within(error, "Fetching http asset") from error

    def _fetch_assets(self, release: Release, staging: str, work: Work) -> None:
        wish = self._wish
        assets = [each for each in release.assets if not wish.asset_names or matches_glob(each.name, wish.asset_names)]
        checksums = _checksums(wish, assets, release)
        for asset in assets:
            name = split_path(asset.name, where=release.url)
            if len(name) != 1:
                raise IntegrityError(f"not the name of a file: {asset.name[:80]!r}", code="bad-name", where=release.url)
            path = os.path.join(staging, name[0])
            try:
                self._fetch_asset(asset, path, checksums, work)
            except ProvenderError as error:
                _explain(within(error, f"Downloading asset '{asset.name}'"))
                raise
        os.chmod(staging, 0o700)

    def _fetch_asset(self, asset: Asset, path: str, checksums: Mapping[str, str], work: Work) -> None:
        found = download_file(
            self._fetcher.web,
            asset.url,
            path,
            work,
            authorization=self._fetcher.authorization(asset.url, self._login),
            accept="application/octet-stream",
            mode=0o666,
        )
        os.chmod(path, 0o666 & ~work.umask)
        if found.size_bytes != asset.size:
            raise IntegrityError(
                f"Expected file size to be {asset.size}, but was {found.size_bytes}",
                code="size-mismatch",
                where=asset.url,
                hint="try again; the asset may have been replaced just now",
            )
        expected = checksums.get(asset.name, "").lower() if checksums else found.sha256
        if found.sha256 != expected:
            raise IntegrityError(
                f"Expected file checksum to be '{expected[:80] or 'known'}', but was '{found.sha256}'",
                code="digest-mismatch",
                where=asset.url,
                hint=f"correct it below checksums: {{{asset.name}: ...}}, once you know which one is right",
            )

    def _unpack(self, inner: str, staging: str, work: Work) -> None:
        clean = clean_path(inner.lstrip("/"))
        path = os.path.join(staging, clean)
        if clean.startswith("..") or not os.path.isfile(path) or os.path.islink(path):
            there = ", ".join(sorted(os.listdir(staging))[:20])
            raise NotFound(
                f"Unpacking archive '{inner[:100]}' is not part of the github release",
                code="no-such-archive",
                hint=f"it has {there or 'nothing'}"[:400],
            )
        if not is_archive(path):
            raise InvalidProject(
                "Expected known archive type (zip, tgz, tar)",
                code="no-archive",
                hint="remove unpackArchive to have the file as it is",
            )
        with scratch(staging) as place:
            target = os.path.join(place, "unpacked")
            os.mkdir(target)
            unpack_archive(path, target, where=inner)
            settle_modes(target, work.umask, directory_mode=0o700)
            shutil.rmtree(staging)
            os.rename(target, staging)


def _checksums(wish: GithubRelease, assets: list[Asset], release: Release) -> Mapping[str, str]:
    """The sha256 of each asset by its name; empty if none are to be looked at."""
    if wish.checksums:
        return wish.checksums
    if wish.disable_auto_checksum_validation:
        return {}
    found: dict[str, str] = {}
    known = dict(_lines(release.body or ""))
    for asset in assets:
        if asset.name not in known:
            raise InvalidProject(
                f"Finding checksums in release notes: Expected to find sha256 checksum for file '{asset.name}'",
                code="no-checksum",
                where=release.url,
                hint=f"write checksums: {{{asset.name}: SHA256}}, or disableAutoChecksumValidation: true",
            )
        found[asset.name] = known[asset.name]
    return found


def _lines(body: str) -> list[tuple[str, str]]:
    """The lines `SHA256  [./]NAME` of release notes; the first one for a name counts."""
    pairs: list[tuple[str, str]] = []
    for line in reversed(body.split("\n")):
        digest, _, name = line.strip().partition(" ")
        name = name.strip()
        if _SHA256.fullmatch(digest) and name:
            pairs.append((name.removeprefix("./").removeprefix("/"), digest))
    return pairs


def _has_name(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("name"), str)


def _host(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _explain(error: ProvenderError) -> None:
    """Give the error what helps at GitHub."""
    if isinstance(error, Unauthorized | Denied | RateLimited):
        error.hint = f"anonymous access is limited to a few requests an hour; {_LOGIN_HINT}"
    elif isinstance(error, NotFound):
        error.hint = "there may be no such tag, or with 'latest: true' no release that is no prerelease"
