"""The token service: bearer tokens for scopes (distribution, auth/token.md and auth/oauth.md).

Registry layer, over the wire. Asks and reads; the authorizer remembers.
"""

from __future__ import annotations

import base64
from typing import Final
from urllib.parse import urlencode, urlsplit

import msgspec

from provender.errors import InvalidDocument, Unauthorized, Unavailable
from provender.oci.document import parse_json
from provender.storage.registry.credentials import Credential
from provender.storage.registry.failures import Answer, Place, failed, not_a_registry, problem_of
from provender.storage.registry.origin import NO_HOSTS, Origin, TrustedHosts
from provender.storage.registry.redact import printable
from provender.storage.registry.scopes import Scopes
from provender.storage.registry.transport import Request
from provender.storage.registry.wire import Wire

__all__ = ["Token", "TokenService", "basic_header"]

_BODY_BYTES: Final = 128 << 10
_MIN_LIFETIME_S: Final = 60
_MAX_LIFETIME_S: Final = 24 * 3600
_CLIENT_ID: Final = "provender"


class Token(msgspec.Struct, frozen=True):
    """A bearer token and for how many seconds from its receipt it is good.

    `refresh` is the identity token for the next request where the service gave a new one with it.
    """

    value: str
    lifetime_s: int
    refresh: str = ""

    def __repr__(self) -> str:
        return f"Token(***, lifetime_s={self.lifetime_s})"


def basic_header(credential: Credential) -> str:
    """The `Authorization` value of a user name and password."""
    pair = f"{credential.username}:{credential.secret}".encode()
    return f"Basic {base64.b64encode(pair).decode('ascii')}"


# No such request, or no such grant: a service from before OAuth2 (auth/oauth.md, "Getting a token"), or one that takes
# an identity token as a password only.
_NO_POST: Final = frozenset({401, 404, 405})
_NO_GET: Final = frozenset({404, 405})
# Said of the token service, these are not said of what the token was wanted for: nothing was asked about that.
_NOT_THERE: Final = frozenset({404, 405, 501})


class TokenService:
    """Fetches tokens for one registry. Safe from several threads."""

    def __init__(self, wire: Wire, registry_host: str, trusted_realms: TrustedHosts = NO_HOSTS) -> None:
        self._wire = wire
        self._trusted_realms = trusted_realms
        self._host = registry_host
        self._renewed: dict[Credential, str] = {}  # identity tokens that the service replaced

    def fetch(self, realm: str, service: str, scopes: Scopes, credential: Credential | None) -> Token:
        """A token from the checked URL `realm`: by POST for an identity token, by GET with Basic, or anonymous.

        A service that does not know the one is asked by the other. A token with less access than asked for is no error
        here; the registry's answer tells.
        """
        source = None if credential is None else credential.source
        where = f"token for {scopes} at {self._host}" if scopes.resources else f"sign-in at {self._host}"
        place = Place(host=str(Origin.of(realm)).partition("://")[2], where=where, credentials=source)
        answer: Answer | None = None
        if credential is not None and credential.identity_token:
            answer = self._refreshed(realm, service, scopes, credential, place)
        if answer is None or answer.status in _NO_POST:
            answer = self._get(realm, service, scopes, credential, place)
            if answer.status in _NO_GET and credential is not None and credential.username and credential.secret:
                user = {"grant_type": "password", "username": credential.username, "password": credential.secret}
                answer = self._post(realm, service, scopes, user, place)
        if answer.status in (401, 403):
            raise self._refused(answer, credential, place)
        if answer.is_page and answer.status < 500:
            raise not_a_registry(answer, place)
        if answer.status in _NOT_THERE:
            raise _unusable(f"is {answer.status}: nothing there hands out tokens", place)
        if answer.status != 200:
            raise failed(answer, place)
        token = _read(answer, place)
        if token.refresh and credential is not None and credential.identity_token:
            self._renewed[credential] = token.refresh
        return token

    def _refreshed(self, realm: str, service: str, scopes: Scopes, credential: Credential, place: Place) -> Answer:
        """The answer to an identity token: the one that the service gave last, else the user's own."""
        grant = {"grant_type": "refresh_token"}
        if (renewed := self._renewed.get(credential)) is not None:
            answer = self._post(realm, service, scopes, {**grant, "refresh_token": renewed}, place)
            if answer.status not in (400, 401, 403):
                return answer
            self._renewed.pop(credential, None)
        return self._post(realm, service, scopes, {**grant, "refresh_token": credential.identity_token}, place)

    def _get(self, realm: str, service: str, scopes: Scopes, credential: Credential | None, place: Place) -> Answer:
        query = [("service", service)] if service else []
        query += [("scope", text) for text in scopes.texts()]
        headers = {"Accept": "application/json"}
        if credential is not None and credential.identity_token:
            headers["Authorization"] = basic_header(
                Credential(username=credential.username or "<token>", secret=credential.identity_token)
            )
        elif credential is not None and credential.username:
            headers["Authorization"] = basic_header(credential)
            query.append(("account", credential.username))
        mark = "&" if urlsplit(realm).query else "?"
        url = f"{realm}{mark}{urlencode(query)}" if query else realm
        return self._ask(Request(method="GET", url=url, headers=headers), place)

    def _post(self, realm: str, service: str, scopes: Scopes, grant: dict[str, str], place: Place) -> Answer:
        form = {**grant, "service": service, "client_id": _CLIENT_ID, "scope": str(scopes)}
        body = urlencode({name: value for name, value in form.items() if value}).encode("ascii")
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        return self._ask(Request(method="POST", url=realm, headers=headers, body=body), place)

    def _ask(self, request: Request, place: Place) -> Answer:
        is_trusted = Origin.of(request.url) in self._trusted_realms

        def attempt() -> Answer:
            # The form of a POST holds the secret: it goes to the realm alone, never on with a redirect.
            # Past the gates: a request that has its turn may be the one that needs the token to go on.
            hop = self._wire.send(request, follow=request.method == "GET", is_gated=False, is_trusted=is_trusted)
            return hop.answer(_BODY_BYTES)

        return self._wire.persist(attempt, replayable=True, where=place.where)

    def _refused(self, answer: Answer, credential: Credential | None, place: Place) -> Unauthorized:
        said = problem_of(answer).message
        what = f"the token service {place.host} answered {answer.status}" + (f": {said}" if said else "")
        if credential is None:
            return Unauthorized(
                f"{what}; there are no credentials for {self._host}",
                code="no-credentials",
                where=place.where,
                hint=f"provender login {self._host}",
            )
        return Unauthorized(
            f"{what}; it refused the credentials from {credential.source}",
            code="credentials-refused",
            where=place.where,
            hint=f"renew them with `provender login {self._host}`, or ask for access",
        )


def _read(answer: Answer, place: Place) -> Token:
    if answer.is_cut:
        raise _unusable(f"is over {_BODY_BYTES} bytes", place)
    try:
        fields = parse_json(answer.body, "the token service's answer")
    except InvalidDocument as error:
        raise _unusable(f"cannot be read ({printable(error.message)})", place) from error
    value = fields.get("access_token") or fields.get("token")
    if not isinstance(value, str) or not value:
        raise _unusable("holds no token", place)
    if not value.isascii() or not value.isprintable() or " " in value:
        raise _unusable("holds a token that cannot be sent in a header", place)
    lifetime = fields.get("expires_in")
    seconds = int(lifetime) if isinstance(lifetime, int | float) and 0 <= lifetime < 1e9 else _MIN_LIFETIME_S
    refresh = fields.get("refresh_token")
    return Token(
        value, min(max(seconds, _MIN_LIFETIME_S), _MAX_LIFETIME_S), refresh if isinstance(refresh, str) else ""
    )


def _unusable(why: str, place: Place) -> Unavailable:
    return Unavailable(
        f"the answer of the token service {place.host} {why}",
        code="invalid-token-response",
        where=place.where,
        hint="the registry's sign-in is misconfigured, or a proxy is in between",
        retryable=False,
        exit_status=69,
    )
