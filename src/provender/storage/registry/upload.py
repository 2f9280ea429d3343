"""Uploads: a blob in one POST and one PUT, streamed (distribution-spec, "POST then PUT"), and mounts.

Registry layer, over the session and, for blobs in pieces, `chunked`. The last bytes leave only after size and digest
were found right, so that no registry ever holds the whole of a blob that is not what its digest says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from provender.errors import (
    Denied,
    IntegrityError,
    NotFound,
    ProvenderError,
    RateLimited,
    Unauthorized,
    Unavailable,
    Unsupported,
)
from provender.oci import Descriptor, Digest
from provender.storage.abilities import BlobReader, UploadNote, UploadNotes
from provender.storage.hashing import HashingContent
from provender.storage.registry.calls import with_query
from provender.storage.registry.capabilities import Capabilities, Feature
from provender.storage.registry.chunked import ChunkedUpload
from provender.storage.registry.early import Early, FoundThere, blob_of
from provender.storage.registry.failures import Answer
from provender.storage.registry.going_on import GoingOn, ask_status
from provender.storage.registry.headers import whole_number
from provender.storage.registry.quirks import (
    MOUNT_REFUSED_STATUSES,
    NO_MOUNT_STATUSES,
    NO_SINGLE_POST_STATUSES,
    PATCHED_STATUSES,
    PROBE_ABSENT_STATUSES,
    STORED_STATUSES,
    contradicts,
)
from provender.storage.registry.session import Call, Session
from provender.storage.registry.upload_sizes import UploadSettings, UploadSizes
from provender.storage.registry.vouched import vouched
from provender.storage.registry.withheld import Withheld
from provender.storage.rewindable import CountedContent, Rewindable
from provender.storage.verify import CHUNK_BYTES, BytesReader, Verifying, read_all, verifying

__all__ = ["Uploader"]

# Of the rest of a blob whose upload broke off; another break costs no more than one of them.
_REST_CHUNK_BYTES: Final = 16 << 20
_ATTEMPTS: Final = 4
_CANCELS: Final = 4
_SETTLES_S: Final = 0.05  # what was on its way when a connection was closed
_LOOK_S: Final = 0.2  # how often the wait for a digest is looked up from


class Uploader:
    """Uploads into one repository. `call` is a POST to its uploads with the scopes for writing."""

    def __init__(
        self,
        session: Session,
        call: Call,
        *,
        capabilities: Capabilities,
        settings: UploadSettings,
        sizes: UploadSizes,
        notes: UploadNotes | None = None,
    ) -> None:
        self._session = session
        self._call = call
        self._where = call.where
        self._capabilities = capabilities
        self._settings = settings
        self._sizes = sizes
        self._notes = notes
        self._going_on: GoingOn | None = None
        self._is_sending = False
        self._is_streaming = False  # in a request that nobody below repeats
        self._may_renew = True
        self._open_at = ""  # the upload that is not done
        self._is_given_up = False

    def is_present(self, probe: Call) -> bool:
        """True if the HEAD `probe` finds the blob."""
        call = msgspec.structs.replace(probe, ok=(200, *PROBE_ABSENT_STATUSES))
        return self._session.ask(call).status == 200

    def mount(self, descriptor: Descriptor, from_repository: str, call: Call) -> str | None:
        """None if the blob is there now; else the URL of the upload that the registry opened, or `""` without one.

        `call` is a POST to the uploads with the scopes for both repositories.
        """
        if self._capabilities.known(Feature.MOUNT) is False:
            return ""
        call = msgspec.structs.replace(
            call,
            path=with_query(call.path, (("mount", descriptor.digest), ("from", from_repository))),
            headers={"Content-Length": "0"},
            ok=(201, 202, *MOUNT_REFUSED_STATUSES),
        )
        answer = self._session.ask(call)
        if answer.status == 201:
            return None
        if answer.status in NO_MOUNT_STATUSES:
            self._capabilities.learn(Feature.MOUNT, offered=False)
        return self._location(answer) if answer.status == 202 else ""

    def store_early(self, content: HashingContent, is_there: Callable[[Descriptor], bool]) -> Digest:
        """Send content while it is hashed, and store it; its digest. What `is_there` is not sent to its end.

        What a registry does not take so, it is sent as by `store`, which knows what to do about it.
        """
        try:
            kept = self._send_early(content, is_there)
            while (digest := content.digest_within(_LOOK_S)) is None:
                pass
            descriptor = blob_of(content, digest)
            if kept is None:
                kept = self._continuation(descriptor).after_break(self._open_at) if self._open_at else None
            if kept is None:
                self._cancel()
                if is_there(descriptor):
                    return digest
            content.rewind()
            self.store(descriptor, content, kept=kept)
            return digest
        except FoundThere as found:
            return found.digest
        finally:
            self._cancel()

    def _send_early(self, content: HashingContent, is_there: Callable[[Descriptor], bool]) -> UploadNote | None:
        """The upload with all of the content but its end; None if that did not get through."""
        body = Early(content, is_there)
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(body.size),
            "Content-Range": f"0-{body.size - 1}",
        }
        try:
            location, _ = self._open()
            self._open_at = location
            call = msgspec.structs.replace(
                self._call, method="PATCH", path=location, headers=headers, body=body, ok=PATCHED_STATUSES
            )
            answer = self._session.ask(call)
            if told := answer.headers.get("location"):
                self._open_at = self._session.url(told, base=answer.url, what="the upload location")
        except ProvenderError as error:
            if error.code == "too-large-for-registry":
                self._capabilities.learn_refused_put(content.size)
            return None
        return UploadNote(self._open_at, body.size)

    def store(
        self,
        descriptor: Descriptor,
        reader: BlobReader,
        opened: str | None = None,
        *,
        kept: UploadNote | None = None,
    ) -> None:
        """Send the content, to the upload `opened` if there is one. IntegrityError if it is not `descriptor`'s.

        Of the upload `kept` the registry has a part, which is not sent.

        A reader that can be rewound is sent again after what may pass: a broken connection, a lost upload, a token
        that ran out, a proxy that takes no body of this size. Of a large blob only what the registry does not have yet.
        """
        patience = self._session.wire.patience()
        if self._settings.is_small(descriptor):
            # In memory it can be sent again by itself, after a challenge too.
            verified = verifying(reader, descriptor, where=self._where)
            reader = BytesReader(read_all(verified, self._settings.small_bytes))
        going_on = self._going_on = self._continuation(descriptor)
        if opened is None and kept is None:
            kept = going_on.noted()
        tries = 0
        try:
            while True:
                try:
                    self._attempt(descriptor, reader, opened, kept)
                    self._open_at = ""
                    going_on.ended()
                    return
                except ProvenderError as error:
                    self._is_given_up = not error.retryable
                    # No sign of anything broken: it ends with the time. Requests that repeat have waited by then.
                    if isinstance(error, RateLimited) and self._is_streaming:
                        wait_s = patience.after_answer(429, error.asked_s)
                    else:
                        tries += 1
                        wait_s = patience.after_failure(is_known=True)
                    may_pass = self._may_pass(error, descriptor) or (kept is not None and not _is_final(error))
                    if tries == _ATTEMPTS or wait_s is None or not may_pass or not isinstance(reader, Rewindable):
                        if isinstance(error, RateLimited):
                            self._open_at = ""  # it wants no request now, this one least of all
                        raise
                    if tries > 1 or isinstance(error, RateLimited):
                        self._session.wire.wait(wait_s, error.message)
                # What goes on has a patience of its own; if it failed, the registry is not to be trusted with the rest.
                kept = going_on.after_break(self._open_at) if self._open_at and kept is None else None
                if kept is None:
                    self._cancel()
                reader.rewind()
                opened, self._is_given_up = None, False
        finally:
            if self._is_given_up or not going_on.is_noted:
                self._cancel()

    def _continuation(self, descriptor: Descriptor) -> GoingOn:
        from_bytes = self._settings.large_bytes
        return GoingOn(self._session, self._call, descriptor, notes=self._notes, from_bytes=from_bytes)

    def _may_pass(self, error: ProvenderError, descriptor: Descriptor) -> bool:
        """True if another attempt may do better."""
        if isinstance(error, Unsupported) and error.code == "too-large-for-registry":
            # `_put` has learnt it, so the next attempt is in chunks.
            return self._sizes.chunk_bytes(descriptor, 0) is not None
        if isinstance(error, NotFound) and error.code == "upload-lost":
            return True
        if isinstance(error, Unauthorized):
            # A token that ran out under the content: the next POST gets another one. Refused to a POST it stays so.
            renews, self._may_renew = self._may_renew and self._is_sending, False
            return renews
        return error.retryable

    def _attempt(self, descriptor: Descriptor, reader: BlobReader, opened: str | None, kept: UploadNote | None) -> None:
        self._is_sending = self._is_streaming = False
        if kept is not None:
            self._open_at, self._is_sending = kept.location, True
            size = self._sizes.chunk_bytes(descriptor, 0, _REST_CHUNK_BYTES) or _REST_CHUNK_BYTES
            self._send_chunks(descriptor, reader, size, kept.offset)
            return
        is_whole = self._sizes.chunk_bytes(descriptor, 0) is None
        if opened is None and is_whole and self._posts_at_once(descriptor, reader):
            opened = self._post(descriptor, reader)
            if opened is None:
                return
        location, least = (opened, 0) if opened else self._open(descriptor)
        self._acknowledged(location, 0)
        self._is_sending = True
        size = self._sizes.chunk_bytes(descriptor, least) or 0
        if size:
            self._send_chunks(descriptor, reader, size, 0)
        else:
            self._is_streaming = True
            self._put(location, descriptor, reader)

    def _send_chunks(self, descriptor: Descriptor, reader: BlobReader, size: int, offset: int) -> None:
        """Send what comes after `offset`, in pieces."""
        body = vouched(reader, descriptor, self._where, offset=offset) or self._hashed(reader, descriptor, offset)
        upload = ChunkedUpload(
            self._session,
            self._call,
            descriptor,
            location=self._open_at,
            size=size,
            capabilities=self._capabilities,
            acknowledged=self._acknowledged,
            sent=offset,
        )
        try:
            answer = upload.send(body)
        except ProvenderError as error:
            if not self._is_stored_nevertheless(error, descriptor.digest, is_verified=upload.is_verified):
                raise
        else:
            self._check(answer, descriptor)

    def _hashed(self, reader: BlobReader, descriptor: Descriptor, offset: int) -> Verifying:
        """The content behind `offset`; what comes before is read and hashed."""
        verified = verifying(reader, descriptor, where=self._where)
        if offset and isinstance(reader, CountedContent):
            reader.not_sent(offset)
        while offset and (piece := verified.read(min(offset, CHUNK_BYTES))):
            offset -= len(piece)
        return verified

    def _acknowledged(self, location: str, offset: int) -> None:
        self._open_at = location
        if self._going_on is not None:
            self._going_on.acknowledged(location, offset)

    def _open(self, descriptor: Descriptor | None = None) -> tuple[str, int]:
        """The URL of a new upload, and the least size of its chunks. Without a descriptor it is for sha256."""
        call = msgspec.structs.replace(self._call, headers={"Content-Length": "0"}, ok=(202,))
        is_usual = descriptor is None or descriptor.digest.algorithm == "sha256"
        if descriptor is not None and not is_usual and self._sizes.chunk_bytes(descriptor, 0) is not None:
            # distribution-spec 1.1+dev: so that the registry hashes the chunks as they come.
            call = msgspec.structs.replace(
                call, path=with_query(call.path, (("digest-algorithm", descriptor.digest.algorithm),))
            )
        answer = self._session.ask(call)
        least = whole_number(answer.headers.get("oci-chunk-min-length", "")) or 0
        if least:
            self._capabilities.learn_chunk_min(least)
        return self._location(answer), least

    def _posts_at_once(self, descriptor: Descriptor, reader: BlobReader) -> bool:
        """True if one POST is to be tried; a registry that ignores its body needs the content again."""
        if not self._settings.single_post and not self._settings.is_small(descriptor):
            return False
        known = self._capabilities.known(Feature.SINGLE_POST)
        return known is True or (known is None and isinstance(reader, Rewindable))

    def _post(self, descriptor: Descriptor, reader: BlobReader) -> str | None:
        """None if one POST stored the content; else the URL of the upload that was opened instead, or `""`."""
        body: Withheld | bytes = Withheld(verifying(reader, descriptor, where=self._where))
        if isinstance(reader, BytesReader):
            body = reader.read()
        call = msgspec.structs.replace(
            self._call,
            path=with_query(self._call.path, (("digest", descriptor.digest),)),
            headers={"Content-Type": "application/octet-stream", "Content-Length": str(descriptor.size)},
            body=body,
            ok=(201, 202, *NO_SINGLE_POST_STATUSES),
        )
        answer = self._session.ask(call)
        self._capabilities.learn(Feature.SINGLE_POST, offered=answer.status == 201)
        if answer.status == 201:
            self._check(answer, descriptor)
            return None
        location = self._location(answer) if answer.status == 202 else ""
        if not isinstance(reader, Rewindable):
            self._open_at = location
            raise Unavailable(
                f"{self._session.host} no longer takes a blob in one POST",
                code="upload-not-taken",
                where=self._where,
                hint="try again",
            )
        reader.rewind()
        return location

    def _put(self, location: str, descriptor: Descriptor, reader: BlobReader) -> None:
        """Send the content to an open upload, whole."""
        body = vouched(reader, descriptor, self._where) or Withheld(verifying(reader, descriptor, where=self._where))
        call = msgspec.structs.replace(
            self._call,
            method="PUT",
            path=with_query(location, (("digest", descriptor.digest),)),
            headers={"Content-Type": "application/octet-stream", "Content-Length": str(descriptor.size)},
            body=body,
            ok=STORED_STATUSES,
        )
        try:
            answer = self._session.ask(call)
        except ProvenderError as error:
            if isinstance(error, Unsupported) and error.code == "too-large-for-registry":
                self._capabilities.learn_refused_put(descriptor.size)
            if not self._is_stored_nevertheless(error, descriptor.digest, is_verified=body.verified):
                raise
        else:
            self._check(answer, descriptor)

    def _is_stored_nevertheless(self, error: ProvenderError, digest: Digest, *, is_verified: bool) -> bool:
        """True if the blob is there after a lost or false answer to the last byte."""
        is_open = error.code == "upload-lost" or (isinstance(error, Unavailable) and error.retryable)
        if not is_verified or not is_open:
            return False
        path = self._call.path.removesuffix("uploads/") + digest
        call = msgspec.structs.replace(self._call, method="HEAD", path=path, ok=(200, 404))
        try:
            return self._session.ask(call).status == 200
        except ProvenderError:
            return False

    def _cancel(self) -> None:
        """Let the registry forget the open upload, if that can be had at once; it does so by itself one day."""
        location, self._open_at = self._open_at, ""
        if not location:
            return
        if self._going_on is not None:
            self._going_on.ended()
        if not self._session.is_own(location):
            return
        call = msgspec.structs.replace(self._call, method="DELETE", path=location, ok=(204, 200, 202, 416))
        try:
            for _ in range(_CANCELS):
                if self._session.ask(call, once=True).status != 416:
                    return
                # distribution: the location is not that of what arrived meanwhile, and some of it still arrives.
                self._session.wire.timing.sleep(_SETTLES_S)
                answer = ask_status(self._session, self._call, location)
                call = msgspec.structs.replace(call, path=self._location(answer))
                if not self._session.is_own(call.path):
                    return
        except ProvenderError:
            return

    def _check(self, answer: Answer, descriptor: Descriptor) -> None:
        if contradicts(answer.headers.get("docker-content-digest"), descriptor.digest):
            self._session.warn(f"the registry stored {descriptor.digest} under another digest")

    def _location(self, answer: Answer) -> str:
        location = answer.headers.get("location", "")
        if not location:
            raise Unavailable(
                f"{self._session.host} opened an upload but did not say where",
                code="no-upload-location",
                where=self._where,
                hint="a proxy in front of the registry may drop the header Location",
                retryable=False,
                exit_status=69,
            )
        return self._session.url(location, base=answer.url, what="the upload location")


def _is_final(error: ProvenderError) -> bool:
    """True for what starting over cannot mend: the content, or the credentials."""
    return isinstance(error, IntegrityError | Unauthorized | Denied)
