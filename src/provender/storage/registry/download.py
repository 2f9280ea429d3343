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
from provender.storage.registry.session import Call, Session
from provender.storage.registry.transport import TransportFailure
from provender.storage.registry.wire import Hop
from provender.storage.verify import CHUNK_BYTES

__all__ = ["Download"]

_PAGE_BYTES: Final = 4 << 10


class Download:
    """A source for `VerifiedReader`: the content of `descriptor` from `offset` on, opened at once.

    `call` is the GET of the whole content. Raises NotFound and the other errors of an unwanted answer.
    """

    def __init__(self, session: Session, call: Call, descriptor: Descriptor, *, offset: int = 0) -> None:
        self._session = session
        self._call = msgspec.structs.replace(call, ok=(200, 206, 416))
        self._descriptor = descriptor
        self._position = offset
        self._skip = 0  # bytes of the current answer that were delivered before
        self._uses_range = True
        self._fruitless = 0
        self._hop: Hop | None = None
        self._open()

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes; `b""` where the content ended, which may be too early: the verifying reader judges."""
        want = CHUNK_BYTES if size < 0 else size
        while want and self._hop is not None:
            try:
                chunk = self._hop.response.read(min(self._skip, CHUNK_BYTES) or want)
            except TransportFailure as failure:
                self._resume(failure)
                continue
            if chunk and self._skip:
                self._skip -= len(chunk)
            elif chunk:
                self._position += len(chunk)
                self._fruitless = 0
                return chunk
            elif self._broke_silently(self._hop):
                self._resume(TransportFailure("broken", "the answer ended early"))
            else:
                return b""
        return b""

    def close(self) -> None:
        if self._hop is not None:
            self._hop.response.close()
            self._hop = None

    def _open(self) -> None:
        """Ask for what is missing. An answer that does not fit the range gets one request for the whole content."""
        headers = dict(self._call.headers)
        is_partial = self._position > 0 and self._uses_range
        if is_partial:
            headers["Range"] = f"bytes={self._position}-"
        call = msgspec.structs.replace(self._call, headers=headers)
        hop = self._session.open(call)
        if hop.status == 200:
            self._check_page(hop, call)
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
        self.close()
        self._fruitless += 1
        if self._fruitless >= self._session.wire.tries or not failure.is_temporary:
            message = f"{failure.message} at byte {self._position} of {self._descriptor.size}"
            stopped = TransportFailure(failure.kind, message)
            raise connection_failed(stopped, self._session.registry, self._call.where, self._fruitless) from failure
        if self._fruitless > 1:
            self._session.wire.pause(self._fruitless)
        try:
            self._open()
        except NotFound as error:
            raise Unavailable(
                f"{self._descriptor.digest} vanished from {self._session.host} while it was read",
                code="content-vanished",
                where=self._call.where,
                hint="try again; somebody may be cleaning up the registry",
            ) from error

    def _broke_silently(self, hop: Hop) -> bool:
        """True for an early end where neither a length nor chunks tell it from a whole answer."""
        has_end = "content-length" in hop.headers or "chunked" in hop.headers.get("transfer-encoding", "").lower()
        return self._position < self._descriptor.size and not has_end

    def _check_page(self, hop: Hop, call: Call) -> None:
        """Refuse a web page in place of the content, and content whose promised length is wrong."""
        length = hop.headers.get("content-length", "")
        kind = hop.headers.get("content-type", "").partition(";")[0].strip().lower()
        is_page = kind == "text/html" and self._descriptor.media_type != kind
        if length == str(self._descriptor.size) or not (length or is_page):
            return
        answer = hop.answer(_PAGE_BYTES)
        if is_page:
            raise self._session.no_registry(answer, call)
        raise IntegrityError(
            f"{self._descriptor.digest} has {length[:20]} bytes in {self._session.host}, "
            f"not the {self._descriptor.size} bytes declared",
            code="size-mismatch",
            where=self._call.where,
            hint="the registry or a proxy in between returned other content; nothing was kept",
        )
