"""From a reference to its storage: the one place where aliases, rewrites, paths and clients come together.

Top of the storage layer. Backends are imported when a reference needs them: a project of layouts never loads HTTP.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import msgspec

from provender.errors import ProvenderError, Unavailable, Unsupported
from provender.locations import Locations, Place
from provender.oci import Reference

if TYPE_CHECKING:
    from provender.storage.archive import ArchiveStorage
    from provender.storage.layout import LayoutStorage
    from provender.storage.registry import (
        CredentialSource,
        Gates,
        HttpTransport,
        RegistryClient,
        RegistryRepository,
        RetryPolicy,
        Timing,
        Transport,
    )

__all__ = ["Opened", "Storages"]


class Opened(msgspec.Struct, frozen=True):
    """The storage of one reference. `reference` is as asked, `location` says for people where the bytes really are."""

    storage: RegistryRepository | LayoutStorage | ArchiveStorage
    reference: Reference
    location: str

    @property
    def writable(self) -> RegistryRepository | LayoutStorage:
        """The storage with the abilities to write; Unsupported (`read-only`) for an archive."""
        from provender.storage.archive import ArchiveStorage

        if isinstance(self.storage, ArchiveStorage):
            raise _read_only(self.reference, self.location)
        return self.storage


class Storages:
    """Opens storages: one client for a registry, one transport and one set of gates for all, one object for a layout.

    `plain_http` outranks what locations say. With `is_offline` registries are refused. A transport that was
    given stays open at the end; our own is closed. Safe from several threads.
    """

    def __init__(
        self,
        locations: Locations,
        *,
        environ: Mapping[str, str],
        plain_http: bool | None = None,
        credentials: CredentialSource | None = None,
        transport: Transport | None = None,
        policy: RetryPolicy | None = None,
        timing: Timing | None = None,
        concurrency: int = 16,
        is_offline: bool = False,
        warn: Callable[[str], None] | None = None,
        debug: Callable[[str], None] | None = None,
    ) -> None:
        self._locations = locations
        self._environ = environ
        self._plain_http = plain_http
        self._credentials = credentials
        self._transport = transport
        self._policy = policy
        self._timing = timing
        self._concurrency = concurrency
        self._is_offline = is_offline
        self._warn = warn
        self._debug = debug
        self._own_transport: HttpTransport | None = None
        self._gates: Gates | None = None
        self._clients: dict[tuple[str, bool | None, Path | None], RegistryClient] = {}
        self._layouts: dict[Path, LayoutStorage] = {}
        self._lock = threading.RLock()

    @property
    def locations(self) -> Locations:
        """Where logical registries are."""
        return self._locations

    def open(self, reference: Reference, *, create: bool = False) -> Opened:
        """The storage that has the repository of `reference`; nothing is asked of a registry yet.

        With `create` a layout, or a repository of a store, is made if there is none, and an archive is refused.
        Raises NotFound for a layout that is not there, InvalidProject for an alias without location, Denied for a
        blocked host.
        """
        place = self._locations.place(reference)
        try:
            return Opened(self._storage(place, reference, create=create), reference, str(place))
        except ProvenderError as error:
            error.at(str(reference))
            raise

    def client(self, host: str, *, plain_http: bool | None = None, ca: Path | None = None) -> RegistryClient:
        """The client of the registry at `host`, shared by everything that asks with the same settings."""
        from provender.storage.registry import Gates, RegistryClient

        if self._plain_http is not None:
            plain_http = self._plain_http
        key = (host.lower(), plain_http, ca)
        with self._lock:
            client = self._clients.get(key)
            if client is None:
                self._gates = self._gates or Gates(timing=self._timing)
                client = RegistryClient(
                    host.lower(),
                    transport=self._shared_transport(),
                    credentials=self._shared_credentials(),
                    plain_http=plain_http,
                    ca=None if ca is None else str(ca),
                    policy=self._policy,
                    timing=self._timing,
                    gates=self._gates,
                    warn=self._warn,
                )
                self._clients[key] = client
            return client

    def close(self) -> None:
        """Close the connections of our own transport; what was opened is not to be used any more."""
        with self._lock:
            transport, self._own_transport = self._own_transport, None
            self._clients.clear()
            self._layouts.clear()
        if transport is not None:
            transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    def _storage(
        self, place: Place, reference: Reference, *, create: bool
    ) -> RegistryRepository | LayoutStorage | ArchiveStorage:
        if place.host is not None and self._is_offline:
            raise Unavailable(
                f"{place.host} may not be asked: this run is offline",
                code="offline",
                exit_status=69,
                retryable=False,
                hint="run once without --offline, so that the content is cached, or bind the registry to a layout",
            )
        if place.host is not None:
            return self.client(place.host, plain_http=place.plain_http, ca=place.ca).repository(place.repository)
        if place.store is not None:
            return self._in_store(place.store, place.repository, create=create)
        path = place.layout or Path(reference.registry)
        if path.is_file():
            if create:
                raise _read_only(reference, str(place))
            from provender.storage.archive import ArchiveStorage

            return ArchiveStorage(path)
        return self._layout(path, create=create)

    def _in_store(self, store: Path, repository: str, *, create: bool) -> LayoutStorage:
        from provender.storage.roots import StoreRoot

        return self._remembered(store / repository, lambda: StoreRoot(store).repository(repository, create=create))

    def _layout(self, path: Path, *, create: bool) -> LayoutStorage:
        from provender.storage.layout import LayoutStorage

        return self._remembered(path, lambda: LayoutStorage(path, create=create))

    def _remembered(self, path: Path, make: Callable[[], LayoutStorage]) -> LayoutStorage:
        """One object for each directory, so that threads share its lock and what it read."""
        with self._lock:
            storage = self._layouts.get(path)
            if storage is None or not path.is_dir():
                storage = make()
                self._layouts[path] = storage
            return storage

    def _shared_transport(self) -> Transport:
        if self._transport is not None:
            return self._transport
        if self._own_transport is None:
            from provender.storage.registry import HttpTransport

            self._own_transport = HttpTransport(self._environ, concurrency=self._concurrency, debug=self._debug)
        return self._own_transport

    def _shared_credentials(self) -> CredentialSource:
        if self._credentials is None:
            from provender.storage.registry import CredentialStore

            self._credentials = CredentialStore(self._environ)
        return self._credentials


def _read_only(reference: Reference, location: str) -> Unsupported:
    return Unsupported(
        f"{location} is an archive, which is only read",
        code="read-only",
        where=str(reference),
        hint="name a directory for the layout, and pack it afterwards",
    )
