"""Answers that are errors, as errors of the one tree: what happened, where, and what to do.

Registry layer, below the wire. Bodies of error answers may be anything; they are read leniently and shown sanitised.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import msgspec

from provender.errors import (
    Denied,
    InvalidDocument,
    NotFound,
    ProvenderError,
    RateLimited,
    Unauthorized,
    Unavailable,
    Unsupported,
)
from provender.oci import Document, Index, Manifest
from provender.oci.media_types import DOCKER_CONFIG, IMAGE_CONFIG
from provender.storage.registry.origin import Origin
from provender.storage.registry.quirks import ARTIFACT_REFUSAL_CODES
from provender.storage.registry.redact import printable
from provender.storage.registry.transport import TransportFailure

__all__ = [
    "ERROR_BODY_BYTES",
    "Answer",
    "Place",
    "Problem",
    "artifact_refused",
    "connection_failed",
    "failed",
    "not_a_registry",
    "problem_of",
]

ERROR_BODY_BYTES: Final = 8 << 10

_IMAGE_CONFIGS: Final = frozenset({IMAGE_CONFIG, DOCKER_CONFIG})
_NOT_FOUND_CODES: Final = {
    "NAME_UNKNOWN": ("repository-not-found", "the repository does not exist"),
    "MANIFEST_UNKNOWN": ("manifest-not-found", "there is no such tag or manifest"),
    "BLOB_UNKNOWN": ("blob-not-found", "there is no such blob"),
    "BLOB_UPLOAD_UNKNOWN": ("upload-lost", "the registry lost the upload"),
}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer. `is_cut` says that the body was longer than the limit that `body` keeps to."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    is_cut: bool = False

    @property
    def content_type(self) -> str:
        """The media type, lower-case, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def is_page(self) -> bool:
        """True for a web page, such as that of a captive portal or of a server that is no registry."""
        return self.content_type in ("text/html", "application/xhtml+xml") or self.body.lstrip()[:1] == b"<"


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked: for messages. `credentials` says where the ones that were used came from, `scope` what for."""

    host: str
    where: str
    credentials: str | None = None
    scope: str = ""
    is_plain_http: bool = False


class Problem(msgspec.Struct, frozen=True):
    """The first error of a registry's error body; empty texts where it names none."""

    code: str
    message: str


def problem_of(answer: Answer) -> Problem:
    """What the body of an error answer says."""
    try:
        body = json.loads(answer.body)
    except (ValueError, RecursionError):
        return Problem("", "" if answer.is_page else printable(answer.body.decode("utf-8", "replace"), 200))
    errors = body.get("errors") if isinstance(body, dict) else None
    first = errors[0] if isinstance(errors, list) and errors else body
    if not isinstance(first, dict):
        return Problem("", "")
    code, message = first.get("code"), first.get("message") or first.get("details")
    return Problem(
        printable(code, 60) if isinstance(code, str) else "",
        printable(message, 200) if isinstance(message, str) else "",
    )


def failed(answer: Answer, place: Place) -> ProvenderError:
    """The error that an unwanted answer stands for."""
    problem = problem_of(answer)
    said = f"{place.host} answered {answer.status}" + "".join(
        f"{mark}{text}" for mark, text in ((" ", problem.code), (": ", problem.message)) if text
    )
    match answer.status:
        case 401:
            return _unauthorized(said, place)
        case 403:
            return Denied(f"{said}{_scope(place)}", code="denied", where=place.where, hint=_denied_hint(place))
        case 404:
            return _not_found(answer, problem, place)
        case 405 | 501:
            return Unsupported(
                f"{said}: it does not offer this", where=place.where, hint="use a registry that does, or its own tools"
            )
        case 413:
            return Unsupported(
                said, code="too-large-for-registry", where=place.where, hint="the registry's limit has to be raised"
            )
        case 429:
            return _rate_limited(answer, said, place)
        case status if status == 408 or status >= 500 or status in (425, 499):
            return Unavailable(
                said, code="registry-unavailable", where=place.where, hint="the registry has a problem; try again later"
            )
        case _ if answer.is_page:
            return not_a_registry(answer, place)
        case _ if problem.code == "MANIFEST_BLOB_UNKNOWN":
            return Unavailable(
                said,
                code="content-missing",
                where=place.where,
                hint="push everything that the manifest lists first, to the same repository",
                retryable=False,
                exit_status=69,
            )
        case _:
            is_silent = place.is_plain_http and not problem.code
            hint = "if the registry speaks TLS: --no-plain-http" if is_silent else None
            return Unavailable(
                said,
                code="refused-by-registry",
                where=place.where,
                hint=hint or "the registry does not accept this; its message says why",
                retryable=False,
                exit_status=69,
            )


def artifact_refused(answer: Answer, document: Document, place: Place) -> Unsupported | None:
    """The error for a registry that does not take artifacts of this form; None if something else is wrong.

    It speaks of the form only if the document has one that older registries, and allow-lists, do not know.
    """
    problem = problem_of(answer)
    try:
        view = document.parse()
    except (InvalidDocument, Unsupported):
        return None
    config = view.config if isinstance(view, Manifest) else None
    is_plain = isinstance(view, Index) or (config is not None and config.media_type in _IMAGE_CONFIGS)
    has_news = bool(view.artifact_type) or view.subject is not None
    if problem.code not in ARTIFACT_REFUSAL_CODES or answer.is_page or (is_plain and not has_news):
        return None
    if answer.status == 405 and "allow" in answer.headers and "PUT" not in answer.headers["allow"]:
        return None  # it takes no manifest at all
    said = ": ".join(text for text in (f"{answer.status} {problem.code}".strip(), problem.message) if text)
    kind = view.effective_type or "no type"
    return Unsupported(
        f"{place.host} refused the manifest of this artifact ({printable(kind, 150)}): {said}",
        code="artifact-refused",
        where=place.where,
        hint="if it takes only types that it knows, push a form that it does: --artifact-compat image-config "
        "(or config-type, for registries of image-spec 1.0)",
    )


def not_a_registry(answer: Answer, place: Place) -> Unavailable:
    """The error for an answer that no registry gives: a portal, a proxy's page, another kind of server."""
    start = printable(answer.body[:400].decode("utf-8", "replace"), 80)
    kind = printable(answer.content_type, 60) or "no Content-Type"
    return Unavailable(
        f"{place.host} gave no registry response: {kind}, {start!r}",
        code="not-a-registry-response",
        where=place.where,
        hint="check the host name, and whether a proxy or a sign-in page is in between",
        retryable=False,
        exit_status=69,
    )


def connection_failed(
    failure: TransportFailure, registry: Origin, where: str, tries: int = 1, *, is_known: bool = True
) -> Unavailable:
    """The error for a request that got no answer; `is_known`: the registry has answered before."""
    hints = {
        "connect": "check host and port, and that the registry runs",
        "dns": "check the spelling of the host and the network",
        "timeout": "the network or the registry is slow; try again later",
        "broken": "try again; what was finished is kept",
        "proxy": "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY",
        "certificate": "name its CA: SSL_CERT_FILE=ca.pem, or `ca` in registries.yaml",
        "not-tls": "the registry speaks plain HTTP: --plain-http",
        "tls": "check that the registry speaks TLS 1.2 or newer, and its client certificates",
        "url": "check the registry's address",
    }
    # A server that wants TLS closes the connection, often without a word.
    is_silent = failure.kind == "broken" and registry.scheme == "http" and not is_known
    times = f" ({tries} tries)" if tries > 1 else ""
    return Unavailable(
        f"no answer from {failure.origin or registry}: {printable(failure.message)}{times}",
        code=f"connection-{failure.kind}",
        where=where,
        hint="if the registry speaks TLS: --no-plain-http" if is_silent else hints[failure.kind],
        retryable=failure.is_temporary,
        exit_status=75 if failure.is_temporary else 69,
    )


def _unauthorized(said: str, place: Place) -> Unauthorized:
    if place.credentials is None:
        return Unauthorized(
            f"{said}: it wants credentials, and there are none for it (or this does not exist){_scope(place)}",
            code="no-credentials",
            where=place.where,
            hint=f"provender login {place.host}",
        )
    return Unauthorized(
        f"{said}: it refused the credentials from {place.credentials}{_scope(place)}",
        code="credentials-refused",
        where=place.where,
        hint=f"renew them with `provender login {place.host}`, or ask for access",
    )


def _scope(place: Place) -> str:
    return f"; needed: {place.scope}" if place.scope else ""


def _denied_hint(place: Place) -> str:
    if place.credentials is None:
        return f"there were no credentials to send: provender login {place.host}"
    return f"the account of the credentials from {place.credentials} may not do this"


def _not_found(answer: Answer, problem: Problem, place: Place) -> NotFound:
    code, text = _NOT_FOUND_CODES.get(problem.code, ("not-found", "it is not there"))
    hint = "check repository, tag and digest"
    if answer.is_page:
        code = "not-found-page"  # perhaps nobody who knows was asked
        hint = f"the answer is a web page: is {place.host} a registry?"
    elif code == "repository-not-found" and "push" in place.scope:
        hint = "make the repository first: this registry does not make one for a push (ECR, GitLab)"
    elif place.credentials is None:
        hint += f"; if it is private: provender login {place.host}"
    return NotFound(f"not found in {place.host}: {text}", code=code, where=place.where, hint=hint)


def _rate_limited(answer: Answer, said: str, place: Place) -> RateLimited:
    asked = printable(answer.headers.get("retry-after", ""), 60)
    wait = f"; it asks to wait {asked}" + (" s" if asked.isdigit() else "") if asked else ""
    hint = (
        "try again later"
        if place.credentials
        else f"try again later; limits are higher after provender login {place.host}"
    )
    return RateLimited(f"{said}{wait}", where=place.where, hint=hint)
