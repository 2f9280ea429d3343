"""The session: requests to one registry, with its credentials, and errors as errors of the tree.

Registry layer: over the wire and the authorizer, below the client. Credentials go to the registry's origin alone: not
to the target of a redirect, not to a foreign upload location.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from provender.errors import Denied, ProvenderError, RateLimited, Unavailable
from provender.storage.abilities import BlobReader
from provender.storage.registry.auth import Authorizer
from provender.storage.registry.failures import Answer, Place, failed, not_a_registry
from provender.storage.registry.headers import parse_warnings
from provender.storage.registry.origin import Origin, followed
from provender.storage.registry.redact import printable
from provender.storage.registry.scopes import NO_SCOPES, Scopes
from provender.storage.registry.transport import Request
from provender.storage.registry.wire import Hop, Wire

__all__ = ["Call", "Session"]

_ANSWER_BYTES: Final = 64 << 10


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One question to the registry. `path` starts with `/v2/`, or is a whole URL that the registry gave.

    `ok` lists the statuses that answer it; any other is raised as an error that names `where`. `limit` caps the body.
    `silence_s` shortens how long the registry may say nothing.
    """

    method: str
    path: str
    where: str
    scopes: Scopes = NO_SCOPES
    repository: str | None = None
    headers: dict[str, str] = {}
    body: bytes | BlobReader | None = None
    ok: tuple[int, ...] = (200,)
    limit: int = _ANSWER_BYTES
    silence_s: float | None = None


class Session:
    """Asks one registry. Safe from several threads."""

    def __init__(
        self, host: str, registry: Origin, *, wire: Wire, authorizer: Authorizer, warn: Callable[[str], None]
    ) -> None:
        self.host = host
        self.registry = registry
        self.wire = wire
        self._base = str(registry)
        self._authorizer = authorizer
        self._warn = warn
        self._warned: set[str] = set()
        self.has_ranges = True  # until it answers a range with the whole
        self._lock = threading.Lock()

    @property
    def is_challenged(self) -> bool:
        """True once the registry asked for credentials."""
        return self._authorizer.is_challenged

    def ask(self, call: Call, *, once: bool = False) -> Answer:
        """The whole answer with one of the statuses `call.ok`; with `once` nothing is tried again or waited for."""
        request = self._request(call)
        answer = self.wire.persist(
            lambda: self._send(request, call).answer(call.limit),
            replayable=request.is_replayable and not once,
            refusable=request.is_repeatable and not once,
            where=call.where,
        )
        if answer.status not in call.ok:
            raise self.error(answer, call)
        return answer

    def open(self, call: Call) -> Hop:
        """The answer with one of the statuses `call.ok`, its body not read yet; the caller closes it."""
        request = self._request(call)

        def attempt() -> Hop | Answer:
            hop = self._send(request, call)
            return hop if hop.status in call.ok else hop.answer(_ANSWER_BYTES)

        result = self.wire.persist(
            attempt, replayable=request.is_replayable, refusable=request.is_repeatable, where=call.where
        )
        if isinstance(result, Answer):
            raise self.error(result, call)
        return result

    def error(self, answer: Answer, call: Call) -> ProvenderError:
        """The error that an answer stands for."""
        if answer.status in (401, 403) and not self.is_own(answer.url):
            # A storage behind the registry, which never sees the registry's credentials.
            return Unavailable(
                f"{Origin.of(answer.url)}, where {self.host} leads to, answered {answer.status}",
                code="redirect-target-refused",
                where=call.where,
                hint="its signed address may have expired: try again; else the registry's storage is misconfigured",
            )
        error = failed(answer, self.place(call))
        if isinstance(error, RateLimited):
            error.asked_s = self.wire.asked_s(answer)
        return error

    def no_registry(self, answer: Answer, call: Call) -> ProvenderError:
        """The error for an answer that no registry gives."""
        return not_a_registry(answer, self.place(call))

    def place(self, call: Call) -> Place:
        """What messages about a call name."""
        return Place(
            host=self.host,
            where=call.where,
            credentials=self._authorizer.source(call.repository),
            scope=str(call.scopes),
            is_plain_http=self.registry.scheme == "http",
        )

    def url(self, path: str, *, base: str = "", what: str = "the address") -> str:
        """The absolute URL of a path, or of what the registry named relative to `base`, if it may be followed."""
        if not base:
            return f"{self._base}{path}" if path.startswith("/") else path
        return followed(base, path, self.registry, what)

    def is_own(self, url: str) -> bool:
        """True if a URL lies at the registry's own origin."""
        return Origin.of(url) == self.registry

    def warn(self, text: str) -> None:
        """Report a warning, each text once."""
        cleaned = printable(text, 1000)
        with self._lock:
            if cleaned in self._warned or len(self._warned) >= 100:
                return
            self._warned.add(cleaned)
        self._warn(f"{self.host}: {cleaned}")

    def _request(self, call: Call) -> Request:
        return Request(
            method=call.method,
            url=self.url(call.path),
            headers=dict(call.headers),
            body=call.body,
            silence_s=call.silence_s,
        )

    def _send(self, request: Request, call: Call) -> Hop:
        own = call.path.startswith("/") or self.is_own(request.url)
        header = self._authorizer.header(call.scopes, call.repository) if own else None
        try:
            hop = self.wire.send(_with_authorization(request, header))
        except Denied as error:
            raise error.at(call.where) from error.__cause__
        if hop.status == 401 and own and not hop.is_foreign:
            hop = self._challenged(request, call, hop, header)
        if "warning" in hop.headers and not hop.is_foreign:
            self._collect_warnings(hop.headers)
        return hop

    def _challenged(self, request: Request, call: Call, hop: Hop, refused: str | None) -> Hop:
        """The answer to the same request with new credentials, or the 401 itself if there are none."""
        if not request.is_repeatable:
            return hop  # the stream has been read; the token was fetched by the requests before it
        hop.hold()
        try:
            header = self._authorizer.answer(hop.headers, hop.url, call.scopes, call.repository, refused)
        except ProvenderError as error:
            raise error.at(call.where) from None
        if header is None:
            return hop
        return self.wire.send(_with_authorization(request, header))

    def _collect_warnings(self, headers: Mapping[str, str]) -> None:
        texts: Iterable[str] = parse_warnings(headers["warning"])
        for text in texts:
            self.warn(text)


def _with_authorization(request: Request, header: str | None) -> Request:
    if header is None:
        return request
    return msgspec.structs.replace(request, headers={**request.headers, "Authorization": header})
