"""Repositories of registries, opened with the Secret and the TLS settings that contents name."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from provender.dialects.vendir.secrets import Login, References
from provender.errors import ProvenderError, Unavailable
from provender.locations import Connection
from provender.oci import Reference

if TYPE_CHECKING:
    from provender.dialects.vendir.repository import Repository
    from provender.storage.cache import BlobCache
    from provender.storage.open import Storages
    from provender.storage.registry import RegistryClient

__all__ = ["Access", "Registries"]

_MOST_PATIENCE_S: Final = 3600


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """How contents want their registry to be spoken to."""

    secret: str = ""
    plain_http: bool | None = None
    skips_tls_verify: bool = False
    authorities: tuple[str, ...] = ()
    patience_s: int = 0
    """How long the registry may let wait for an answer, where that is longer than usual."""

    @property
    def connection(self) -> Connection:
        """The same for storages."""
        return Connection(
            plain_http=self.plain_http,
            authorities=tuple(Path(each) for each in self.authorities),
            is_unverified=self.skips_tls_verify,
            patience_s=min(max(self.patience_s, 0), _MOST_PATIENCE_S),
        )


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
        self._trying = threading.Lock()
        self._plain: dict[str, bool] = {}

    def open(self, reference: Reference, access: Access) -> Repository:
        """The repository of `reference`, whose documents and blobs are not asked for twice."""
        from provender.dialects.vendir.repository import CachedRepository

        storages = self._storages_for(access.secret)
        connection = self._connection(storages, reference, access)
        return CachedRepository(storages.open(reference, connection=connection).storage, self._cache())

    def check(self, access: Access) -> None:
        """Raise what is wrong with the Secret, though nothing is asked of the registry."""
        if access.secret:
            self._references.logins(access.secret)

    def _connection(self, storages: Storages, reference: Reference, access: Access) -> Connection:
        """How to speak to the registry: where TLS has settings, it is tried on this machine too, as in vendir."""
        connection = access.connection
        has_tls_settings = access.skips_tls_verify or access.authorities
        if reference.kind != "registry" or access.plain_http is not None or not has_tls_settings:
            return connection
        from provender.storage.registry.origin import Origin, is_local

        if not is_local(Origin.of(f"https://{reference.registry}/").host):
            return connection
        secured = msgspec.structs.replace(connection, plain_http=False)
        if access.authorities:
            return secured
        with self._trying:
            if reference.registry not in self._plain:
                self._plain[reference.registry] = not _answers(storages.client(reference.registry, connection=secured))
            return connection if self._plain[reference.registry] else secured

    def _storages_for(self, secret: str) -> Storages:
        with self._lock:
            storages = self._storages.get(secret)
            if storages is None:
                logins = self._references.logins(secret) if secret else ()
                storages = self._storages[secret] = self._make(logins)
            return storages


def _answers(client: RegistryClient) -> bool:
    try:
        client.ping()
    except Unavailable:
        return False
    except ProvenderError:
        return True  # it speaks TLS; what is wrong is told when it is asked for content
    return True
