"""Uploads: a blob in one POST and one PUT, streamed (distribution-spec, "POST then PUT"), and mounts.

Registry layer, over the session. The last bytes leave only after size and digest were found right, so that no registry
ever holds the whole of a blob that is not what its digest says.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlencode

import msgspec

from provender.errors import ProvenderError, Unavailable
from provender.oci import Descriptor, Digest
from provender.storage.abilities import BlobReader
from provender.storage.registry.quirks import contradicts
from provender.storage.registry.session import Call, Session
from provender.storage.verify import CHUNK_BYTES, VerifiedReader

__all__ = ["Uploader"]

_STORED: Final = (201, 200, 204)  # 201 by the specification
_OPENED: Final = (202, 201)


class Uploader:
    """Uploads into one repository. `call` is a POST to its uploads with the scopes for writing."""

    def __init__(self, session: Session, call: Call) -> None:
        self._session = session
        self._call = call

    def open(self, where: str) -> str:
        """The URL of a new upload."""
        call = self._at(where, headers={"Content-Length": "0"}, ok=(202,))
        answer = self._session.ask(call)
        return self._location(answer.headers, answer.url, call)

    def mount(self, descriptor: Descriptor, from_repository: str, scopes_call: Call) -> str | None:
        """None if the blob is there now; else the URL of the upload that the registry opened, or `""` without one."""
        query = urlencode({"mount": descriptor.digest, "from": from_repository})
        call = msgspec.structs.replace(
            scopes_call,
            path=f"{scopes_call.path}?{query}",
            headers={"Content-Length": "0"},
            # Whatever else a registry answers means "push it" (distribution-spec, FAQ).
            ok=(201, 202, 400, 401, 403, 404, 405, 501),
        )
        answer = self._session.ask(call)
        if answer.status == 201:
            return None
        return self._location(answer.headers, answer.url, call) if answer.status == 202 else ""

    def put(self, location: str, descriptor: Descriptor, reader: BlobReader, where: str) -> None:
        """Send the content to an open upload. IntegrityError, before its end was sent, if it is not `descriptor`'s."""
        mark = "&" if "?" in location else "?"
        body = _Withheld(VerifiedReader(reader, descriptor, where=where))
        call = self._at(
            where,
            method="PUT",
            path=f"{location}{mark}{urlencode({'digest': descriptor.digest})}",
            headers={"Content-Type": "application/octet-stream", "Content-Length": str(descriptor.size)},
            body=body,
            ok=_STORED,
        )
        try:
            answer = self._session.ask(call)
        except ProvenderError as error:
            self._after_failure(error, location, descriptor, body, where)
            return
        except OSError:
            self._cancel(location, where)
            raise
        if contradicts(answer.headers.get("docker-content-digest"), descriptor.digest):
            self._session.warn(f"the registry stored {descriptor.digest} under another digest")

    def is_present(self, call: Call) -> bool:
        """True if the HEAD `call`, which allows the statuses of absence, finds the blob."""
        return self._session.ask(call).status == 200

    def _after_failure(
        self, error: ProvenderError, location: str, descriptor: Descriptor, body: _Withheld, where: str
    ) -> None:
        """Return if the blob is stored nevertheless (a lost or false answer to the last byte), else raise `error`."""
        if isinstance(error, Unavailable) and error.retryable and body.is_verified:
            if self._is_stored(descriptor.digest, where):
                return
        else:
            self._cancel(location, where)
        raise error

    def _is_stored(self, digest: Digest, where: str) -> bool:
        path = self._call.path.removesuffix("uploads/") + digest
        try:
            return self.is_present(self._at(where, method="HEAD", path=path, ok=(200, 404)))
        except ProvenderError:
            return False

    def _cancel(self, location: str, where: str) -> None:
        """Let the registry forget the upload; it does so by itself one day."""
        if not self._session.is_own(location):
            return
        try:
            self._session.ask(self._at(where, method="DELETE", path=location, ok=(204, 200, 202)))
        except ProvenderError:
            return

    def _location(self, headers: Mapping[str, str], base: str, call: Call) -> str:
        location = headers.get("location", "")
        if not location:
            raise Unavailable(
                f"{self._session.host} opened an upload but did not say where",
                code="no-upload-location",
                where=call.where,
                hint="a proxy in front of the registry may drop the header Location",
                retryable=False,
                exit_status=69,
            )
        return self._session.url(location, base=base, what="the upload location")

    def _at(
        self,
        where: str,
        *,
        method: str = "POST",
        path: str | None = None,
        headers: dict[str, str] | None = None,
        body: BlobReader | None = None,
        ok: tuple[int, ...] = _OPENED,
    ) -> Call:
        return msgspec.structs.replace(
            self._call,
            method=method,
            path=path or self._call.path,
            where=where,
            headers=headers or {},
            body=body,
            ok=ok,
        )


class _Withheld:
    """A reader that hands out its last chunk only after the verifying reader below has met the end."""

    def __init__(self, reader: VerifiedReader) -> None:
        self._reader = reader
        self._next: bytes | None = None

    @property
    def is_verified(self) -> bool:
        """True once everything was read and found right."""
        return self._reader.verified

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes: one chunk behind what was read below."""
        want = CHUNK_BYTES if size < 0 else size
        current = self._reader.read(want) if self._next is None else self._next
        if current:
            self._next = self._reader.read(want)
        return current

    def close(self) -> None:
        """Nothing: whoever gave the content closes it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()
