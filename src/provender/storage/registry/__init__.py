"""The registry backend: the distribution API over HTTP, with the ecosystem's credentials. Names are loaded on use."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provender.storage.registry.client import RegistryClient
    from provender.storage.registry.credential_store import CredentialStore
    from provender.storage.registry.credentials import Credential, CredentialSource, FixedCredential, NoCredentials
    from provender.storage.registry.gate import Gates, HostLimits
    from provender.storage.registry.http_transport import HttpTransport
    from provender.storage.registry.repository import RegistryRepository
    from provender.storage.registry.retry import RetryPolicy, Timing
    from provender.storage.registry.transport import Transport
    from provender.storage.registry.upload_sizes import UploadSettings

__all__ = [
    "Credential",
    "CredentialSource",
    "CredentialStore",
    "FixedCredential",
    "Gates",
    "HostLimits",
    "HttpTransport",
    "NoCredentials",
    "RegistryClient",
    "RegistryRepository",
    "RetryPolicy",
    "Timing",
    "Transport",
    "UploadSettings",
]

_MODULES = {
    "Credential": "credentials",
    "CredentialSource": "credentials",
    "CredentialStore": "credential_store",
    "FixedCredential": "credentials",
    "Gates": "gate",
    "HostLimits": "gate",
    "HttpTransport": "http_transport",
    "NoCredentials": "credentials",
    "RegistryClient": "client",
    "RegistryRepository": "repository",
    "RetryPolicy": "retry",
    "Timing": "retry",
    "Transport": "transport",
    "UploadSettings": "upload_sizes",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
