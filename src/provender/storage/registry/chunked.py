"""A blob in pieces: PATCH after PATCH, the last one in the PUT that closes (distribution-spec, "Pushing a blob in
chunks").

Registry layer, below the uploader. One chunk is held in memory, so that it can be sent again after a broken connection:
the registry is asked how far it came. The last chunk leaves only after size and digest of the whole were found right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import msgspec

from provender.errors import NotFound, ProvenderError, Unauthorized, Unavailable, Unsupported
from provender.oci import Descriptor
from provender.storage.registry.calls import with_query
from provender.storage.registry.capabilities import Capabilities
from provender.storage.registry.failures import Answer
from provender.storage.registry.going_on import ask_status, reached
from provender.storage.registry.quirks import PATCHED_STATUSES, STORED_STATUSES
from provender.storage.registry.redact import printable
from provender.storage.registry.session import Call, Session
from provender.storage.registry.vouched import Vouched
from provender.storage.verify import BytesReader, Verifying

__all__ = ["MAX_CHUNK_BYTES", "ChunkedUpload"]

MAX_CHUNK_BYTES: Final = 64 << 20
_MIN_CHUNK_BYTES: Final = 64 << 10  # smaller ones are no longer tried


class ChunkedUpload:
    """The upload of one blob to `location`, which has the first `sent` bytes of it, in chunks of `size` bytes.

    `call` is a POST to the uploads. `acknowledged` is told where the upload is and how far, whenever that changes.
    """

    def __init__(
        self,
        session: Session,
        call: Call,
        descriptor: Descriptor,
        *,
        location: str,
        size: int,
        capabilities: Capabilities,
        acknowledged: Callable[[str, int], None],
        sent: int = 0,
    ) -> None:
        self.location = location
        self.is_verified = False
        self._session = session
        self._call = call
        self._descriptor = descriptor
        self._size = size
        self._capabilities = capabilities
        self._acknowledged = acknowledged
        self._sent = sent  # what the registry has
        self._held = b""  # what comes after that
        self._patience = session.wire.patience()

    def send(self, reader: Verifying | Vouched) -> Answer:
        """The registry's answer to the end of it. `reader` stands where the registry is.

        Raises IntegrityError for other content than the descriptor's, and what the registry refuses; an error with
        code `upload-lost` or `upload-out-of-step` asks for another upload from the start.
        """
        while True:
            self._fill(reader)
            is_end = self.is_verified and len(self._held) <= self._size
            answer = self._ask("PUT" if is_end else "PATCH", self._held[: self._size])
            if is_end and answer is not None:
                return answer

    def _fill(self, reader: Verifying | Vouched) -> None:
        pieces, missing = [self._held], self._size - len(self._held)
        while missing > 0 and (piece := reader.read(missing)):
            pieces.append(piece)
            missing -= len(piece)
        self._held = b"".join(pieces)
        if self._sent + len(self._held) == self._descriptor.size and not self.is_verified:
            # The read that meets the end raises unless size and digest are right.
            reader.read(1)
            self.is_verified = reader.verified

    def _ask(self, method: Literal["PATCH", "PUT"], chunk: bytes) -> Answer | None:
        """The answer to a chunk that was taken; None to look again at what is to be sent next."""
        call = self._call_with(method, chunk)
        try:
            answer = self._session.ask(call)
        except ProvenderError as error:
            # A chunk is never sent again blindly: docker-registry 2.8 appends it whatever its Content-Range says.
            if not error.retryable and not isinstance(error, Unauthorized):
                raise
            self._resume(error)
            return None
        if answer.status in (413, 416):
            self._refused(self._session.error(answer, call), len(chunk))
            return None
        self._patience.progressed()
        if method == "PATCH":
            self._advance(len(chunk), answer)
        return answer

    def _refused(self, error: ProvenderError, size: int) -> None:
        """After 413 and 416: go on from where the registry is, in smaller chunks if it is where it was."""
        if self._resume(error):
            return
        smaller = max(size // 4, _MIN_CHUNK_BYTES, self._capabilities.chunk_min_bytes)
        if smaller < size:
            self._size = smaller
            self._capabilities.learn_chunk_max(smaller)
        elif isinstance(error, Unsupported):
            error.code = "chunk-too-large-for-registry"
            raise error

    def _resume(self, error: ProvenderError) -> bool:
        """Ask how far the registry came and drop that much; True if it came further. `error` is why."""
        wait_s = self._patience.after_failure(is_known=True)
        if wait_s is None:
            raise error
        if self._patience.tries > 1:
            self._session.wire.wait(wait_s, error.message)
        try:
            answer = ask_status(self._session, self._call, self.location)
        except NotFound as lost:
            lost.code = "upload-lost"
            raise lost from error
        except ProvenderError as failure:
            raise error from failure
        said = answer.headers.get("range", "0-0").strip()
        there = reached(said)
        if there is None or not self._sent <= there <= self._sent + len(self._held):
            raise self._out_of_step(said) from error
        progress = there - self._sent
        self._advance(progress, answer)
        if progress:
            self._patience.progressed()
        return bool(progress)

    def _advance(self, size: int, answer: Answer) -> None:
        self._sent += size
        self._held = self._held[size:]
        if location := answer.headers.get("location"):
            self.location = self._session.url(location, base=answer.url, what="the upload location")
        self._acknowledged(self.location, self._sent)

    def _call_with(self, method: Literal["PATCH", "PUT"], content: bytes) -> Call:
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(len(content))}
        if content:
            headers["Content-Range"] = f"{self._sent}-{self._sent + len(content) - 1}"
        if method == "PATCH":
            call = self._at("PATCH", self.location, (*PATCHED_STATUSES, 413, 416))
            return msgspec.structs.replace(call, headers=headers, body=content)
        call = self._at("PUT", with_query(self.location, (("digest", self._descriptor.digest),)), STORED_STATUSES)
        # As a reader, so that nobody below takes it for the PUT of a whole, which can be repeated.
        return msgspec.structs.replace(call, ok=(*call.ok, 413, 416), headers=headers, body=BytesReader(content))

    def _at(self, method: str, path: str, ok: tuple[int, ...]) -> Call:
        return msgspec.structs.replace(self._call, method=method, path=path, ok=ok)

    def _out_of_step(self, said: str) -> Unavailable:
        return Unavailable(
            f"{self._session.host} says that it has the bytes {printable(said, 40)!r} of an upload of which "
            f"{self._sent} to {self._sent + len(self._held)} were sent",
            code="upload-out-of-step",
            where=self._call.where,
            hint="try again: the upload starts over",
        )
