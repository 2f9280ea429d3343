"""One repository of a registry: all abilities that the distribution API gives (storage/abilities.py).

Registry layer, top: over downloads, documents, uploads and listings. Safe from several threads.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from provender.errors import IntegrityError, InvalidDocument, NotFound, Unsupported
from provender.oci import MAX_DOCUMENT_BYTES, Descriptor, Digest, Document
from provender.oci.reference import check_repository, check_tag, is_tag
from provender.storage.abilities import BlobReader
from provender.storage.registry.documents import ACCEPT, MAX_PUSH_BYTES, Documents, RecentDocuments
from provender.storage.registry.download import Download
from provender.storage.registry.failures import problem_of
from provender.storage.registry.listing import list_names
from provender.storage.registry.quirks import (
    DELETE_UNSUPPORTED_CODES,
    DELETE_UNSUPPORTED_STATUSES,
    PROBE_ABSENT_STATUSES,
)
from provender.storage.registry.scopes import Scopes
from provender.storage.registry.session import Call, Session
from provender.storage.registry.upload import Uploader
from provender.storage.verify import VerifiedReader

__all__ = ["RegistryRepository"]


class RegistryRepository:
    """Fetcher, Pusher, Mounter, Resolver, Tagger, TagLister and Deleter. `name` is as the user wrote it.

    `api_name` is the name in the API, which differs on Docker Hub (`library/…`).
    """

    def __init__(self, session: Session, name: str, api_name: str) -> None:
        self.name = name
        self.session = session
        self.api_name = api_name
        self._pull = Scopes.repository(api_name, "pull")
        self._push = Scopes.repository(api_name, "pull", "push")
        self._documents = Documents(session)
        self._recent = RecentDocuments()
        self._opened: dict[Digest, str] = {}  # uploads that a mount opened instead
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"RegistryRepository({self.session.host}/{self.name})"

    # Fetcher

    def fetch(self, descriptor: Descriptor, *, offset: int = 0) -> BlobReader:
        """A verifying reader; a connection that breaks is resumed. Documents come from /manifests/, the rest from
        /blobs/."""
        if not 0 <= offset <= descriptor.size:
            raise IntegrityError(
                f"byte {offset} is outside of {descriptor.digest} with {descriptor.size} bytes",
                code="invalid-offset",
                where=self._where(descriptor.digest),
                hint="the partial content is longer than the whole; remove it and start again",
            )
        headers = {"Accept": ACCEPT} if descriptor.is_document else {}
        call = self._call("GET", self._content_path(descriptor), descriptor.digest, headers=headers)
        source = Download(self.session, call, descriptor, offset=offset)
        return VerifiedReader(source, descriptor, offset=offset, where=call.where)

    def exists(self, descriptor: Descriptor) -> bool:
        """True if the registry has the content, by one HEAD."""
        headers = {"Accept": ACCEPT} if descriptor.is_document else {}
        path = self._content_path(descriptor)
        call = self._call("HEAD", path, descriptor.digest, headers=headers, ok=(200, 404))
        return self.session.ask(call).status == 200

    # Resolver

    def resolve(self, target: str) -> Document:
        """The document of a tag or digest, by one GET."""
        expected = _digest(target)
        document = self._documents.get(
            self._call(
                "GET", self._manifest_path(target), target, headers={"Accept": ACCEPT}, limit=MAX_DOCUMENT_BYTES
            ),
            expected,
        )
        self._recent.put(document)
        return document

    def head(self, target: str) -> Descriptor | None:
        """The descriptor of a tag or digest, unverified, by one HEAD; None if there is none.

        A registry whose answer leaves something out is asked by GET.
        """
        expected = _digest(target)
        call = self._call("HEAD", self._manifest_path(target), target, headers={"Accept": ACCEPT})
        try:
            found = self._documents.head(call)
            if found is None or expected not in (None, found.digest):
                found = self.resolve(target).descriptor.bare
        except NotFound:
            return None
        return found

    def digest_of(self, tag: str) -> Digest | None:
        """What a tag points to now, cheaply (HEAD costs no pull on Docker Hub); None without the tag."""
        found = self.head(check_tag(tag))
        return None if found is None else found.digest

    # Pusher and Mounter

    def push(self, descriptor: Descriptor, reader: BlobReader) -> None:
        """Store a blob unless it is there: HEAD, POST, then one streamed PUT. After a mount that opened an upload, only
        the PUT. A document is stored by its digest."""
        where = self._where(descriptor.digest)
        if descriptor.is_document:
            self._push_as_document(descriptor, reader)
            return
        uploader = self._uploader(where)
        with self._lock:
            location = self._opened.pop(descriptor.digest, None)
        if location is None:
            probe = self._call(
                "HEAD",
                self._content_path(descriptor),
                descriptor.digest,
                scopes=self._push,
                ok=(200, *PROBE_ABSENT_STATUSES),
            )
            if uploader.is_present(probe):
                return
            location = uploader.open(where)
        uploader.put(location, descriptor, reader, where)

    def push_document(self, document: Document, tags: Sequence[str] = ()) -> None:
        """Store a manifest or index under its digest or the first tag, then point the other tags at it, in order."""
        names: list[str] = [check_tag(tag) for tag in tags]
        if len(document.raw) > MAX_PUSH_BYTES:
            raise InvalidDocument(
                f"{document.digest} has {len(document.raw)} bytes; registries take {MAX_PUSH_BYTES} at most",
                code="document-too-large",
                where=self._where(document.digest),
                hint="shorten its annotations, or split the index",
            )
        # A registry computes sha256 for what is pushed by tag, so another algorithm needs the digest first.
        if not names or document.digest.algorithm != "sha256":
            names.insert(0, document.digest)
        for name in names:
            self._put_document(document, name)
        self._recent.put(document)

    def mount(self, descriptor: Descriptor, from_repository: str) -> bool:
        """Let the registry take a blob from another of its repositories (named as in the API); False: push it."""
        where = self._where(descriptor.digest)
        # The destination first: some token services look at the first scope only (go-containerregistry, write.go).
        scopes = self._push | Scopes.repository(check_repository(from_repository), "pull")
        call = self._call("POST", self._uploads_path, descriptor.digest, scopes=scopes)
        location = self._uploader(where).mount(descriptor, from_repository, call)
        if location:
            with self._lock:
                self._opened[descriptor.digest] = location
        return location is None

    # Tagger and TagLister

    def tag(self, descriptor: Descriptor, name: str) -> None:
        """Point a tag at a stored document: its bytes are put again under the tag."""
        check_tag(name)
        document = self._recent.get(descriptor.digest) or self.resolve(descriptor.digest)
        self._put_document(document, name)

    def untag(self, name: str) -> None:
        """Remove a tag; Unsupported on registries that delete by digest only."""
        check_tag(name)
        self._delete(self._manifest_path(name), name, "removing a tag without its content")

    def tags(self) -> Iterator[str]:
        """Every tag once, page by page."""
        call = self._call("GET", f"/v2/{self.api_name}/tags/list", None)
        return list_names(self.session, call, "tags", is_tag)

    # Deleter

    def delete(self, descriptor: Descriptor) -> None:
        """Remove a blob, or a document with all its tags."""
        self._recent.drop(descriptor.digest)
        self._delete(self._content_path(descriptor), descriptor.digest, "deleting")

    # Internals

    @property
    def _uploads_path(self) -> str:
        return f"/v2/{self.api_name}/blobs/uploads/"

    def _manifest_path(self, target: str) -> str:
        return f"/v2/{self.api_name}/manifests/{target}"

    def _content_path(self, descriptor: Descriptor) -> str:
        kind = "manifests" if descriptor.is_document else "blobs"
        return f"/v2/{self.api_name}/{kind}/{descriptor.digest}"

    def _where(self, target: str | None) -> str:
        if target is None:
            return f"{self.session.host}/{self.name}"
        return f"{self.session.host}/{self.name}{'@' if ':' in target else ':'}{target}"

    def _uploader(self, where: str) -> Uploader:
        return Uploader(
            self.session,
            Call(method="POST", path=self._uploads_path, where=where, scopes=self._push, repository=self.api_name),
        )

    def _call(
        self,
        method: str,
        path: str,
        target: str | None,
        *,
        scopes: Scopes | None = None,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        ok: tuple[int, ...] = (200,),
        limit: int = 64 << 10,
    ) -> Call:
        return Call(
            method=method,
            path=path,
            where=self._where(target),
            scopes=scopes or self._pull,
            repository=self.api_name,
            headers=headers or {},
            body=body,
            ok=ok,
            limit=limit,
        )

    def _put_document(self, document: Document, name: str) -> None:
        call = self._call(
            "PUT",
            self._manifest_path(name),
            name,
            scopes=self._push,
            headers={"Content-Type": document.descriptor.media_type, "Content-Length": str(len(document.raw))},
            body=document.raw,
            ok=(201, 200, 202),
        )
        self._documents.put(call, document)

    def _push_as_document(self, descriptor: Descriptor, reader: BlobReader) -> None:
        chunks: list[bytes] = []
        verified = VerifiedReader(reader, descriptor, where=self._where(descriptor.digest))
        if descriptor.size > MAX_PUSH_BYTES:
            raise InvalidDocument(
                f"{descriptor.digest} has {descriptor.size} bytes; registries take {MAX_PUSH_BYTES} at most",
                code="document-too-large",
                where=self._where(descriptor.digest),
                hint="shorten its annotations, or split the index",
            )
        while chunk := verified.read():
            chunks.append(chunk)
        self._put_document(Document(descriptor, b"".join(chunks)), descriptor.digest)

    def _delete(self, path: str, target: str, what: str) -> None:
        scopes = Scopes.repository(self.api_name, "delete", "pull", "push")
        call = self._call("DELETE", path, target, scopes=scopes, ok=(202, 200, 204, 403, *DELETE_UNSUPPORTED_STATUSES))
        answer = self.session.ask(call)
        if answer.status < 300:
            return
        if answer.status == 403 and problem_of(answer).code not in DELETE_UNSUPPORTED_CODES:
            raise self.session.error(answer, call)
        said = f"{answer.status} {problem_of(answer).code}".strip()
        raise Unsupported(
            f"{self.session.host} does not offer {what} (it answered {said})",
            code="delete-unsupported",
            where=call.where,
            hint="deletion may be switched off in the registry; use its own tools",
        )


def _digest(target: str) -> Digest | None:
    """The digest, if `target` is one; else None for a valid tag."""
    if ":" in target:
        return Digest(target)
    check_tag(target)
    return None
