"""Requests and replies of the test registry, and what every part of it says alike."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qs, parse_qsl, urlencode

__all__ = ["Reply", "Request", "digest_of", "having", "problem", "without"]


@dataclass(frozen=True)
class Request:
    """One request as it arrived. Header names are lower-case; `path` has no query."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def values(self, name: str) -> list[str]:
        """Every value of a query parameter."""
        return parse_qs(self.query, keep_blank_values=True).get(name, [])

    def value(self, name: str) -> str | None:
        """The first value of a query parameter."""
        return next(iter(self.values(name)), None)


def without(request: Request, *names: str) -> Request:
    """The request without these query parameters."""
    fields = [(key, value) for key, value in parse_qsl(request.query, keep_blank_values=True) if key not in names]
    return replace(request, query=urlencode(fields))


def having(request: Request, **fields: str) -> Request:
    """The request with these query parameters as well."""
    added = urlencode(fields)
    return replace(request, query=f"{request.query}&{added}" if request.query else added)


@dataclass
class Reply:
    """An answer; Content-Length follows from the body unless it is given."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def problem(status: int, code: str, message: str = "") -> Reply:
    """An error answer as registries give it."""
    body = {"errors": [{"code": code, "message": message or code.lower().replace("_", " ")}]}
    return Reply(status, {"Content-Type": "application/json"}, json.dumps(body).encode())


def digest_of(content: bytes, algorithm: str = "sha256") -> str:
    """The digest of `content`; no digest at all for an algorithm that the registry does not know."""
    if algorithm not in ("sha256", "sha512"):
        return ""
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"
