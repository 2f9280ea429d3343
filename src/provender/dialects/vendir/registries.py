"""Repositories of registries, opened with the Secret and the TLS settings that contents name."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from provender.dialects.vendir.secrets import Login, References
from provender.errors import Unsupported
from provender.oci import Reference

if TYPE_CHECKING:
    from provender.dialects.vendir.repository import Repository
    from provender.storage.cache import BlobCache
    from provender.storage.open import Storages

__all__ = ["Access", "Registries"]


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """How contents want their registry to be spoken to."""

    secret: str = ""
    plain_http: bool | None = None
    skips_tls_verify: bool = False
    authorities: tuple[str, ...] = ()


class Registries:
    """Opens repositories; `make` gives storages with these logins, and closes them itself at the end of the run."""

    def __init__(
        self, references: References, cache: Callable[[], BlobCache], make: Callable[[tuple[Login, ...]], Storages]
    ) -> None:
        self._references = references
        self._cache = cache
        self._make = make
        self._storages: dict[str, Storages] = {}
        self._lock = threading.Lock()

    def open(self, reference: Reference, access: Access) -> Repository:
        """The repository of `reference`, whose documents and blobs are not asked for twice."""
        from provender.dialects.vendir.repository import CachedRepository

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
            return CachedRepository(client.repository(reference.repository), self._cache())
        return CachedRepository(storages.open(reference).storage, self._cache())

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
