"""Clients for test registries whose clocks do not wait."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from provender.storage.registry import (
    Credential,
    CredentialSource,
    FixedCredential,
    Gates,
    HttpTransport,
    NoCredentials,
    RegistryClient,
    RegistryRepository,
    RetryPolicy,
    Timing,
    UploadSettings,
)
from provender.storage.registry.network import Network
from provender.storage.registry.origin import TrustedHosts
from provender.storage.registry.quirks import HostQuirks
from provender.storage.registry.tls import TlsSettings
from support.registry import TestRegistry

__all__ = ["Connector", "Repositories"]


class Connector:
    """Makes clients for test registries; keeps what they slept, warned of and logged.

    `on_sleep` is called behind each sleep: for what happens in the registry meanwhile.
    """

    def __init__(self, network: Network | None = None) -> None:
        self.on_sleep: Callable[[], object] = lambda: None
        self.sleeps: list[float] = []
        self.warnings: list[str] = []
        self.lines: list[str] = []
        self.time = 1_000_000.0
        self.transport = HttpTransport({}, read_timeout_s=20, debug=self.lines.append, network=network)

    def __call__(
        self,
        registry: TestRegistry,
        credentials: CredentialSource | None = None,
        *,
        policy: RetryPolicy | None = None,
        ca: str | None = None,
        namespace: str | None = None,
        upload: UploadSettings | None = None,
        quirks: HostQuirks | None = None,
        gates: Gates | None = None,
        host: str | None = None,
        trusted_realms: tuple[str, ...] = (),
        lock_root: Callable[[], Path] | None = None,
    ) -> RegistryClient:
        return RegistryClient(
            host or registry.host,
            transport=self.transport,
            credentials=credentials or NoCredentials(),
            plain_http=registry.tls is None,
            tls=TlsSettings(ca),
            policy=policy,
            namespace=namespace,
            upload=upload,
            quirks=quirks,
            gates=gates,
            trusted_realms=TrustedHosts(trusted_realms),
            timing=self.timing,
            warn=self.warnings.append,
            lock_root=lock_root,
        )

    @property
    def timing(self) -> Timing:
        """The clocks of the clients: the time goes on by sleeping alone."""
        return Timing(sleep=self._sleep, monotonic=lambda: self.time, now=lambda: self.time, jitter=lambda most: most)

    def user(self, registry: TestRegistry) -> FixedCredential:
        """The registry's own user."""
        return FixedCredential(
            registry.host, Credential(username=registry.username, secret=registry.password, source="the test")
        )

    def _sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.time += seconds
        self.on_sleep()


class Repositories:
    """Gives repositories of test registries, each by a client of its own; `close` ends their connections."""

    def __init__(self) -> None:
        self._connectors: list[Connector] = []

    def __call__(self, registry: TestRegistry, name: str = "acme/copy") -> RegistryRepository:
        return self.client(registry).repository(name)

    def client(self, registry: TestRegistry) -> RegistryClient:
        """A new client."""
        self._connectors.append(Connector())
        return self._connectors[-1](registry)

    def close(self) -> None:
        for connector in self._connectors:
            connector.transport.close()
