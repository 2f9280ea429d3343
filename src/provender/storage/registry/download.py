"""Downloads: the bytes of a blob as they arrive, resumed by Range when the connection breaks in the middle.

Registry layer, over the session; the verifying reader sits on top, so its hash goes on over a resume. Whatever a server
does with Range, bytes are delivered in order and once; if they are the wrong ones, the digest tells.
"""

from __future__ import annotations

from typing import Final

import msgspec

from provender.errors import IntegrityError, NotFound, Unavailable
from provender.oci import Descriptor
from provender.storage.registry.failures import Answer, connection_failed
from provender.storage.registry.headers import parse_content_range
from provender.storage.registry.ranges import MIN_BYTES, Windows, WindowsFailed
from provender.storage.registry.retry import RetryPolicy
from provender.storage.registry.session import Call, Session
from provender.storage.registry.transport import TransportFailure
from provender.storage.registry.wire import Hop
from provender.storage.verify import CHUNK_BYTES

__all__ = ["Download"]

_PAGE_BYTES: Final = 4 << 10
# Less than this between two breaks is no progress: else one byte at a time would be worth any number of requests.
_PROGRESS_BYTES: Final = 32 << 10
# Parallel ranges are for connections that are limited one by one (faults-and-performance, section 2, item 7).
_MEASURED_AFTER_S: Final = 2.0
_FAST_BYTES_S: Final = 60 << 20
_MOST_WIDENINGS: Final = 8


class Download:
    """A source for `VerifiedReader`: the content of `descriptor` from `offset` on, opened at once.

    `call` is the GET of the whole content. Raises NotFound and the other errors of an unwanted answer.
    """

    def __init__(self, session: Session, call: Call, descriptor: Descriptor, *, offset: int = 0) -> None:
        policy = session.wire.policy
        self._session = session
        self._call = msgspec.structs.replace(call, ok=(200, 206, 416), silence_s=policy.slow_after_s)
        self._descriptor = descriptor
        self._position = offset
        self._skip = 0  # bytes of the current answer that were delivered before
        self._uses_range = True
        self._etag: str | None = None  # a strong one, which says that the same bytes go on
        self._patience = session.wire.patience()
        self._gained = 0  # bytes since the last break
        self._pace = _Pace(policy)
        self._hop: Hop | None = None
        self._windows: Windows | None = None
        self._widenings = 0
        self._is_closed = False
        self._open()

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes; `b""` where the content ended, which may be too early: the verifying reader judges."""
        want = CHUNK_BYTES if size < 0 else size
        while want and (self._hop is not None or self._windows is not None):
            try:
                chunk = self._next(want)
            except TransportFailure as failure:
                if self._is_closed:
                    return b""
                self._resume(failure)
                continue
            except WindowsFailed:
                self._narrow()
                continue
            if chunk and self._skip:
                self._skip -= len(chunk)
            elif chunk:
                self._position += len(chunk)
                self._gained += len(chunk)
                return chunk
            elif not self._is_closed and self._broke_silently():
                self._resume(TransportFailure("broken", "the answer ended early"))
            else:
                return b""
        return b""

    def close(self) -> None:
        """Let go of the connection; a read that another thread is in ends at once, and nothing is resumed."""
        self._is_closed = True
        self._release()

    def _release(self) -> None:
        if self._hop is not None:
            self._hop.response.close()
            self._hop = None
        if self._windows is not None:
            self._windows.close()
            self._windows = None
            self._session.wire.gates.side_by_side.release()

    def _next(self, want: int) -> bytes:
        """Bytes from the current answer or windows. Raises TransportFailure for a stall, even one that drips."""
        gates = self._session.wire.gates
        if self._windows is None and self._is_worth_widening() and gates.side_by_side.acquire(blocking=False):
            self._widen()
        monotonic = self._session.wire.timing.monotonic
        began_s = monotonic()
        if self._windows is not None:
            chunk = self._windows.read(want)
        elif self._hop is not None:
            chunk = self._hop.response.read(min(self._skip, CHUNK_BYTES) or want)
        else:
            return b""
        if self._pace.is_too_slow(len(chunk), monotonic() - began_s) and chunk:
            # What has just arrived is good; it is asked for again, since nobody can say how the read went on.
            raise TransportFailure("timeout", "it sends next to nothing")
        return chunk

    def _open(self) -> None:
        """Ask for what is missing. An answer that does not fit the range gets one request for the whole content."""
        call = self._call
        is_partial = self._position > 0 and self._uses_range and self._session.has_ranges
        if is_partial:
            headers = {**call.headers, "Range": f"bytes={self._position}-"}
            if self._etag is not None:
                headers["If-Range"] = self._etag
            call = msgspec.structs.replace(call, headers=headers)
        hop = self._session.open(call)
        self._pace.begin()
        if hop.status == 200:
            self._check_page(hop, call)
            if is_partial and self._etag is None:
                self._session.has_ranges = False
            self._etag = None if is_partial else _strong_etag(hop)
            self._skip, self._hop = self._position, hop
            return
        if is_partial and hop.status == 206 and self._fits(hop):
            self._skip, self._hop = 0, hop
            return
        hop.response.close()
        if not is_partial:
            raise self._session.error(Answer(status=hop.status, headers=hop.headers, body=b"", url=hop.url), call)
        # 416, or a range that was not asked for: the source may hold other content now. The whole of it tells.
        self._uses_range = False
        self._open()

    def _fits(self, hop: Hop) -> bool:
        found = parse_content_range(hop.headers.get("content-range", ""))
        return found is not None and found.start == self._position and found.total in (None, self._descriptor.size)

    def _resume(self, failure: TransportFailure) -> None:
        self._release()
        if self._gained >= _PROGRESS_BYTES:
            self._patience.progressed()
        self._gained = 0
        wait_s = self._patience.after_failure(is_known=True) if failure.is_temporary else None
        message = f"{failure.message} at byte {self._position} of {self._descriptor.size}"
        if wait_s is None:
            stopped = TransportFailure(failure.kind, message)
            tries = max(self._patience.tries, 1)
            raise connection_failed(stopped, self._session.registry, self._call.where, tries) from failure
        if self._patience.tries > 1:
            self._session.wire.wait(wait_s, message)
        try:
            self._open()
        except NotFound as error:
            raise Unavailable(
                f"{self._descriptor.digest} vanished from {self._session.host} while it was read",
                code="content-vanished",
                where=self._call.where,
                hint="try again; somebody may be cleaning up the registry",
            ) from error

    def _broke_silently(self) -> bool:
        """True for an early end where neither a length nor chunks tell it from a whole answer.

        A range may be answered by a part of it (RFC 9110, 15.3.7): what is left is asked for.
        """
        if self._hop is None:
            return False
        if self._hop.status == 206:
            return self._position < self._descriptor.size
        headers = self._hop.headers
        has_end = "content-length" in headers or "chunked" in headers.get("transfer-encoding", "").lower()
        return self._position < self._descriptor.size and not has_end

    # Parallel ranges

    def _is_worth_widening(self) -> bool:
        """True for a slow connection with much to come, to a server that does ranges."""
        hop = self._hop
        if hop is None or self._skip or not self._pace.is_slow or self._descriptor.size - self._position < MIN_BYTES:
            return False
        does_ranges = hop.status == 206 or hop.headers.get("accept-ranges", "").strip().lower() == "bytes"
        may_ask = self._uses_range and self._session.has_ranges and self._widenings < _MOST_WIDENINGS
        return does_ranges and may_ask

    def _widen(self) -> None:
        if self._hop is not None:
            self._hop.response.close()
            self._hop = None
        self._widenings += 1
        self._pace.begin()
        self._windows = Windows(self._ask, self._position, self._descriptor.size)

    def _ask(self, first: int, last: int) -> Hop:
        call = msgspec.structs.replace(
            self._call, headers={**self._call.headers, "Range": f"bytes={first}-{last}"}, ok=(206,)
        )
        return self._session.open(call)

    def _narrow(self) -> None:
        """Back to one connection, which meets, and reports, whatever is wrong."""
        self._resume(TransportFailure("broken", "a parallel range broke"))

    def _check_page(self, hop: Hop, call: Call) -> None:
        """Refuse a web page in place of the content, and content whose promised length is wrong."""
        length = hop.headers.get("content-length", "")
        kind = hop.headers.get("content-type", "").partition(";")[0].strip().lower()
        is_page = kind == "text/html" and self._descriptor.media_type != kind
        if length == str(self._descriptor.size) or not (length or is_page):
            return
        if is_page:
            raise self._session.no_registry(hop.answer(_PAGE_BYTES), call)
        hop.response.close()
        raise IntegrityError(
            f"{self._descriptor.digest} has {length[:20]} bytes in {self._session.host}, "
            f"not the {self._descriptor.size} bytes declared",
            code="size-mismatch",
            where=self._call.where,
            hint="the registry or a proxy in between returned other content; nothing was kept",
        )


class _Pace:
    """How fast the bytes come, by the time spent on waiting for them: a slow reader does not make a slow server."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self.begin()

    def begin(self) -> None:
        """A new answer."""
        self._bytes = self._lately_bytes = 0
        self._waited_s = self._lately_s = 0.0

    def is_too_slow(self, size: int, waited_s: float) -> bool:
        """Count what arrived; True if the last stretch of time brought next to nothing."""
        self._bytes += size
        self._waited_s += waited_s
        self._lately_bytes += size
        self._lately_s += waited_s
        if self._lately_s < self._policy.slow_after_s:
            return False
        is_dripping = self._lately_bytes < self._policy.slow_bytes_s * self._lately_s
        self._lately_bytes, self._lately_s = 0, 0.0
        return is_dripping

    @property
    def is_slow(self) -> bool:
        """True if one connection is limited, as far as can be said already."""
        return self._waited_s >= _MEASURED_AFTER_S and self._bytes < _FAST_BYTES_S * self._waited_s


def _strong_etag(hop: Hop) -> str | None:
    etag = hop.headers.get("etag", "").strip()
    return etag if len(etag) in range(2, 200) and etag[0] == etag[-1] == '"' and etag.isprintable() else None
