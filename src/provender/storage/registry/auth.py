"""The authorizer: which `Authorization` a request of one registry carries, and what a 401 is answered with.

Registry layer, over the token service and the credentials. It hands out header values; only the session puts them on
requests, and only on requests to the registry's own origin.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Final, Literal

import msgspec

from provender.errors import Denied
from provender.storage.registry.challenge import Challenge, parse_challenges
from provender.storage.registry.credentials import Credential, CredentialSource
from provender.storage.registry.origin import NO_HOSTS, Origin, TrustedHosts, followed
from provender.storage.registry.scopes import Scopes
from provender.storage.registry.tokens import Token, TokenService, basic_header

__all__ = ["Authorizer"]

_EARLY_S: Final = 30  # a token is renewed this long before it expires
_MAX_TOKENS: Final = 1024


class _Bearer(msgspec.Struct, frozen=True):
    """Where the registry's tokens come from."""

    realm: str
    service: str


class _Key(msgspec.Struct, frozen=True):
    """Whose token it is: the token service and the identity, not yet the scopes."""

    bearer: _Bearer
    credential: Credential | None


class _Held(msgspec.Struct, frozen=True):
    token: Token
    scopes: Scopes
    until: float  # on the monotonic clock, from our receipt: the service's clock may be wrong


class Authorizer:
    """Answers for one registry. Safe from several threads; one of them fetches a token that all wait for."""

    def __init__(
        self,
        host: str,
        registry: Origin,
        *,
        credentials: CredentialSource,
        tokens: TokenService,
        monotonic: Callable[[], float],
        warn: Callable[[str], None],
        trusted_realms: TrustedHosts = NO_HOSTS,
    ) -> None:
        self._host = host
        self._trusted_realms = trusted_realms
        self._registry = registry
        self._credentials = credentials
        self._tokens = tokens
        self._monotonic = monotonic
        self._warn = warn
        self._scheme: _Bearer | Literal["basic"] | None = None
        self._held: dict[_Key, list[_Held]] = {}
        self._flights: dict[tuple[_Key, Scopes], threading.Lock] = {}
        self._lock = threading.Lock()

    @property
    def is_challenged(self) -> bool:
        """True once the registry asked for credentials."""
        return self._scheme is not None

    def header(self, scopes: Scopes, repository: str | None) -> str | None:
        """The header to send at once, as far as an earlier challenge told what the registry wants; else None."""
        scheme = self._scheme
        if scheme is None:
            return None
        if isinstance(scheme, _Bearer):
            return self._bearer_header(scheme, scopes, repository, refused=None)
        credential = self._credentials.lookup(self._host, repository)
        return basic_header(credential) if credential is not None and credential.username else None

    def answer(
        self, headers: Mapping[str, str], url: str, scopes: Scopes, repository: str | None, refused: str | None
    ) -> str | None:
        """The header that answers the challenge of a 401 to `url`; None if there is nothing new to say.

        `refused` is the header that the request carried. Raises what the token service or a bad realm raises.
        """
        challenges = parse_challenges(headers.get("www-authenticate", ""))
        bearer = next((item for item in challenges if item.scheme == "bearer" and item.parameters.get("realm")), None)
        if bearer is not None:
            wanted = scopes | Scopes.parse(bearer.parameters.get("scope", ""))
            try:
                scheme = self._checked(bearer, url)
                return _new(self._bearer_header(scheme, wanted, repository, refused=refused), refused)
            except Denied as error:
                if error.code == "unsafe-target":
                    error.hint = "if its token service is meant to be there, name it in PROVENDER_TRUSTED_REALMS"
                raise
        if any(item.scheme == "basic" for item in challenges):
            self._scheme = "basic"
            return _new(self.header(scopes, repository), refused)
        return None

    def source(self, repository: str | None) -> str | None:
        """Where the credentials came from that a refused request was made with; None for an anonymous one.

        Without any challenge so far none were sent, and no helper is started to tell.
        """
        if self._scheme is None:
            return None
        credential = self._credentials.lookup(self._host, repository)
        return None if credential is None else credential.source

    def _checked(self, challenge: Challenge, url: str) -> _Bearer:
        realm = followed(
            url, challenge.parameters["realm"], self._registry, "the token realm", trusted=self._trusted_realms
        )
        scheme = _Bearer(realm, challenge.parameters.get("service", ""))
        known = self._scheme
        if isinstance(known, _Bearer) and Origin.of(known.realm) != Origin.of(realm):
            self._warn(f"{self._host} changed its token service from {Origin.of(known.realm)} to {Origin.of(realm)}")
        self._scheme = scheme
        return scheme

    def _bearer_header(self, scheme: _Bearer, scopes: Scopes, repository: str | None, *, refused: str | None) -> str:
        credential = self._credentials.lookup(self._host, repository)
        if credential is not None and credential.registry_token:
            return f"Bearer {credential.registry_token}"
        key = _Key(scheme, credential)
        with self._flight(key, scopes):
            held = self._find(key, scopes, refused)
            if held is None:
                token = self._tokens.fetch(scheme.realm, scheme.service, scopes, credential)
                held = _Held(token, scopes, self._monotonic() + token.lifetime_s - _EARLY_S)
                self._keep(key, held)
        return f"Bearer {held.token.value}"

    def _find(self, key: _Key, scopes: Scopes, refused: str | None) -> _Held | None:
        """A token that allows at least this; one that was refused is forgotten."""
        with self._lock:
            now = self._monotonic()
            good = [
                item for item in self._held.get(key, ()) if item.until > now and f"Bearer {item.token.value}" != refused
            ]
            self._held[key] = good
            return next((item for item in good if item.scopes.covers(scopes)), None)

    def _keep(self, key: _Key, held: _Held) -> None:
        with self._lock:
            if sum(map(len, self._held.values())) >= _MAX_TOKENS:
                self._held.clear()
            self._held.setdefault(key, []).append(held)

    def _flight(self, key: _Key, scopes: Scopes) -> threading.Lock:
        with self._lock:
            if len(self._flights) >= _MAX_TOKENS:
                self._flights.clear()
            return self._flights.setdefault((key, scopes), threading.Lock())


def _new(header: str | None, refused: str | None) -> str | None:
    """The header, unless it is the one that was refused."""
    return None if header == refused else header
