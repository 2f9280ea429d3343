"""Manifests and indexes over the API: reading one answer into a checked document, and a small memory of them.

Registry layer, over the session.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

import msgspec

from provender.errors import IntegrityError, InvalidDocument, ProvenderError
from provender.oci import MAX_DOCUMENT_BYTES, Descriptor, Digest, Document
from provender.oci.media_types import SCHEMA1_TYPES, is_document
from provender.storage.registry.failures import Answer, artifact_refused
from provender.storage.registry.headers import whole_number
from provender.storage.registry.quirks import ARTIFACT_REFUSAL_STATUSES, HEAD_UNSURE_STATUSES, contradicts
from provender.storage.registry.session import Call, Session

__all__ = ["MAX_PUSH_BYTES", "Documents", "RecentDocuments"]

MAX_PUSH_BYTES: Final = 4 << 20  # what registries have to accept (distribution-spec, "Pushing Manifests")


class Documents:
    """Reads and writes the documents of one repository. The calls come from the repository."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, call: Call, expected: Digest | None) -> Document:
        """The document that the GET `call` names; with `expected`, its bytes have that digest."""
        answer = self._session.ask(call)
        if answer.is_page:
            raise self._session.no_registry(answer, call)
        if answer.is_cut:
            raise InvalidDocument(
                f"the document is over the limit of {MAX_DOCUMENT_BYTES} bytes",
                code="document-too-large",
                where=call.where,
                hint="no manifest is that large; something else is stored there",
            )
        try:
            document = Document.read(answer.body, media_type=_carried_type(answer), expected=expected)
        except ProvenderError as error:
            raise error.at(call.where) from None
        reported = answer.headers.get("docker-content-digest")
        if contradicts(reported, document.digest):
            # Only information: what counts is the content, and the digest that was asked for.
            self._session.warn(f"the registry calls {document.digest} by another digest ({reported})")
        return document

    def head(self, call: Call) -> Descriptor | None:
        """The descriptor that the HEAD `call` tells about; None if the answer leaves something out, or is no answer."""
        answer = self._session.ask(msgspec.structs.replace(call, ok=(*call.ok, *HEAD_UNSURE_STATUSES)))
        if answer.status in HEAD_UNSURE_STATUSES:
            return None
        reported = answer.headers.get("docker-content-digest", "")
        size = whole_number(answer.headers.get("content-length", ""))
        if not is_document(answer.content_type) or size is None:
            return None
        try:
            return Descriptor(media_type=answer.content_type, digest=Digest(reported), size=size)
        except ProvenderError:
            return None

    def put(self, call: Call, document: Document) -> Answer:
        """Store the bytes of `document` with the PUT `call`.

        Raises IntegrityError if the registry names another digest, Unsupported (`artifact-refused`) if it does not take
        artifacts of this form.
        """
        answer = self._session.ask(msgspec.structs.replace(call, ok=(*call.ok, *ARTIFACT_REFUSAL_STATUSES)))
        if answer.status not in call.ok:
            place = self._session.place(call)
            raise artifact_refused(answer, document, place) or self._session.error(answer, call)
        reported = answer.headers.get("docker-content-digest")
        if contradicts(reported, document.digest):
            raise IntegrityError(
                f"the registry stored {str(reported)[:150]!r} instead of {document.digest}",
                code="digest-mismatch",
                where=call.where,
                hint="the registry or a proxy in between changes what is pushed; do not use what it stored",
            )
        return answer


class RecentDocuments:
    """The last documents of a repository by digest, so that tagging one does not fetch it again."""

    def __init__(self, count: int = 32, limit: int = 16 << 20) -> None:
        self._count = count
        self._limit = limit
        self._documents: OrderedDict[Digest, Document] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._documents)

    def get(self, digest: Digest) -> Document | None:
        """The document, if it is remembered."""
        with self._lock:
            if digest in self._documents:
                self._documents.move_to_end(digest)
            return self._documents.get(digest)

    def put(self, document: Document) -> None:
        """Remember a document, forget the ones not used for longest."""
        with self._lock:
            self._forget(document.digest)
            self._documents[document.digest] = document
            self._bytes += len(document.raw)
            while len(self._documents) > 1 and (len(self._documents) > self._count or self._bytes > self._limit):
                self._forget(next(iter(self._documents)))

    def drop(self, digest: Digest) -> None:
        """Forget a document."""
        with self._lock:
            self._forget(digest)

    def _forget(self, digest: Digest) -> None:
        if (gone := self._documents.pop(digest, None)) is not None:
            self._bytes -= len(gone.raw)


def _carried_type(answer: Answer) -> str | None:
    """The Content-Type, if it says which document this is; else the document's own field decides.

    Nexus before 3.25 sends others (buildah #2266), stores of files send `application/octet-stream` or `text/plain`.
    """
    kind = answer.content_type
    return kind if is_document(kind) or kind in SCHEMA1_TYPES else None
