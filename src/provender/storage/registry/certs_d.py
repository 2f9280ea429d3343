"""`certs.d`: certificates by host, where Docker, the containers tools and containerd keep them (containers-certs.d(5)).

Registry layer, below the transport. `<root>/<host[:port]>/` holds `*.crt`, authorities that are trusted besides the
system's, and `NAME.cert` with `NAME.key`, which are shown to that host alone. Read, never written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from provender.errors import InvalidProject
from provender.storage.registry.origin import Origin
from provender.storage.registry.tls import TlsSettings

__all__ = ["CertificateDirectories"]

_SYSTEM_DIR: Final = Path("/etc")
_TLS_PORT: Final = 443
_MAX_FILES: Final = 256


class CertificateDirectories:
    """The directories of the user, then those of the system; the first one that a host has is its only one."""

    def __init__(self, environ: Mapping[str, str], *, system_dir: Path = _SYSTEM_DIR) -> None:
        home, config = environ.get("HOME", ""), environ.get("XDG_CONFIG_HOME", "")
        roots: list[Path] = []
        if Path(config).is_absolute() or home:
            base = Path(config) if Path(config).is_absolute() else Path(home) / ".config"
            roots += [base / "containers" / "certs.d", base / "docker" / "certs.d"]
        if home:
            roots.append(Path(home) / ".docker" / "certs.d")
        roots += [system_dir / "containers" / "certs.d", system_dir / "docker" / "certs.d"]
        self._roots = tuple(roots)

    def complete(self, settings: TlsSettings, origin: Origin) -> TlsSettings:
        """The settings with the authorities of the host, and with its client certificate unless they have one.

        Raises InvalidProject for a certificate without its key, or a key without its certificate.
        """
        directory = self.directory(origin)
        if directory is None:
            return settings
        names = sorted(os.listdir(directory))[:_MAX_FILES]
        authorities = tuple(str(directory / name) for name in names if name.endswith(".crt"))
        completed = msgspec.structs.replace(settings, authorities=(*settings.authorities, *authorities))
        stems = dict.fromkeys(name.rpartition(".")[0] for name in names if name.endswith((".cert", ".key")))
        for stem in stems:
            for present, wanted in ((".cert", ".key"), (".key", ".cert")):
                if f"{stem}{present}" in names and f"{stem}{wanted}" not in names:
                    raise InvalidProject(
                        f"the client certificate {stem!r} has no {stem}{wanted}",
                        code="invalid-certificate-file",
                        where=str(directory),
                        hint="a client certificate is NAME.cert with NAME.key; an authority is NAME.crt",
                    )
        if stems and settings.client_certificate is None:
            first = directory / next(iter(stems))
            completed = msgspec.structs.replace(
                completed, client_certificate=f"{first}.cert", client_key=f"{first}.key"
            )
        return completed

    def directory(self, origin: Origin) -> Path | None:
        """The directory of a host; None without one, or if it may not be read."""
        for root in self._roots:
            for name in _names(origin):
                path = root / name
                if path.is_dir() and os.access(path, os.R_OK | os.X_OK):
                    return path
        return None


def _names(origin: Origin) -> Iterator[str]:
    """The names that a host's directory may have; containerd writes `host_port_` where a colon cannot be."""
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    if origin.port == _TLS_PORT:
        yield host
    yield f"{host}:{origin.port}"
    yield f"{host}_{origin.port}_"
