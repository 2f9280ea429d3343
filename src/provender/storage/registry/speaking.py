"""How a host would be spoken to: its address, the proxy, whose certificates are trusted, and which one is shown.

Registry layer, beside the transport, which decides by the same functions. Nothing is asked and no certificate is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from provender.errors import InvalidProject
from provender.storage.registry.certs_d import CertificateDirectories
from provender.storage.registry.origin import registry_origin
from provender.storage.registry.proxies import proxy_for
from provender.storage.registry.quirks import host_quirks
from provender.storage.registry.redact import shown_url
from provender.storage.registry.tls import TlsSettings, trust_variables

__all__ = ["SYSTEM", "Speaking", "TlsItem", "speaking_to"]

SYSTEM = "the system's"


class TlsItem(msgspec.Struct, frozen=True):
    """One thing of a TLS connection, and which setting it comes from."""

    kind: Literal["authorities", "client certificate", "client key"]
    value: str
    set_by: str


class Speaking(msgspec.Struct, frozen=True):
    """How a host is spoken to. `certificates` is its directory of certs.d; `problem` what makes it impossible."""

    address: str
    proxy: str | None
    certificates: Path | None = None
    tls: tuple[TlsItem, ...] = ()
    problem: str | None = None


def speaking_to(host: str, settings: TlsSettings, *, plain_http: bool | None, environ: Mapping[str, str]) -> Speaking:
    """How the registry at `host` is spoken to with the settings that a location or a mirror has for it."""
    origin = registry_origin(host_quirks(host).api_host or host, plain_http)
    proxy = proxy_for(f"{origin}/", environ)
    shown = Speaking(str(origin), None if proxy is None else shown_url(proxy))
    if origin.scheme != "https":
        return shown
    directories = CertificateDirectories(environ)
    directory = directories.directory(origin)
    problem, completed = None, settings
    try:
        completed = directories.complete(settings, origin)
    except InvalidProject as error:
        problem = f"{error.message} ({error.where})"
    tls = (*_authorities(completed, environ), *_shown(settings, completed))
    return msgspec.structs.replace(shown, certificates=directory, tls=tls, problem=problem)


def _authorities(settings: TlsSettings, environ: Mapping[str, str]) -> list[TlsItem]:
    items = [TlsItem("authorities", path, name) for name, path in trust_variables(environ)]
    if not items:
        items.append(TlsItem("authorities", SYSTEM, "default"))
    if settings.ca is not None:
        items.append(TlsItem("authorities", settings.ca, "ca"))
    return [*items, *(TlsItem("authorities", path, "certs.d") for path in settings.authorities)]


def _shown(settings: TlsSettings, completed: TlsSettings) -> list[TlsItem]:
    set_by = "client" if settings.client_certificate is not None else "certs.d"
    items: list[TlsItem] = []
    if completed.client_certificate is not None:
        items.append(TlsItem("client certificate", completed.client_certificate, set_by))
    if completed.client_key is not None:
        items.append(TlsItem("client key", completed.client_key, set_by))
    return items
