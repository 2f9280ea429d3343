"""The wire: requests with redirects followed by hand, gates and retries, without credentials of its own.

Registry layer, over the transport. The session adds the registry's credentials; the token service uses the wire as it
is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, Protocol, TypeVar

import msgspec

from provender.errors import Unavailable
from provender.storage.registry.failures import ERROR_BODY_BYTES, Answer, connection_failed, problem_of
from provender.storage.registry.gate import Gates, Lane
from provender.storage.registry.origin import Origin, followed
from provender.storage.registry.redact import printable, shown_url
from provender.storage.registry.retry import (
    TEMPORARY_STATUSES,
    Patience,
    RetryPolicy,
    Timing,
    announced_wait_s,
    retry_after_s,
)
from provender.storage.registry.tls import TlsSettings
from provender.storage.registry.transport import Request, Response, Transport, TransportFailure

__all__ = ["Hop", "Wire"]

_MAX_HOPS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_ANNOUNCED_FROM_S: Final = 3.0


class _HasStatus(Protocol):
    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...


_Result = TypeVar("_Result", bound=_HasStatus)


class Hop:
    """The answer at the end of the redirects, not read yet, and where it came from."""

    def __init__(self, response: Response, url: str, *, is_foreign: bool, policy: RetryPolicy, timing: Timing) -> None:
        self.response = response
        self.status = response.status
        self.headers = response.headers
        self.url = url
        self.is_foreign = is_foreign  # a redirect left the origin that was asked
        self._policy = policy
        self._timing = timing
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
        try:
            chunks.extend(self._pieces(limit))
        except TransportFailure:
            if not lenient:
                raise
        return b"".join(chunks)

    def _pieces(self, limit: int) -> Iterator[bytes]:
        """The body up to `limit`, or one byte more. TransportFailure also for one that drips."""
        total, began_s = 0, self._timing.monotonic()
        while total <= limit and (chunk := self.response.read(limit + 1 - total)):
            yield chunk
            total += len(chunk)
            waited_s = self._timing.monotonic() - began_s
            if waited_s > self._policy.slow_after_s and total < self._policy.slow_bytes_s * waited_s:
                raise TransportFailure("timeout", "it sends next to nothing")


class Wire:
    """Sends requests on behalf of one registry, each through the gate of the host that it goes to.

    `announce` hears of waits that a person would notice.
    """

    def __init__(
        self,
        transport: Transport,
        registry: Origin,
        *,
        tls: TlsSettings,
        patience_s: float = 0,
        policy: RetryPolicy,
        timing: Timing,
        gates: Gates | None = None,
        announce: Callable[[str], None] | None = None,
    ) -> None:
        self._transport = transport
        self._registry = registry
        self._tls = tls
        self._patience_s = patience_s
        self._announce = announce
        self._announced_s = 0.0
        self._is_known = False  # the registry has answered, so it exists
        self.policy = policy
        self.timing = timing
        self.gates = gates or Gates(timing=timing)

    def send(self, request: Request, *, follow: bool = True, is_gated: bool = True, is_trusted: bool = False) -> Hop:
        """The answer after at most five redirects. `Authorization` is dropped for good once the origin changes.

        `is_trusted`: the user allows the request's own target any address, though it is not the registry.
        """
        current, is_foreign = request, False
        for hops in range(_MAX_HOPS + 1):
            origin = Origin.of(current.url)
            is_own = origin == self._registry
            led_by = None if is_own or (is_trusted and not hops) else self._registry.host
            tls = self._tls if is_own else self._tls.elsewhere
            current = msgspec.structs.replace(current, tls=tls, led_by=led_by, patience_s=self._patience_s)
            response = self._through_gate(current, origin) if is_gated else self._sent(current, origin)
            location = response.headers.get("location")
            if not follow or response.status not in _REDIRECTS or location is None:
                return Hop(response, current.url, is_foreign=is_foreign, policy=self.policy, timing=self.timing)
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

    def persist(
        self, attempt: Callable[[], _Result], *, replayable: bool, where: str, refusable: bool = False
    ) -> _Result:
        """What `attempt` gives, tried again after broken connections and temporary statuses while that is safe.

        `refusable`: not replayable, but an answer that says it was not even looked at (429) may be followed by another
        try. The last answer is handed back whatever it says; a connection that stays broken is Unavailable.
        """
        patience = self.patience()
        while True:
            try:
                result = attempt()
            except TransportFailure as failure:
                may_repeat = replayable and failure.is_temporary
                wait_s = patience.after_failure(is_known=self._is_known) if may_repeat else None
                if wait_s is None:
                    tries = max(patience.tries, 1)
                    raise connection_failed(failure, self._registry, where, tries, is_known=self._is_known) from failure
                self.wait(wait_s, failure.message)
            else:
                if result.status not in TEMPORARY_STATUSES:
                    return result
                if not (replayable or (refusable and result.status == 429)):
                    return result
                wait_s = patience.after_answer(result.status, self.asked_s(result))
                if wait_s is None:
                    return result
                self.wait(wait_s, f"it answered {result.status}")

    def patience(self) -> Patience:
        """The patience for one request or download."""
        return Patience(self.policy, self.timing)

    def wait(self, wait_s: float, why: str) -> None:
        """Sleep before the next try; a long wait is announced, once while others wait as well."""
        ends_s = self.timing.monotonic() + wait_s
        if self._announce is not None and wait_s > _ANNOUNCED_FROM_S and ends_s > self._announced_s:
            self._announced_s = ends_s + _ANNOUNCED_FROM_S
            self._announce(f"waits {wait_s:.0f} s and tries again: {printable(why, 200)}")
        self.timing.sleep(wait_s)

    @property
    def is_known(self) -> bool:
        """True once the registry has answered anything."""
        return self._is_known

    def _through_gate(self, request: Request, origin: Origin) -> Response:
        lane: Lane = "read" if request.method in ("GET", "HEAD") else "write"
        gate = self.gates.of(origin, lane)
        turn = gate.enter()
        status, asked_s = None, None
        try:
            response = self._sent(request, origin)
            status = response.status
            if status == 429:
                asked_s = retry_after_s(response.headers, self.timing.now())
        finally:
            gate.leave(turn, status, asked_s)
        return response

    def _sent(self, request: Request, origin: Origin) -> Response:
        try:
            response = self._transport.send(request)
        except TransportFailure as failure:
            failure.origin = origin
            raise
        self._is_known = self._is_known or origin == self._registry
        return response

    def asked_s(self, result: _HasStatus) -> float | None:
        """How long an answer asks to wait: in its header, or in its text as GHCR does."""
        asked_s = retry_after_s(result.headers, self.timing.now())
        if asked_s is None and result.status == 429 and isinstance(result, Answer):
            return announced_wait_s(problem_of(result).message)
        return asked_s

    def _check_redirect(self, request: Request, status: int, url: str) -> None:
        is_reading = request.method in ("GET", "HEAD")
        may_follow = request.is_repeatable and request.method != "DELETE"
        if is_reading or (status in (307, 308) and may_follow):
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
