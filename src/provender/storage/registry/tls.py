"""TLS contexts: whose certificates are trusted, and which one we show.

Registry layer, below the transport. Trust comes from the variables that every tool honours, else from the system
(truststore); a registry's own `ca` file is trusted besides.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from provender.errors import InvalidProject

if TYPE_CHECKING:
    import ssl

__all__ = ["TlsSettings", "tls_context", "trust_variables"]

_FILES: Final = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_DIRECTORY: Final = "SSL_CERT_DIR"


class TlsSettings(msgspec.Struct, frozen=True):
    """What one registry needs besides the system's trust: PEM files by path."""

    ca: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None
    authorities: tuple[str, ...] = ()
    """More that are trusted: named for this registry, and of its host's certs.d."""
    is_unverified: bool = False
    """Any certificate is taken: only for who asked for just that, by its name."""

    @property
    def elsewhere(self) -> TlsSettings:
        """The settings for other hosts that this registry sends us to: its CAs, but never our client certificate."""
        return msgspec.structs.replace(self, client_certificate=None, client_key=None)


def tls_context(settings: TlsSettings, environ: Mapping[str, str]) -> ssl.SSLContext:
    """A client context, verifying unless it is not to. InvalidProject names the file that cannot be used."""
    import ssl

    context = _trusting_anyone() if settings.is_unverified else _trusting(environ)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.ca is not None:
        _load(context, settings.ca, "the registry's `ca` setting")
    for path in settings.authorities:
        _load(context, path, "what the registry's certificate is to be signed by")
    if settings.client_certificate is not None:
        try:
            context.load_cert_chain(settings.client_certificate, settings.client_key, password=_no_password)
        except InvalidProject as error:
            raise error.at(settings.client_key or settings.client_certificate) from None
        except (OSError, ssl.SSLError) as error:
            raise _unusable(settings.client_certificate, "the registry's client certificate", error) from error
    return context


def _no_password() -> str:
    """Asked for with an encrypted key alone: OpenSSL would ask on the terminal, and wait."""
    raise InvalidProject(
        "the key of a client certificate is encrypted, which nobody can be asked for here",
        code="encrypted-key",
        hint="keep the key decrypted and readable for you alone: openssl pkey -in old.key -out new.key",
    )


def trust_variables(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """The variables that name whom to trust in place of the system's authorities, with their values.

    The first file wins, as in other tools; SSL_CERT_DIR adds to it.
    """
    files = [(name, environ[name]) for name in _FILES if environ.get(name)][:1]
    return [*files, *((name, environ[name]) for name in (_DIRECTORY,) if environ.get(name))]


def _trusting_anyone() -> ssl.SSLContext:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _trusting(environ: Mapping[str, str]) -> ssl.SSLContext:
    import ssl

    named = trust_variables(environ)
    if not named:
        import truststore

        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for name, path in named:
        for part in path.split(os.pathsep) if name == _DIRECTORY else (path,):
            _load(context, part, f"the variable {name}")
    return context


def _load(context: ssl.SSLContext, path: str, origin: str) -> None:
    import ssl

    try:
        if os.path.isdir(path):
            context.load_verify_locations(capath=path)
        else:
            context.load_verify_locations(cafile=path)
    except (OSError, ssl.SSLError) as error:
        raise _unusable(path, origin, error) from error


def _unusable(path: str, origin: str, error: OSError) -> InvalidProject:
    reason = getattr(error, "strerror", None) or getattr(error, "reason", None) or "not a PEM file"
    return InvalidProject(
        f"{origin} names a certificate file that cannot be used: {reason}",
        code="invalid-certificate-file",
        where=path,
        hint="name a readable PEM file",
    )
