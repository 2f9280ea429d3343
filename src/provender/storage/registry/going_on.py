"""Uploads that go on after a break: where the registry has come to, in this run and, with notes, in the next one.

Registry layer, below the uploader. What a registry kept of a blob whose sending broke off depends on the registry:
distribution 3 keeps what arrived, zot and docker-registry 2.8 forget an upload whose request did not end. So it is
asked, and never taken for granted; the digest at the end proves the whole in any case.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from provender.errors import ProvenderError
from provender.oci import Descriptor
from provender.storage.abilities import UploadNote, UploadNotes
from provender.storage.registry.failures import Answer
from provender.storage.registry.session import Call, Session

__all__ = ["GoingOn", "ask_status", "reached"]

_RANGE: Final = re.compile(r"(?:bytes[= ])?0-(\d{1,19})")


def ask_status(session: Session, call: Call, location: str) -> Answer:
    """What the registry says of the upload there (distribution-spec end-13); NotFound if it does not know it."""
    return session.ask(msgspec.structs.replace(call, method="GET", path=location, ok=(204, 200)))


def reached(said: str) -> int | None:
    """How many bytes `Range` tells of; None if it tells nothing that can be read.

    `0-0` is nothing as well as one byte (docker-registry 2.8); no part that we send has one byte only.
    """
    found = _RANGE.fullmatch(said)
    if found is None:
        return None
    return int(found[1]) + 1 if int(found[1]) else 0


class GoingOn:
    """The upload of one blob as it is to be found again. `call` is a POST to the uploads."""

    def __init__(
        self, session: Session, call: Call, descriptor: Descriptor, *, notes: UploadNotes | None, from_bytes: int
    ) -> None:
        self._session = session
        self._call = call
        self._descriptor = descriptor
        self._is_worth_it = descriptor.size >= from_bytes
        self._notes = notes if self._is_worth_it else None
        self.is_noted = self._notes is not None

    def acknowledged(self, location: str, offset: int) -> None:
        """The registry has so much of the upload there."""
        if self._notes is not None:
            self._notes.opened(self._descriptor.digest, location, offset)

    def ended(self) -> None:
        """The upload is stored, cancelled or lost."""
        if self._notes is not None:
            self._notes.closed(self._descriptor.digest)

    def noted(self) -> UploadNote | None:
        """An upload of an earlier run that the registry still has a part of."""
        if self._notes is None or (note := self._notes.known(self._descriptor.digest)) is None:
            return None
        found = None
        if self._session.is_own(note.location):  # credentials and content go nowhere because a file says so
            try:
                found = self._found(note.location)
            except ProvenderError as error:
                if error.retryable:
                    raise
        if found is None:
            self.ended()
        return found

    def after_break(self, location: str) -> UploadNote | None:
        """What the registry kept of an upload that broke off; None where it has to start over."""
        if not self._is_worth_it:
            return None
        try:
            return self._found(location)
        except ProvenderError:
            return None  # the next request meets what is the matter

    def _found(self, location: str) -> UploadNote | None:
        answer = ask_status(self._session, self._call, location)
        offset = reached(answer.headers.get("range", "").strip())
        if not offset or offset > self._descriptor.size:
            return None
        if told := answer.headers.get("location"):
            location = self._session.url(told, base=answer.url, what="the upload location")
        return UploadNote(location, offset)
