"""Credentials: what a registry may be shown, and the seam through which the client asks for them.

Registry layer. The files and helpers of the ecosystem are read in `credential_store.py`.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

__all__ = ["Credential", "CredentialSource", "FixedCredential", "NoCredentials"]


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """User name and secret, or an identity token (for the token service), or a registry token (sent as it is).

    `source` says for people where it came from; secrets never show in a representation.
    """

    username: str = ""
    secret: str = ""
    identity_token: str = ""
    registry_token: str = ""
    source: str = "the command line"

    @property
    def is_empty(self) -> bool:
        """True for a placeholder without any secret."""
        return not (self.secret or self.identity_token or self.registry_token)

    def __repr__(self) -> str:
        return f"Credential(username={self.username!r}, source={self.source!r})"


class CredentialSource(Protocol):
    """Knows credentials by host and repository."""

    def lookup(self, host: str, repository: str | None = None) -> Credential | None:
        """The credential for a repository of a host, the most specific one; None without one."""
        ...


class FixedCredential:
    """One credential for one host, for example to check it before it is stored."""

    def __init__(self, host: str, credential: Credential) -> None:
        self._host = host
        self._credential = credential

    def lookup(self, host: str, repository: str | None = None) -> Credential | None:  # noqa: ARG002 (the protocol's)
        return self._credential if host == self._host else None


class NoCredentials:
    """Anonymous access only."""

    def lookup(self, host: str, repository: str | None = None) -> Credential | None:  # noqa: ARG002 (the protocol's)
        return None
