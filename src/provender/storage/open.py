"""From a reference to its storage: the one place where aliases, mirrors, rewrites, paths and clients come together.

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
from provender.locations import Connection, Locations, Place, Route, Site
from provender.oci import Reference
from provender.storage.attempts import Health
from provender.storage.open_archives import OpenArchives, in_archive

if TYPE_CHECKING:
    from provender.storage.archive import ArchiveStorage
    from provender.storage.layout import LayoutStorage
    from provender.storage.mirrored import MirroredStorage
    from provender.storage.registry import (
        CredentialSource,
        Gates,
        HostLimits,
        HttpTransport,
        RegistryClient,
        RegistryRepository,
        RetryPolicy,
        Timing,
        Transport,
        UploadSettings,
    )
    from provender.storage.registry.origin import TrustedHosts
    from provender.storage.web import WebClient

__all__ = ["Opened", "Storages"]

_TRUSTED_REALMS = "PROVENDER_TRUSTED_REALMS"


class Opened(msgspec.Struct, frozen=True):
    """The storage of one reference. `reference` is as asked, `location` says for people where it really is.

    `storage` reads, from mirrors where there are some; `writable` is the location alone.
    """

    storage: RegistryRepository | LayoutStorage | ArchiveStorage | MirroredStorage
    reference: Reference
    location: str
    home: Callable[[], RegistryRepository | LayoutStorage | ArchiveStorage]
    is_remote: bool
    """It is read from a registry, or may be: neither a layout nor an archive."""

    @property
    def writable(self) -> RegistryRepository | LayoutStorage:
        """The storage of the location, with the abilities to write; Unsupported (`read-only`) for an archive."""
        from provender.storage.archive import ArchiveStorage

        storage = self.home()
        if isinstance(storage, ArchiveStorage):
            raise _read_only(self.reference, self.location)
        return storage


class _Peer(msgspec.Struct, frozen=True):
    """What one client is for: who asks the same host in the same way shares it."""

    host: str
    connection: Connection
    namespace: str | None = None
    is_patient: bool = True


class Storages:
    """Opens storages: one client for a registry, one transport and one set of gates for all, one object for a layout.

    `plain_http` outranks what locations say of themselves, not what is said of mirrors. With `is_offline` registries
    are refused. A transport that was given stays open at the end; our own is closed. Safe from several threads.
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
        limits: HostLimits | None = None,
        upload: UploadSettings | None = None,
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
        self._limits = limits
        self._upload = upload
        self._is_offline = is_offline
        self._warn = warn
        self._debug = debug
        self._own_transport: HttpTransport | None = None
        self._gates: Gates | None = None
        self._health = Health()
        self._clients: dict[_Peer, RegistryClient] = {}
        self._layouts: dict[Path, LayoutStorage] = {}
        self._archives = OpenArchives(environ)
        self._lock = threading.RLock()

    @property
    def locations(self) -> Locations:
        """Where logical registries are."""
        return self._locations

    def open(self, reference: Reference, *, create: bool = False, connection: Connection | None = None) -> Opened:
        """The storage that has the repository of `reference`; nothing is asked of a registry yet.

        Reads go to the mirrors first, if there are some. With `create`, which is for writing, there are none, a layout
        or a repository of a store is made if it is not there, and an archive is refused. Raises NotFound for a layout
        that is not there, InvalidProject for an alias without location, Denied for a blocked host.

        `connection` is what the caller knows of speaking to the location, besides what is configured; mirrors have
        settings of their own.
        """
        wish = connection or Connection()
        try:
            if create:
                return self._at(self._locations.place(reference), reference, wish, create=True)
            route = self._locations.route(reference)
            if route.is_direct:
                return self._at(route.location, reference, wish, create=False)
            return self._mirrored(route, reference, wish)
        except ProvenderError as error:
            error.at(str(reference))
            raise

    def client(
        self, host: str, *, plain_http: bool | None = None, connection: Connection | None = None
    ) -> RegistryClient:
        """The client of the registry at `host`, shared by everything that asks with the same settings."""
        connection = connection or Connection(plain_http=plain_http)
        if self._plain_http is not None:
            connection = msgspec.structs.replace(connection, plain_http=self._plain_http)
        return self._client(_Peer(host.lower(), connection))

    def web(self) -> WebClient:
        """A client for what is no registry, over the same connections and with the same bounds for each host."""
        from provender.storage.web import WebClient

        with self._lock:
            return WebClient(
                self._shared_transport(), policy=self._policy, timing=self._timing, gates=self._shared_gates()
            )

    def close(self) -> None:
        """Close connections of our own transport, and archives; what was opened is not to be used any more.

        A layout that was made for writing, and got nothing, is taken away again.
        """
        with self._lock:
            transport, self._own_transport = self._own_transport, None
            layouts = list(self._layouts.values())
            self._clients.clear()
            self._layouts.clear()
        for layout in layouts:
            layout.withdraw()
        self._archives.close()
        if transport is not None:
            transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    def _at(self, place: Place, reference: Reference, wish: Connection, *, create: bool) -> Opened:
        storage = self._storage(_wished(place, wish), reference, create=create)
        return Opened(storage, reference, str(place), lambda: storage, is_remote=place.host is not None)

    def _mirrored(self, route: Route, reference: Reference, wish: Connection) -> Opened:
        from provender.storage.mirrored import MirroredStorage, Source

        sites = [site for site in route.sites if site.place.host is None or not self._is_offline]
        if not sites:
            raise _offline(route.sites[0].place)

        def source(site: Site, *, is_last: bool) -> Source:
            def storage() -> RegistryRepository | LayoutStorage | ArchiveStorage:
                place = _wished(site.place, wish) if site.is_location else site.place
                return self._storage(place, reference, create=False, is_patient=is_last, is_mirror=not site.is_location)

            return Source(
                name=str(site.place),
                host=site.place.host or str(site.place),
                open=storage,
                resolves_tags=site.resolves_tags,
                serves_digests=site.serves_digests,
                is_location=site.is_location,
            )

        # Where somebody else can be asked, nobody is waited for.
        sources = [source(site, is_last=site is sites[-1]) for site in sites]
        return Opened(
            MirroredStorage(reference.name, sources, health=self._health, warn=self._warn),
            reference,
            str(route.location),
            lambda: self._storage(_wished(self._locations.place(reference), wish), reference, create=False),
            is_remote=True,
        )

    def _storage(
        self,
        place: Place,
        reference: Reference,
        *,
        create: bool,
        is_patient: bool = True,
        is_mirror: bool = False,
    ) -> RegistryRepository | LayoutStorage | ArchiveStorage:
        if place.host is not None:
            if self._is_offline:
                raise _offline(place)
            connection = place.connection
            if self._plain_http is not None and not is_mirror:
                connection = msgspec.structs.replace(connection, plain_http=self._plain_http)
            self._tell_of_plain_http(place)
            peer = _Peer(place.host.lower(), connection, place.namespace, is_patient)
            return self._client(peer).repository(place.repository)
        if place.store is not None:
            return self._in_store(place.store, place.repository, create=create)
        path = place.layout or Path(reference.registry)
        archive, repository = in_archive(path)
        if archive is not None:
            if create:
                raise _read_only(reference, str(place))
            return self._archives.open(archive, repository)
        return self._layout(path, create=create)

    def _tell_of_plain_http(self, place: Place) -> None:
        """Say once that a file of other tools took TLS away: nobody told provender so itself."""
        from provender.storage.registry.origin import Origin, is_local

        origin = place.origin
        if origin is None or origin.source not in ("registries-conf", "hosts-toml") or self._warn is None:
            return
        if not place.connection.plain_http or place.host is None or is_local(Origin.of(f"http://{place.host}/").host):
            return
        if self._health.is_new(place.host, "plain-http"):
            self._warn(f"{place.host} is asked without TLS, as {origin} says")

    def _client(self, peer: _Peer) -> RegistryClient:
        from provender.storage.registry import RegistryClient
        from provender.storage.registry.tls import TlsSettings

        with self._lock:
            client = self._clients.get(peer)
            if client is not None:
                return client
            gates = self._shared_gates()
            speaking = peer.connection
            client = RegistryClient(
                peer.host,
                transport=self._shared_transport(),
                credentials=self._shared_credentials(),
                plain_http=speaking.plain_http,
                tls=TlsSettings(
                    _text(speaking.ca),
                    _text(speaking.client_certificate),
                    _text(speaking.client_key),
                    tuple(str(path) for path in speaking.authorities),
                    speaking.is_unverified,
                ),
                patience_s=speaking.patience_s,
                policy=self._policy if peer.is_patient else _hurried(self._policy),
                timing=self._timing,
                gates=gates,
                namespace=peer.namespace,
                upload=self._upload,
                trusted_realms=_trusted_realms(self._environ),
                warn=self._warn,
                lock_root=self._lock_root,
            )
            self._clients[peer] = client
            return client

    def _lock_root(self) -> Path:
        from provender.storage.cache import default_cache_root

        return default_cache_root(self._environ)

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

    def _shared_gates(self) -> Gates:
        if self._gates is None:
            from provender.storage.registry import Gates

            self._gates = Gates(self._limits, self._timing)
        return self._gates

    def _shared_credentials(self) -> CredentialSource:
        if self._credentials is None:
            from provender.storage.registry import CredentialStore

            self._credentials = CredentialStore(self._environ)
        return self._credentials


def _hurried(policy: RetryPolicy | None) -> RetryPolicy:
    """The policy for a source that has another one behind it: one more try for a hiccup, no waiting."""
    from provender.storage.registry import RetryPolicy

    policy = policy or RetryPolicy()
    return msgspec.structs.replace(
        policy,
        tries=min(policy.tries, 2),
        first_tries=1,
        base_s=min(policy.base_s, 0.25),
        budget_s=min(policy.budget_s, 1),
        asked_budget_s=0,
    )


def _trusted_realms(environ: Mapping[str, str]) -> TrustedHosts:
    from provender.storage.registry.origin import TrustedHosts

    hosts = environ.get(_TRUSTED_REALMS, "").split(",")
    return TrustedHosts([host.strip() for host in hosts if host.strip()], where=f"the variable {_TRUSTED_REALMS}")


def _wished(place: Place, wish: Connection) -> Place:
    """The place, spoken to as is configured and as is wished for besides."""
    if wish == Connection():
        return place
    found = place.connection
    connection = msgspec.structs.replace(
        found,
        plain_http=found.plain_http if wish.plain_http is None else wish.plain_http,
        authorities=(*found.authorities, *wish.authorities),
        is_unverified=found.is_unverified or wish.is_unverified,
        patience_s=max(found.patience_s, wish.patience_s),
    )
    return msgspec.structs.replace(place, connection=connection)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _offline(place: Place) -> Unavailable:
    return Unavailable(
        f"{place.host} may not be asked: this run is offline",
        code="offline",
        exit_status=69,
        retryable=False,
        hint="run once without --offline, so that the content is cached, or bind the registry to a layout",
    )


def _read_only(reference: Reference, location: str) -> Unsupported:
    return Unsupported(
        f"{location} is an archive, which is only read",
        code="read-only",
        where=str(reference),
        hint="name a directory for the layout, and pack it afterwards",
    )
