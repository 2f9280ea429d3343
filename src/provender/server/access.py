"""Who may do what: Basic passwords from an htpasswd file, or the Bearer tokens that Docker's token flow asks for.

Server layer. Every user may do everything; a token is narrowed to the scopes that it was asked for.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import secrets
import time
from collections import OrderedDict
from pathlib import Path
from typing import Final, Literal
from urllib.parse import parse_qs

from provender.errors import InvalidProject
from provender.server.calls import Call
from provender.server.replies import Problem, Reply, as_json
from provender.server.routes import Route

__all__ = ["Access", "Passwords"]

_SERVICE: Final = "provender"
_TOKEN_S: Final = 300
_REMEMBERED: Final = 1024
_REMEMBERED_S: Final = 300.0
_MAX_FILE: Final = 1 << 20
_MAX_FORM: Final = 64 << 10
_MAX_SCOPES: Final = 32
_HOST = re.compile(r"[A-Za-z0-9.\-]{1,253}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::[0-9]{1,5})?")
_SCOPE = re.compile(r"(repository:[a-z0-9._/-]{1,255}|registry:catalog):([a-z,*]{1,40})")
_LINE = re.compile(r"([^:\s]{1,255}):(\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53})")


class Passwords:
    """Users with bcrypt hashes, as `htpasswd -B` writes them. What was right is remembered for some minutes."""

    def __init__(self, hashes: dict[str, bytes]) -> None:
        self._hashes = hashes
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, float] = OrderedDict()
        # Hashed for unknown users, so that they take as long.
        self._decoy = next(iter(hashes.values()), b"")

    @classmethod
    def read(cls, path: Path) -> Passwords:
        """The users of an htpasswd file; InvalidProject with the line that cannot be used."""
        with open(path, "rb") as file:
            raw = file.read(_MAX_FILE + 1)
        hashes: dict[str, bytes] = {}
        for number, line in enumerate(raw.decode("utf-8", "replace").splitlines(), 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            match = _LINE.fullmatch(line.strip())
            if match is None or len(raw) > _MAX_FILE:
                raise InvalidProject(
                    "not a user with a bcrypt password",
                    code="invalid-htpasswd",
                    where=f"{path}:{number}",
                    hint="write the file with 'htpasswd -B'; other hashes are not safe",
                )
            hashes[match[1]] = match[2].encode()
        if not hashes:
            raise InvalidProject(
                "there is no user in the file", code="invalid-htpasswd", where=str(path), hint="add one: htpasswd -B"
            )
        return cls(hashes)

    def remembers(self, user: str, password: str) -> bool:
        """True if this was right a short time ago."""
        until = self._right.get(self._mark(user, password))
        return until is not None and until > time.monotonic()

    def check(self, user: str, password: str) -> bool:
        """True if the password is right; takes a thread some tenths of a second."""
        import bcrypt

        known = self._hashes.get(user)
        secret = password.encode()[:72]  # what bcrypt looks at
        if not bcrypt.checkpw(secret, known or self._decoy) or known is None:
            return False
        self._right[self._mark(user, password)] = time.monotonic() + _REMEMBERED_S
        while len(self._right) > _REMEMBERED:
            self._right.popitem(last=False)
        return True

    def _mark(self, user: str, password: str) -> bytes:
        return hmac.digest(self._key, f"{user}\0{password}".encode(), hashlib.sha256)


class Access:
    """The check before every request. `anonymous_pull` lets everybody read."""

    def __init__(
        self, passwords: Passwords, *, scheme: Literal["htpasswd", "token"], anonymous_pull: bool = False
    ) -> None:
        self._passwords = passwords
        self._is_token = scheme == "token"
        self._anonymous_pull = anonymous_pull
        self._key = secrets.token_bytes(32)

    async def admit(self, call: Call, route: Route) -> None:
        """Nothing, with the user noted in the call; Problem 401 with the challenge otherwise."""
        if route.kind in ("health", "token"):
            return
        needed = _needed(call, route)
        # In the token flow the ping asks for a token even so: clients learn the realm from it.
        is_token_ping = self._is_token and route.kind == "ping"
        if self._anonymous_pull and not is_token_ping and all(action == "pull" for _, action in needed):
            return
        kind, _, value = (call.header("authorization") or "").partition(" ")
        if self._is_token and kind.lower() == "bearer":
            self._admit_token(call, value.strip(), needed)
            return
        if not self._is_token and kind.lower() == "basic":
            call.user = await self._login(call, value.strip())
        if call.user is None:
            raise self._challenge(call, needed)

    async def token(self, call: Call) -> Reply:
        """A token for the scopes that were asked for: GET with Basic, or POST with a form (grant type password)."""
        if not self._is_token:
            raise Problem(404, "UNSUPPORTED", "there is no such endpoint")
        kind, _, value = (call.header("authorization") or "").partition(" ")
        if call.method == "POST":
            raw = await call.whole(_MAX_FORM)
            try:
                form = parse_qs(raw.decode("latin-1"), max_num_fields=call.limits.query_fields)
            except ValueError as error:
                raise Problem(400, "UNSUPPORTED", "the form has too many fields") from error
            if form.get("grant_type") != ["password"]:
                raise Problem(405, "UNSUPPORTED", "only the grant type password is known")
            scopes = " ".join(form.get("scope", [])).split()
            user, password = form.get("username", [""])[0], form.get("password", [""])[0]
            call.user = user if await self._is_right(call, user, password) else None
        else:
            scopes = " ".join(call.values("scope")).split()
            call.user = await self._login(call, value.strip()) if kind.lower() == "basic" else None
        is_anonymous = call.user is None and call.method != "POST" and not kind and self._anonymous_pull
        if call.user is None and not is_anonymous:
            raise Problem(
                401,
                "UNAUTHORIZED",
                "wrong user or password",
                headers=(("WWW-Authenticate", 'Basic realm="provender"'),),
            )
        granted = _granted(scopes[:_MAX_SCOPES], is_anonymous=is_anonymous)
        text = self._sign({"user": call.user or "", "until": int(time.time()) + _TOKEN_S, "access": granted})
        body = {"token": text, "access_token": text, "expires_in": _TOKEN_S}
        return as_json(200, body, headers=(("Cache-Control", "no-store"),))

    async def _login(self, call: Call, encoded: str) -> str | None:
        try:
            user, colon, password = base64.b64decode(encoded, validate=True).decode("utf-8").partition(":")
        except (binascii.Error, ValueError):
            return None
        return user if colon and await self._is_right(call, user, password) else None

    async def _is_right(self, call: Call, user: str, password: str) -> bool:
        if self._passwords.remembers(user, password):
            return True
        return await call.run(lambda: self._passwords.check(user, password))

    def _admit_token(self, call: Call, token: str, needed: frozenset[tuple[str, str]]) -> None:
        claims = self._claims(token)
        if claims is None:
            raise self._challenge(call, needed, error="invalid_token")
        user, access = claims
        if not needed <= access:
            raise self._challenge(call, needed, error="insufficient_scope")
        call.user = user or None

    def _sign(self, claims: dict[str, object]) -> str:
        payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=")
        seal = hmac.digest(self._key, payload, hashlib.sha256)
        return f"{payload.decode()}.{base64.urlsafe_b64encode(seal).rstrip(b'=').decode()}"

    def _claims(self, token: str) -> tuple[str, frozenset[tuple[str, str]]] | None:
        payload, _, seal = token.encode("ascii", "replace").partition(b".")
        right = base64.urlsafe_b64encode(hmac.digest(self._key, payload, hashlib.sha256)).rstrip(b"=")
        if not hmac.compare_digest(seal, right):
            return None
        claims = json.loads(base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)))
        if claims["until"] < time.time():
            return None
        return claims["user"], frozenset((resource, action) for resource, action in claims["access"])

    def _challenge(self, call: Call, needed: frozenset[tuple[str, str]], *, error: str | None = None) -> Problem:
        if not self._is_token:
            value = 'Basic realm="provender"'
        else:
            host = call.header("host") or ""
            if _HOST.fullmatch(host) is None:
                raise Problem(400, "UNSUPPORTED", "the request names no host")
            value = f'Bearer realm="{call.scope["scheme"]}://{host}/token",service="{_SERVICE}"'
            if scopes := _as_scopes(needed):
                value += f',scope="{scopes}"'
            if error is not None:
                value += f',error="{error}"'
        return Problem(401, "UNAUTHORIZED", "log in first", headers=(("WWW-Authenticate", value),))


def _needed(call: Call, route: Route) -> frozenset[tuple[str, str]]:
    """The (resource, action) pairs that a request takes."""
    if route.kind == "ping":
        return frozenset()
    if route.kind == "catalog":
        return frozenset({("registry:catalog", "*")})
    actions = {"GET": ("pull",), "HEAD": ("pull",), "DELETE": ("delete",)}.get(call.method, ("pull", "push"))
    if route.kind in ("upload", "uploads"):
        actions = ("pull", "push")
    needed = {(f"repository:{route.name}", action) for action in actions}
    if route.kind == "uploads" and (origin := call.value("from")):
        needed.add((f"repository:{origin}", "pull"))
    return frozenset(needed)


def _granted(scopes: list[str], *, is_anonymous: bool) -> list[tuple[str, str]]:
    granted: list[tuple[str, str]] = []
    for scope in scopes:
        if (match := _SCOPE.fullmatch(scope)) is None:
            continue
        actions = match[2].split(",")
        if "*" in actions and match[1] != "registry:catalog":
            actions = ["pull", "push", "delete"]
        granted += [(match[1], action) for action in actions if not is_anonymous or action == "pull"]
    return granted


def _as_scopes(needed: frozenset[tuple[str, str]]) -> str:
    by_resource: dict[str, list[str]] = {}
    for resource, action in sorted(needed):
        if re.fullmatch(r"[a-z:._/-]*[a-z0-9:._/-]*", resource):
            by_resource.setdefault(resource, []).append(action)
    return " ".join(f"{resource}:{','.join(actions)}" for resource, actions in by_resource.items())
