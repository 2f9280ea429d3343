"""Contents from an address of the web: `http`. vendir locks nothing of these; only `sha256` pins them."""

from __future__ import annotations

from provender.dialects.vendir.downloads import basic_login, fetch_http
from provender.dialects.vendir.fetch import Fetch, Work, identity_of
from provender.dialects.vendir.image import secret_name
from provender.dialects.vendir.lock import LockContents, LockNothing
from provender.dialects.vendir.schema import Contents, Http
from provender.dialects.vendir.secrets import References
from provender.storage.web import WebClient

__all__ = ["HttpFetcher"]


class HttpFetcher:
    """A file, or what is in an archive."""

    def __init__(self, web: WebClient, references: References) -> None:
        self._web = web
        self._references = references

    def resolve(self, contents: Contents, locked: LockContents | None, work: Work) -> Fetch:
        del locked, work
        http = contents.http or Http()
        basic_login(self._references, secret_name(http.secret_ref))
        return _HttpFetch(self._web, http, self._references)


class _HttpFetch:
    def __init__(self, web: WebClient, http: Http, references: References) -> None:
        self._web = web
        self._http = http
        self._references = references
        pinned = http.sha256.lower()
        self.identity = identity_of("http", http.url, pinned, http.disable_unpack) if pinned else None

    def lay(self, staging: str, work: Work) -> LockContents:
        fetch_http(self._web, self._http, staging, work, self._references)
        return LockContents(http=LockNothing())
