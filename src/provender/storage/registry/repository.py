"""One repository of a registry: all abilities that the distribution API gives (storage/abilities.py).

Registry layer, top: over downloads, documents, uploads, referrers and listings. Safe from several threads.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from provender.errors import (
    Conflict,
    IntegrityError,
    InvalidDocument,
    NotFound,
    ProvenderError,
    Unavailable,
    Unsupported,
)
from provender.oci import Descriptor, Digest, Document, Index, Manifest
from provender.oci.reference import check_repository, check_tag, is_tag
from provender.storage.abilities import BlobReader, Listed, UploadNotes
from provender.storage.hashing import HashingContent
from provender.storage.registry.calls import Calls
from provender.storage.registry.capabilities import Capabilities, Feature
from provender.storage.registry.documents import MAX_PUSH_BYTES, Documents, RecentDocuments
from provender.storage.registry.download import Download
from provender.storage.registry.failures import problem_of
from provender.storage.registry.headers import whole_number
from provender.storage.registry.listing import list_names
from provender.storage.registry.quirks import (
    DELETE_TAGGED_CODES,
    DELETE_UNSUPPORTED_CODES,
    DELETE_UNSUPPORTED_STATUSES,
    HEAD_UNSURE_STATUSES,
    NO_TAG_PARAMETER_STATUSES,
    HostQuirks,
)
from provender.storage.registry.referrers import Referrers
from provender.storage.registry.scopes import Scopes
from provender.storage.registry.session import Session
from provender.storage.registry.tag_locks import TagLocks
from provender.storage.registry.upload import Uploader
from provender.storage.registry.upload_sizes import UploadSettings, UploadSizes
from provender.storage.verify import VerifiedReader

__all__ = ["RegistryRepository"]

_PUT: Final = (201, 200, 202)
_MANY_BLOBS: Final = 16  # for which a question about the whole repository is worth it
_UNASKED_BYTES: Final = 64 << 10
_MAX_TAGS: Final = 10  # at once: what a registry has to take (distribution-spec 1.1+dev, end-7b)


class RegistryRepository:
    """All abilities of one repository: Fetcher, Pusher, Stager, Mounter, Resolver, Tagger, the listers and Deleter.

    `name` is as the user wrote it; `api_name` is the name in the API, which differs on Docker Hub (`library/…`).
    `namespace` is the host on whose behalf a mirror is asked. What is known of the host is shared with its other
    repositories: `capabilities`, `locks`.
    """

    def __init__(
        self,
        session: Session,
        name: str,
        api_name: str,
        *,
        namespace: str | None = None,
        quirks: HostQuirks | None = None,
        upload: UploadSettings | None = None,
        capabilities: Capabilities | None = None,
        locks: TagLocks | None = None,
    ) -> None:
        self.name = name
        self.session = session
        self.api_name = api_name
        self._calls = Calls(session.host, name, api_name, namespace=namespace)
        self._quirks = quirks or HostQuirks()
        self._upload = upload or UploadSettings()
        self._capabilities = capabilities or Capabilities()
        self._sizes = UploadSizes(self._upload, self._quirks, self._capabilities)
        self._documents = Documents(session)
        self._referrers = Referrers(
            session, self._calls, self._documents, capabilities=self._capabilities, locks=locks or TagLocks()
        )
        self._recent = RecentDocuments()
        self._opened: dict[Digest, str] = {}  # uploads that a mount opened instead
        self._is_new = False
        self._lock = threading.Lock()
        self.upload_notes: UploadNotes | None = None
        """Where uploads of large blobs are noted, for another run to go on with them."""

    def __repr__(self) -> str:
        return f"RegistryRepository({self.session.host}/{self.name})"

    # Fetcher

    def fetch(self, descriptor: Descriptor, *, offset: int = 0) -> BlobReader:
        """A verifying reader; a connection that breaks is resumed. Documents come from /manifests/, the rest from
        /blobs/."""
        call = self._calls.content(descriptor)
        if not 0 <= offset <= descriptor.size:
            raise IntegrityError(
                f"byte {offset} is outside of {descriptor.digest} with {descriptor.size} bytes",
                code="invalid-offset",
                where=call.where,
                hint="the partial content is longer than the whole; remove it and start again",
            )
        source = Download(self.session, call, descriptor, offset=offset)
        return VerifiedReader(source, descriptor, offset=offset, where=call.where)

    def exists(self, descriptor: Descriptor) -> bool:
        """True if the registry has the content, by one HEAD; a HEAD that says neither is followed by a GET."""
        call = self._calls.content(descriptor, method="HEAD", ok=(200, 404, *HEAD_UNSURE_STATUSES))
        status = self.session.ask(call).status
        if status in HEAD_UNSURE_STATUSES:
            answer = self.session.open(self._calls.content(descriptor, ok=(200, 404)))
            answer.response.close()
            status = answer.status
        return status == 200

    def find_blob(self, digest: Digest) -> Descriptor:
        """A blob with its size, by one HEAD (see `BlobFinder`)."""
        unknown = Descriptor(media_type="application/octet-stream", digest=digest, size=0)
        call = self._calls.content(unknown, method="HEAD")
        size = whole_number(self.session.ask(call).headers.get("content-length", ""))
        if size is None:
            raise Unavailable(
                f"{self.session.host} does not say how large {digest} is",
                code="no-content-length",
                where=call.where,
                hint="a proxy in front of the registry may drop the header Content-Length",
                retryable=False,
                exit_status=69,
            )
        return msgspec.structs.replace(unknown, size=size)

    # Resolver

    def resolve(self, target: str) -> Document:
        """The document of a tag or digest, by one GET.

        Where GETs count against a quota and HEADs do not (Docker Hub), what was read before is only asked for by HEAD.
        """
        expected = _digest(target)
        if self._quirks.counts_manifest_gets and (remembered := self._still(target, expected)) is not None:
            return remembered
        document = self._documents.get(self._calls.manifest(target), expected)
        self._recent.put(document)
        return document

    def head(self, target: str) -> Descriptor | None:
        """The descriptor of a tag or digest, unverified, by one HEAD; None if there is none.

        A registry whose answer leaves something out is asked by GET.
        """
        expected = _digest(target)
        try:
            found = self._documents.head(self._calls.manifest(target, method="HEAD"))
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
        """Store a blob unless it is there: HEAD, POST, then one streamed PUT, or chunks where that does not do.

        After a mount that opened an upload there is no HEAD and no POST, and none before what is small (see
        `UploadSettings`); and no HEAD for up to 64 KiB where there are no tags (see `may_push_early`). A document is
        stored by its digest.
        """
        if descriptor.is_document:
            self.push_document(self._read_document(descriptor, reader))
            return
        uploader = self._uploader(descriptor.digest)
        with self._lock:
            opened = self._opened.pop(descriptor.digest, None)
        is_hardly_there = self._is_new and descriptor.size <= _UNASKED_BYTES
        is_asked = opened is None and not is_hardly_there and not self._upload.is_small(descriptor)
        if is_asked and uploader.is_present(self._calls.probe(descriptor)):
            if self.upload_notes is not None:
                self.upload_notes.closed(descriptor.digest)
            return
        uploader.store(descriptor, reader, opened)

    # EarlyPusher

    def may_push_early(self, sizes: Sequence[int]) -> list[bool]:
        """True for large blobs while there is no tag (one request): so what is pushed now is hardly there already.

        For many blobs that is asked as well: then small ones are not asked for, each by itself.
        """
        are_large = [self.upload_notes is None and self._sizes.takes_early(size) for size in sizes]
        self._is_new = (any(are_large) or len(sizes) >= _MANY_BLOBS) and self._has_no_tags()
        return [self._is_new and is_large for is_large in are_large]

    def _has_no_tags(self) -> bool:
        names = list_names(self.session, self._calls.tags(is_pushing=True), "tags", is_tag)
        try:
            return next(names, None) is None
        except NotFound:
            return True
        except ProvenderError:
            return False  # what is the matter, the push meets as well

    def push_early(self, content: HashingContent) -> Digest:
        """Store a blob that is still hashed (see `EarlyPusher`): POST, a PATCH without its end, and the PUT of that."""
        uploader = self._uploader(None)
        return uploader.store_early(content, lambda blob: uploader.is_present(self._calls.probe(blob)))

    def push_document(self, document: Document, tags: Sequence[str] = ()) -> None:
        """Store a manifest or index under its digest or the first tag, then point the other tags at it, in order.

        Several tags go along with the digest where the registry knows `?tag=`. A document with a subject is on the
        subject's list of referrers afterwards.
        """
        names = [check_tag(tag) for tag in tags]
        self._check_size(document.descriptor)
        view = _view(document)
        headers: Mapping[str, str] | None = None
        # A registry computes sha256 for what is pushed by tag, so another algorithm needs the digest first.
        is_by_digest = document.digest.algorithm != "sha256"
        while names and (len(names) > 1 or is_by_digest) and self._may_send_tags:
            accepted, headers = self._put_with_tags(document, names[:_MAX_TAGS])
            if not accepted:
                break
            names = [name for name in names if name not in accepted]
        if headers is None and (is_by_digest or not names):
            headers = self._put(document, document.digest)
        for name in names:
            headers = self._put(document, name)
        self._recent.put(document)
        if view is not None and view.subject is not None:
            self._referrers.pushed(document, view, view.subject.digest, headers or {})

    def mount(self, descriptor: Descriptor, from_repository: str) -> bool:
        """Let the registry take a blob from another of its repositories (named as in the API); False: push it."""
        uploader = self._uploader(descriptor.digest)
        # The destination first: some token services look at the first scope only (go-containerregistry, write.go).
        scopes = self._calls.pushing | Scopes.repository(check_repository(from_repository), "pull")
        call = msgspec.structs.replace(self._calls.uploads(self._calls.where(descriptor.digest)), scopes=scopes)
        location = uploader.mount(descriptor, from_repository, call)
        if location:
            with self._lock:
                self._opened[descriptor.digest] = location
        return location is None

    # Stager

    def stage(self, document: Document) -> None:
        """Store a manifest or index under its digest, in one PUT."""
        self._check_size(document.descriptor)
        self._referrers.told(document.digest, self._put(document, document.digest))
        self._recent.put(document)

    def relate(self, referrers: Mapping[Digest, Sequence[Descriptor]]) -> list[Digest]:
        """Have referrers listed: the API is looked at, what it lacks goes under the fallback tag (see `Stager`)."""
        return [left for subject, entries in referrers.items() for left in self._referrers.ensure(subject, entries)]

    def finish(self, documents: Sequence[Document], tags: Sequence[tuple[str, Document]]) -> None:  # noqa: ARG002 - a registry keeps what has a digest
        """Point tags at documents, each in one PUT of its bytes."""
        for name, document in tags:
            self._put(document, check_tag(name))

    def neighbour(self, other: object) -> str | None:
        """The name by which blobs of `other` can be mounted here; None for another registry or other credentials."""
        if not isinstance(other, RegistryRepository) or other.session is not self.session:
            return None
        return other.api_name if other.api_name != self.api_name else None

    # Tagger and TagLister

    def tag(self, descriptor: Descriptor, name: str) -> None:
        """Point a tag at a stored document: its bytes are put again under the tag."""
        check_tag(name)
        document = self._recent.get(descriptor.digest) or self.resolve(descriptor.digest)
        self._put(document, name)

    def untag(self, name: str) -> None:
        """Remove a tag; Unsupported on registries that delete by digest only."""
        self._delete("manifests", check_tag(name), "removing a tag without its content")

    def tags(self) -> Iterator[str]:
        """Every tag once, page by page."""
        return list_names(self.session, self._calls.tags(), "tags", is_tag)

    # ReferrerLister

    def referrers(self, digest: Digest, artifact_type: str | None = None) -> Iterator[Descriptor]:
        """What names `digest` as its subject, by the referrers API or the fallback tag (see `ReferrerLister`)."""
        return self._referrers.listed(digest, artifact_type)

    def listed(self, digest: Digest, *, tags: Collection[str] | None = None) -> Iterator[Listed]:
        """What the referrers API and the fallback tag list (see `RelationLister`)."""
        return self._referrers.by_route(digest, tags)

    # Deleter

    def delete(self, descriptor: Descriptor) -> None:
        """Remove a blob, or a document with all its tags; it leaves its subject's list of referrers."""
        subject = self._subject_of(descriptor) if descriptor.is_document else None
        self._recent.drop(descriptor.digest)
        self._delete("manifests" if descriptor.is_document else "blobs", descriptor.digest, "deleting")
        if subject is not None:
            self._referrers.deleted(descriptor.digest, subject)

    # Internals

    @property
    def _may_send_tags(self) -> bool:
        return self._capabilities.known(Feature.TAG_PARAMETER) is not False

    def _uploader(self, digest: Digest | None) -> Uploader:
        return Uploader(
            self.session,
            self._calls.uploads(self._calls.where(digest)),
            capabilities=self._capabilities,
            settings=self._upload,
            sizes=self._sizes,
            notes=self.upload_notes,
        )

    def _put(self, document: Document, name: str) -> Mapping[str, str]:
        """The headers of the answer to storing a document under a tag or its digest."""
        return self._documents.put(self._calls.put(document, name, ok=_PUT), document).headers

    def _put_with_tags(self, document: Document, names: Sequence[str]) -> tuple[set[str], Mapping[str, str] | None]:
        """The tags that came along with the digest, and the headers of the answer if the document is stored now.

        A registry that does not know the parameter ignores it, which is remembered.
        """
        call = self._calls.put(document, document.digest, tags=names, ok=(*_PUT, *NO_TAG_PARAMETER_STATUSES))
        answer = self._documents.put(call, document)
        told = {name.strip() for name in answer.headers.get("oci-tag", "").split(",")}
        accepted = told.intersection(names) if answer.status in _PUT else set[str]()
        self._capabilities.learn(Feature.TAG_PARAMETER, offered=bool(accepted))
        return accepted, answer.headers if answer.status in _PUT else None

    def _read_document(self, descriptor: Descriptor, reader: BlobReader) -> Document:
        self._check_size(descriptor)
        verified = VerifiedReader(reader, descriptor, where=self._calls.where(descriptor.digest))
        chunks: list[bytes] = []
        while chunk := verified.read():
            chunks.append(chunk)
        return Document(descriptor, b"".join(chunks))

    def _check_size(self, descriptor: Descriptor) -> None:
        if descriptor.size > MAX_PUSH_BYTES:
            raise InvalidDocument(
                f"{descriptor.digest} has {descriptor.size} bytes; registries take {MAX_PUSH_BYTES} at most",
                code="document-too-large",
                where=self._calls.where(descriptor.digest),
                hint="shorten its annotations, or split the index",
            )

    def _still(self, target: str, expected: Digest | None) -> Document | None:
        """The document that was read before, if `target` still names it; by one HEAD, or none if there is nothing."""
        if (expected is None and not self._recent) or (expected is not None and self._recent.get(expected) is None):
            return None
        found = self._documents.head(self._calls.manifest(target, method="HEAD"))
        return None if found is None else self._recent.get(expected or found.digest)

    def _subject_of(self, descriptor: Descriptor) -> Digest | None:
        """The subject of a document that is to be deleted, where its entry in a list is ours to delete."""
        if self._referrers.has_api(descriptor.digest):
            return None
        try:
            view = _view(self._recent.get(descriptor.digest) or self.resolve(descriptor.digest))
        except (InvalidDocument, IntegrityError, Unsupported):
            return None  # whatever it is, it can be deleted
        return None if view is None or view.subject is None else view.subject.digest

    def _delete(self, kind: str, target: str, what: str) -> None:
        call = self._calls.delete(kind, target, (202, 200, 204, 403, *DELETE_UNSUPPORTED_STATUSES))
        answer = self.session.ask(call)
        if answer.status < 300:
            return
        problem = problem_of(answer)
        if answer.status == 403 and problem.code not in DELETE_UNSUPPORTED_CODES:
            raise self.session.error(answer, call)
        said = f"{answer.status} {problem.code}".strip()
        if problem.code in DELETE_TAGGED_CODES:
            raise Conflict(
                f"{self.session.host} deletes nothing that has a tag (it answered {said})",
                code="still-tagged",
                where=call.where,
                hint="remove the tags that name it first",
            )
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


def _view(document: Document) -> Manifest | Index | None:
    """The view of a document; None for one that only a registry has to understand."""
    try:
        return document.parse()
    except (InvalidDocument, Unsupported):
        return None
