"""Answers: the reply of a handler, and how failures are told in the words of the specification.

Server layer, the lowest part with `limits`. Codes: distribution-spec "Error Codes".
"""

from __future__ import annotations

import errno
import json
from collections.abc import Sequence

import msgspec

from provender.errors import (
    Conflict,
    IntegrityError,
    InvalidDocument,
    InvalidReference,
    NotFound,
    ProvenderError,
    Unavailable,
    Unsupported,
)
from provender.storage.abilities import BlobReader

__all__ = ["JSON", "Headers", "Problem", "Reply", "as_json", "problem_of"]

JSON = "application/json"

Headers = tuple[tuple[str, str], ...]


class Reply(msgspec.Struct, frozen=True):
    """One answer. With `reader` the body is `length` bytes of it, which whoever sends the answer closes."""

    status: int
    headers: Headers = ()
    body: bytes = b""
    reader: BlobReader | None = None
    length: int = 0


class Problem(Exception):
    """A refusal: raised by handlers, sent as `{"errors": [...]}`."""

    def __init__(
        self, status: int, code: str, message: str, *, headers: Headers = (), detail: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers
        self.detail = detail

    def reply(self) -> Reply:
        """The answer that says it."""
        error = {"code": self.code, "message": self.message}
        if self.detail is not None:
            error["detail"] = self.detail
        return as_json(self.status, {"errors": [error]}, headers=self.headers)


def as_json(status: int, value: object, *, media_type: str = JSON, headers: Sequence[tuple[str, str]] = ()) -> Reply:
    """A JSON answer; what came from outside is escaped to ASCII."""
    return Reply(status, (("Content-Type", media_type), *headers), json.dumps(value).encode("ascii"))


_REFERENCE_CODES = {
    "invalid-digest": "DIGEST_INVALID",
    "unsupported-digest": "DIGEST_INVALID",
    "invalid-tag": "TAG_INVALID",
    "invalid-repository": "NAME_INVALID",
}
_NAMES = frozenset({"repository-not-found", "layout-not-found"})


def problem_of(error: ProvenderError | OSError, *, reading: bool) -> Problem:
    """The refusal that a failure below amounts to; with `reading` the content at fault is ours."""
    if isinstance(error, OSError):
        return _system_problem(error)
    text = error.message
    match error:
        case NotFound():
            code = "NAME_UNKNOWN" if error.code in _NAMES else "MANIFEST_UNKNOWN"
            return Problem(404, code, text)
        case InvalidReference():
            return Problem(400, _REFERENCE_CODES.get(error.code, "NAME_INVALID"), text)
        case Unavailable():
            return Problem(503, "UNAVAILABLE", text, headers=(("Retry-After", "1"),))
        case Conflict():
            return Problem(409, "DENIED", text)
        case Unsupported() if error.code == "reserved-repository":
            return Problem(400, "NAME_INVALID", text)
        case IntegrityError() if error.code == "not-a-directory":
            return Problem(400, "NAME_INVALID", "a component of the name is taken by something that is no repository")
        case Unsupported() if error.code in ("index-too-large", "store-too-large", "memory-full"):
            return Problem(507, "UNAVAILABLE", text)
        case _ if reading:
            return Problem(500, "UNKNOWN", "what the store holds there is damaged and cannot be served")
        case IntegrityError() if error.code == "digest-mismatch":
            return Problem(400, "DIGEST_INVALID", text)
        case IntegrityError():
            return Problem(400, "SIZE_INVALID", text)
        case InvalidDocument() | Unsupported():
            return Problem(400, "MANIFEST_INVALID", text)
        case _:
            return Problem(500, "UNKNOWN", "the server failed; its log says more")


def _system_problem(error: OSError) -> Problem:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return Problem(507, "UNAVAILABLE", "the server has no space left")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Problem(403, "DENIED", "the server may not write to its store")
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return Problem(503, "UNAVAILABLE", "the server has too many open files", headers=(("Retry-After", "1"),))
    return Problem(500, "UNKNOWN", "the server cannot read or write its store")
