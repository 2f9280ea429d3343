"""Repositories of registries, opened with the Secret and the TLS settings that contents name."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from provender.dialects.vendir.secrets import Login, References
from provender.errors import Denied, NotFound, Unauthorized, Unsupported
from provender.oci import Reference
from provender.storage.abilities import Fetcher, Resolver, TagLister
from provender.storage.cached_source import CachedSource

if TYPE_CHECKING:
    from provender.storage.cache import BlobCache
    from provender.storage.open import Storages

__all__ = ["Access", "Registries", "Repository"]


class _Origin(Resolver, Fetcher, TagLister, Protocol):
    """What is asked of a storage."""


class Repository(_Origin, Protocol):
    """What is asked of a repository."""

    def has(self, target: str) -> bool:
        """Whether this very repository has that tag or manifest; the cache, which is for all of them, is not asked.

        A refusal counts as no, as in imgpkg: it may be somebody else's repository.
        """
        ...


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """How contents want their registry to be spoken to."""

    secret: str = ""
    plain_http: bool | None = None
    skips_tls_verify: bool = False
    authorities: tuple[str, ...] = ()


class Registries:
    """Opens repositories; `make` gives storages with these logins, and closes them itself at the end of the run."""

    def __init__(self, references: References, cache: BlobCache, make: Callable[[tuple[Login, ...]], Storages]) -> None:
        self._references = references
        self._cache = cache
        self._make = make
        self._storages: dict[str, Storages] = {}
        self._lock = threading.Lock()

    def open(self, reference: Reference, access: Access) -> Repository:
        """The repository of `reference`, whose documents and blobs are not asked for twice."""
        storages = self._storages_for(access.secret)
        if access.skips_tls_verify:
            raise Unsupported(
                "dangerousSkipTLSVerify is not supported: certificates are always verified",
                code="unsupported-option",
                hint="name the registry's own authority with additionalCACertificates, or in certs.d",
            )
        if reference.kind == "registry" and (access.authorities or access.plain_http):
            authority = self._authority(access.authorities)
            client = storages.client(reference.registry, plain_http=access.plain_http, ca=authority)
            return _Cached(client.repository(reference.repository), self._cache)
        return _Cached(storages.open(reference).storage, self._cache)

    def check(self, access: Access) -> None:
        """Raise what is wrong with the Secret, though nothing is asked of the registry."""
        if access.secret:
            self._references.logins(access.secret)

    def _storages_for(self, secret: str) -> Storages:
        with self._lock:
            storages = self._storages.get(secret)
            if storages is None:
                logins = self._references.logins(secret) if secret else ()
                storages = self._storages[secret] = self._make(logins)
            return storages

    def _authority(self, paths: tuple[str, ...]) -> Path | None:
        if len(paths) > 1:
            raise Unsupported(
                "only one file may stand in additionalCACertificates",
                code="unsupported-option",
                hint="put the certificates into one PEM file: cat a.pem b.pem > all.pem",
            )
        return Path(paths[0]) if paths else None


class _Cached(CachedSource):
    """A repository through the blob cache; its tags are asked every time."""

    def __init__(self, origin: _Origin, cache: BlobCache) -> None:
        super().__init__(origin, cache)
        self._asked = origin

    def tags(self) -> Iterator[str]:
        """All tags (see `TagLister`)."""
        return self._asked.tags()

    def has(self, target: str) -> bool:
        """Whether this very repository has it (see `Repository`)."""
        try:
            self._asked.resolve(target)
        except (NotFound, Unauthorized, Denied):
            return False
        return True
