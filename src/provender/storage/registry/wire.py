"""The wire: requests with redirects followed by hand and simple retries, without credentials of its own.

Registry layer, over the transport. The session adds the registry's credentials; the token service uses the wire as it
is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol, TypeVar

import msgspec

from provender.errors import Unavailable
from provender.storage.registry.failures import ERROR_BODY_BYTES, Answer, connection_failed
from provender.storage.registry.origin import Origin, followed
from provender.storage.registry.redact import printable, shown_url
from provender.storage.registry.retry import TEMPORARY_STATUSES, RetryPolicy, Timing, retry_after_s
from provender.storage.registry.tls import TlsSettings
from provender.storage.registry.transport import Request, Response, Transport, TransportFailure

__all__ = ["Hop", "Wire"]

_MAX_HOPS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class _HasStatus(Protocol):
    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...


_Result = TypeVar("_Result", bound=_HasStatus)


class Hop:
    """The answer at the end of the redirects, not read yet, and where it came from."""

    def __init__(self, response: Response, url: str, *, is_foreign: bool) -> None:
        self.response = response
        self.status = response.status
        self.headers = response.headers
        self.url = url
        self.is_foreign = is_foreign  # a redirect left the origin that was asked
        self._held: Answer | None = None

    def answer(self, limit: int) -> Answer:
        """The whole answer with at most `limit` bytes of its body, 8 KiB for an error; closes it."""
        if self._held is not None:
            return self._held
        is_error = self.status >= 400
        try:
            # A 416 may promise a body that never comes (docker-registry 2.8).
            body = b"" if self.status == 416 else self._body(ERROR_BODY_BYTES if is_error else limit, lenient=is_error)
        finally:
            self.response.close()
        return Answer(
            status=self.status, headers=self.headers, body=body[:limit], url=self.url, is_cut=len(body) > limit
        )

    def hold(self) -> None:
        """Read the answer to an error now, so that its connection is free for what comes next."""
        self._held = self.answer(ERROR_BODY_BYTES)

    def _body(self, limit: int, *, lenient: bool) -> bytes:
        chunks: list[bytes] = []
        total = 0
        try:
            while total <= limit and (chunk := self.response.read(limit + 1 - total)):
                chunks.append(chunk)
                total += len(chunk)
        except TransportFailure:
            if not lenient:
                raise
        return b"".join(chunks)


class Wire:
    """Sends requests on behalf of one registry."""

    def __init__(
        self, transport: Transport, registry: Origin, *, tls: TlsSettings, policy: RetryPolicy, timing: Timing
    ) -> None:
        self._transport = transport
        self._registry = registry
        self._tls = tls
        self._policy = policy
        self._timing = timing

    def send(self, request: Request, *, follow: bool = True) -> Hop:
        """The answer after at most five redirects. `Authorization` is dropped for good once the origin changes."""
        current, is_foreign = request, False
        for _ in range(_MAX_HOPS + 1):
            origin = Origin.of(current.url)
            tls = self._tls if origin == self._registry else self._tls.elsewhere
            try:
                response = self._transport.send(msgspec.structs.replace(current, tls=tls))
            except TransportFailure as failure:
                failure.origin = origin
                raise
            location = response.headers.get("location")
            if not follow or response.status not in _REDIRECTS or location is None:
                return Hop(response, current.url, is_foreign=is_foreign)
            response.close()
            url = followed(current.url, location, self._registry, "the redirect")
            headers = current.headers
            if Origin.of(url) != origin:
                is_foreign = True
                headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
            self._check_redirect(current, response.status, url)
            current = msgspec.structs.replace(current, url=url, headers=headers)
        raise Unavailable(
            f"more than {_MAX_HOPS} redirects",
            code="too-many-redirects",
            where=f"{request.method} {shown_url(request.url)}",
            hint="the registry or a proxy in front of it leads in a circle",
            retryable=False,
            exit_status=69,
        )

    def persist(self, attempt: Callable[[], _Result], *, replayable: bool, where: str) -> _Result:
        """What `attempt` gives, tried again after broken connections and temporary statuses while that is safe.

        The last answer is handed back whatever it says; a connection that stays broken is Unavailable.
        """
        tries, waited_s = 0, 0.0
        while True:
            tries += 1
            asked_s: float | None = None
            is_last = not replayable or tries >= self._policy.tries
            try:
                result = attempt()
            except TransportFailure as failure:
                if is_last or not failure.is_temporary:
                    raise connection_failed(failure, self._registry, where, tries) from failure
            else:
                if is_last or result.status not in TEMPORARY_STATUSES:
                    return result
                asked_s = retry_after_s(result.headers, self._timing.now())
                if asked_s is not None and waited_s + asked_s > self._policy.budget_s:
                    return result
            wait_s = self._policy.wait_s(tries, asked_s, self._timing)
            self._timing.sleep(wait_s)
            waited_s += wait_s

    def pause(self, tries: int) -> None:
        """Wait as after that many fruitless tries (for what resumes on its own)."""
        self._timing.sleep(self._policy.wait_s(tries, None, self._timing))

    @property
    def tries(self) -> int:
        """How many tries without progress are allowed."""
        return self._policy.tries

    def _check_redirect(self, request: Request, status: int, url: str) -> None:
        is_reading = request.method in ("GET", "HEAD")
        if is_reading or (status in (307, 308) and request.is_replayable):
            return
        raise Unavailable(
            f"the registry answered {request.method} with a redirect ({status}) to {printable(shown_url(url))}, "
            "which cannot be followed with this body",
            code="unexpected-redirect",
            where=f"{request.method} {shown_url(request.url)}",
            hint="use the address that the registry redirects to",
            retryable=False,
            exit_status=69,
        )
