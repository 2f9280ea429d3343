"""Clients for test registries whose clocks do not wait."""

from __future__ import annotations

from provender.storage.registry import (
    Credential,
    CredentialSource,
    FixedCredential,
    HttpTransport,
    NoCredentials,
    RegistryClient,
    RetryPolicy,
    Timing,
    UploadSettings,
)
from provender.storage.registry.quirks import HostQuirks
from support.registry import TestRegistry

__all__ = ["Connector"]


class Connector:
    """Makes clients for test registries; keeps what they slept, warned of and logged."""

    def __init__(self) -> None:
        self.sleeps: list[float] = []
        self.warnings: list[str] = []
        self.lines: list[str] = []
        self.time = 1_000_000.0
        self.transport = HttpTransport({}, read_timeout_s=20, debug=self.lines.append)

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
    ) -> RegistryClient:
        return RegistryClient(
            registry.host,
            transport=self.transport,
            credentials=credentials or NoCredentials(),
            plain_http=registry.tls is None,
            ca=ca,
            policy=policy,
            namespace=namespace,
            upload=upload,
            quirks=quirks,
            timing=Timing(
                sleep=self._sleep, monotonic=lambda: self.time, now=lambda: self.time, jitter=lambda most: most
            ),
            warn=self.warnings.append,
        )

    def user(self, registry: TestRegistry) -> FixedCredential:
        """The registry's own user."""
        return FixedCredential(
            registry.host, Credential(username=registry.username, secret=registry.password, source="the test")
        )

    def _sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.time += seconds
