"""Which endpoint a path means (distribution-spec "Endpoints"). Server layer, pure.

Repository names hold slashes, and may hold words of the grammar (`a/blobs/b`), so a path is read from its end.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from provender.errors import InvalidReference
from provender.oci.reference import check_repository
from provender.server.replies import Problem

__all__ = ["Kind", "Route", "route"]

Kind = Literal["ping", "catalog", "health", "token", "blob", "uploads", "upload", "manifest", "tags", "referrers"]


class Route(msgspec.Struct, frozen=True):
    """An endpoint: `name` is the checked repository, `target` the digest, tag or session as it was sent, unchecked."""

    kind: Kind
    name: str = ""
    target: str = ""


_FIXED: dict[str, Kind] = {
    "/v2": "ping",
    "/v2/": "ping",
    "/v2/_catalog": "catalog",
    "/healthz": "health",
    "/token": "token",
}
_BEFORE_LAST: dict[str, Kind] = {"blobs": "blob", "manifests": "manifest", "referrers": "referrers"}


def route(path: str) -> Route:
    """The endpoint of a decoded path; Problem 404 if it is none, 400 if the repository's name breaks the grammar."""
    if (fixed := _FIXED.get(path)) is not None:
        return Route(fixed)
    parts = path.split("/")
    if len(parts) < 5 or parts[0] or parts[1] != "v2":
        raise Problem(404, "UNSUPPORTED", "there is no such endpoint")
    kind, name, target = _split(parts[2:])
    try:
        return Route(kind, check_repository("/".join(name)), target)
    except InvalidReference as error:
        raise Problem(400, "NAME_INVALID", error.message) from error


def _split(parts: list[str]) -> tuple[Kind, list[str], str]:
    last = parts[-1]
    if parts[-2] == "tags" and last == "list":
        return "tags", parts[:-2], ""
    if len(parts) > 3 and parts[-3:-1] == ["blobs", "uploads"]:
        return ("upload", parts[:-3], last) if last else ("uploads", parts[:-3], "")
    if parts[-2:] == ["blobs", "uploads"]:
        return "uploads", parts[:-2], ""
    if (kind := _BEFORE_LAST.get(parts[-2])) is not None:
        return kind, parts[:-2], last
    raise Problem(404, "UNSUPPORTED", "there is no such endpoint")
