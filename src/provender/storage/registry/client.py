"""The client of one registry: where it is, how it is spoken to, and its repositories.

Registry layer, top. Collaborators come in through the constructor: transport, credentials, clocks and sleep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from provender.errors import Denied, InvalidReference, NotFound, Unsupported
from provender.oci.reference import check_repository
from provender.storage.registry.auth import Authorizer
from provender.storage.registry.capabilities import Capabilities
from provender.storage.registry.credentials import CredentialSource
from provender.storage.registry.gate import Gates
from provender.storage.registry.listing import list_names
from provender.storage.registry.origin import NO_HOSTS, TrustedHosts, registry_origin
from provender.storage.registry.quirks import HostQuirks, host_quirks
from provender.storage.registry.repository import RegistryRepository
from provender.storage.registry.retry import RetryPolicy, Timing
from provender.storage.registry.scopes import CATALOG
from provender.storage.registry.session import Call, Session
from provender.storage.registry.tag_locks import TagLocks
from provender.storage.registry.tls import TlsSettings
from provender.storage.registry.tokens import TokenService
from provender.storage.registry.transport import Transport
from provender.storage.registry.upload_sizes import UploadSettings
from provender.storage.registry.wire import Wire

__all__ = ["RegistryClient"]


class RegistryClient:
    """Speaks to the registry at `host` (`name[:port]`). One client for a host and a run: it remembers tokens.

    `plain_http` None means http for this machine and https for all others. `tls` is what the registry needs besides the
    system's trust; a client certificate is shown to the registry alone. `patience_s` is how long it may say nothing,
    where that is longer than the transport's own limit. `namespace` is the host on whose behalf a mirror is
    asked (`ns`). `trusted_realms` are token services that may have any address. `quirks` are those of the host unless
    given. `gates` are those of the process. `warn` receives each warning once. Processes with the same `lock_root`, a
    directory, edit a fallback tag one after the other.
    """

    def __init__(
        self,
        host: str,
        *,
        transport: Transport,
        credentials: CredentialSource,
        plain_http: bool | None = None,
        tls: TlsSettings | None = None,
        patience_s: float = 0,
        policy: RetryPolicy | None = None,
        timing: Timing | None = None,
        gates: Gates | None = None,
        namespace: str | None = None,
        upload: UploadSettings | None = None,
        quirks: HostQuirks | None = None,
        trusted_realms: TrustedHosts = NO_HOSTS,
        warn: Callable[[str], None] | None = None,
        lock_root: Callable[[], Path] | None = None,
    ) -> None:
        self.host = host
        self._quirks = quirks or host_quirks(host)
        self._namespace = namespace
        self._upload = upload or UploadSettings()
        timing = timing or Timing()
        self._capabilities = Capabilities(timing.monotonic)
        self._locks = TagLocks(lock_root)
        registry = registry_origin(self._quirks.api_host or host, plain_http)
        warn = warn or _ignore
        wire = Wire(
            transport,
            registry,
            tls=tls or TlsSettings(),
            patience_s=patience_s,
            policy=policy or RetryPolicy(),
            timing=timing,
            gates=gates,
            announce=lambda text: warn(f"{host}: {text}"),
        )
        authorizer = Authorizer(
            host,
            registry,
            credentials=credentials,
            tokens=TokenService(wire, host, trusted_realms),
            monotonic=timing.monotonic,
            warn=warn,
            trusted_realms=trusted_realms,
        )
        self._session = Session(host, registry, wire=wire, authorizer=authorizer, warn=warn)

    def ping(self) -> bool:
        """True if a registry answers here and took the credentials, False if it asked for none.

        Else raises the error that says what is wrong.
        """
        call = Call(method="GET", path="/v2/", where=self.host, ok=(200, 404))
        answer = self._session.ask(call)
        if answer.is_page or answer.status == 404:
            raise self._session.no_registry(answer, call)
        return self._session.is_challenged

    def repository(self, name: str) -> RegistryRepository:
        """A repository of this registry; nothing is asked yet."""
        check_repository(name)
        api_name = name
        if self._quirks.namespace is not None and "/" not in name:
            api_name = f"{self._quirks.namespace}/{name}"
        return RegistryRepository(
            self._session,
            name,
            api_name,
            namespace=self._namespace,
            quirks=self._quirks,
            upload=self._upload,
            capabilities=self._capabilities,
            locks=self._locks,
        )

    def repositories(self) -> Iterator[str]:
        """Every repository that the registry lists in its catalog; Unsupported (`no-catalog`) where it has none."""
        call = Call(method="GET", path="/v2/_catalog", where=self.host, scopes=CATALOG)
        try:
            yield from list_names(self._session, call, "repositories", _is_repository)
        except (NotFound, Unsupported, Denied) as error:
            if isinstance(error, Denied) and error.code != "denied":
                raise
            raise Unsupported(
                f"{self.host} does not list its repositories here: {error.message}",
                code="no-catalog",
                where=self.host,
                hint="name the repositories; Docker Hub, GHCR and others list them in their own APIs only",
            ) from error


def _is_repository(name: str) -> bool:
    try:
        check_repository(name)
    except InvalidReference:
        return False
    return True


def _ignore(text: str) -> None:
    """Nobody wants the warnings."""
