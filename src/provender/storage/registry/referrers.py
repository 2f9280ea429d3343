"""Referrers: who names a digest as its subject, by the API or under the fallback tag (distribution-spec, "Listing
Referrers" and "Unavailable Referrers API").

Registry layer, over the session and the documents, below the repository. "Could not ask" is an error, never "none"; a
registry's word is taken for nothing that can be looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from provender.errors import InvalidDocument, NotFound, ProvenderError, Unavailable
from provender.oci import Descriptor, Digest, Document, Index, Manifest
from provender.oci.media_types import INDEX, MANIFEST_TYPES, is_document
from provender.storage.abilities import Listed
from provender.storage.fallback_index import adding, check_image_index, dropping, entry_of
from provender.storage.layout_index import fallback_tag
from provender.storage.registry.calls import Calls
from provender.storage.registry.capabilities import Capabilities, Feature
from provender.storage.registry.documents import MAX_PUSH_BYTES, Documents
from provender.storage.registry.failures import Answer, problem_of
from provender.storage.registry.listing import next_page
from provender.storage.registry.quirks import NO_REFERRERS_STATUSES
from provender.storage.registry.session import Call, Session
from provender.storage.registry.tag_locks import TagLocks

__all__ = ["Referrers"]

_MAX_PAGES: Final = 1000
_MAX_BYTES: Final = 64 << 20  # of all pages together
_WRITES: Final = 4  # of a fallback tag: one, and three more after lost updates


class Referrers:
    """The referrers of the digests of one repository."""

    def __init__(
        self, session: Session, calls: Calls, documents: Documents, *, capabilities: Capabilities, locks: TagLocks
    ) -> None:
        self._session = session
        self._calls = calls
        self._documents = documents
        self._capabilities = capabilities
        self._locks = locks
        self._told: dict[Digest, str] = {}  # what was stored, and the subject that the registry said it saw in it

    def listed(self, subject: Digest, artifact_type: str | None = None) -> Iterator[Descriptor]:
        """The descriptors of all referrers, each once.

        Where the API has none, or is none, the fallback tag is read: a registry that got its API lately may not know
        the entries from before, and some answer 200 to everything (sigstore-js #1187).
        """
        seen: set[Digest] = set()
        found = self._from_api(subject, artifact_type)
        for descriptor in found or ():
            if descriptor.digest not in seen:
                seen.add(descriptor.digest)
                yield from self._wanted(descriptor, artifact_type)
        if seen:
            return
        for descriptor in self._from_tag(subject):
            if descriptor.digest not in seen and self._refers(descriptor, subject):
                seen.add(descriptor.digest)
                yield from self._wanted(descriptor, artifact_type)

    def by_route(self, subject: Digest, tags: Collection[str] | None) -> Iterator[Listed]:
        """As the lists have them, each once, with the list that has it (see `RelationLister`)."""
        seen: set[Digest] = set()
        found = self._from_api(subject, None)
        for descriptor in found or ():
            if descriptor.digest not in seen and is_document(descriptor.media_type):
                seen.add(descriptor.digest)
                yield Listed(descriptor, "api")
        if fallback_tag(subject) in tags if tags is not None else not seen:
            for descriptor in self._from_tag(subject):
                if descriptor.digest not in seen and is_document(descriptor.media_type):
                    seen.add(descriptor.digest)
                    yield Listed(descriptor, "fallback" if found is None else "overlooked")

    def told(self, digest: Digest, headers: Mapping[str, str]) -> None:
        """Remember what the answer to the PUT of a document says of its subject."""
        if subject := headers.get("oci-subject", "").strip():
            self._told[digest] = subject

    def ensure(self, subject: Digest, entries: Sequence[Descriptor]) -> list[Digest]:
        """Have all entries listed, those that the API leaves out under the fallback tag; these, if there is an API.

        The list is looked at, until the registry's `OCI-Subject` was found true in this repository once (see `pushed`).
        """
        repository = self._calls.api_name
        is_told = all(self._told.get(entry.digest) == subject for entry in entries)
        if is_told and self._capabilities.known(Feature.SUBJECT, repository):
            return []
        left, is_offered = self._unlisted(subject, entries)
        if left and is_offered and self._capabilities.known(Feature.SUBJECT, repository) is not False:
            # They may come a moment later where the list is a search index.
            self._pause(1)
            left, is_offered = self._unlisted(subject, entries)
            if left:
                self._capabilities.learn(Feature.SUBJECT, offered=False, repository=repository)
        if left:
            self._edit(subject, lambda index: adding(index, left))
        elif is_told and is_offered:
            self._capabilities.learn(Feature.SUBJECT, offered=True, repository=repository)
        return [entry.digest for entry in left] if is_offered else []

    def pushed(self, document: Document, view: Manifest | Index, subject: Digest, headers: Mapping[str, str]) -> None:
        """See to it that a document that was just pushed is listed; `headers` are those of the answer to its PUT.

        `OCI-Subject` alone proves nothing: ECR sent it without an API (sigstore-js #1183), proxies drop it. So the list
        is looked at, until the header was found true in this repository once.
        """
        repository = self._calls.api_name
        is_told = headers.get("oci-subject", "").strip() == subject
        if is_told and self._capabilities.known(Feature.SUBJECT, repository):
            return
        is_listed = self._is_listed(document.digest, subject)
        if is_told and is_listed is False:
            # It may come a moment later where the list is a search index.
            self._pause(1)
            is_listed = self._is_listed(document.digest, subject)
        if not is_listed:
            entry = entry_of(document, view)
            self._edit(subject, lambda index: adding(index, [entry]))
        elif is_told:
            self._capabilities.learn(Feature.SUBJECT, offered=True, repository=repository)

    def deleted(self, digest: Digest, subject: Digest) -> None:
        """Forget a referrer that was just deleted, where no API does so by itself."""
        if not self.has_api(subject):
            self._edit(subject, lambda index: dropping(index, digest))

    def has_api(self, digest: Digest) -> bool:
        """True if the registry has the referrers API for this repository; asked with `digest` if it is not known."""
        known = self._capabilities.known(Feature.REFERRERS, self._calls.api_name)
        return self._is_listed(digest, digest) is not None if known is None else known

    # The API

    def _from_api(self, subject: Digest, artifact_type: str | None) -> Iterator[Descriptor] | None:
        """What the API lists; None if there is no API."""
        if self._capabilities.known(Feature.REFERRERS, self._calls.api_name) is False:
            return None
        first = self._first_page(subject, artifact_type)
        return None if first is None else self._pages(*first)

    def _first_page(self, subject: Digest, artifact_type: str | None) -> tuple[Call, Answer] | None:
        call = self._calls.referrers(subject, artifact_type, ok=(200, *NO_REFERRERS_STATUSES))
        answer = self._session.ask(call)
        if answer.is_page:
            raise self._session.no_registry(answer, call)
        if answer.status == 404 and problem_of(answer).code == "NAME_UNKNOWN":
            raise self._session.error(answer, call)
        is_offered = answer.status == 200
        if is_offered:
            self._check_type(answer, call)
        self._capabilities.learn(Feature.REFERRERS, offered=is_offered, repository=self._calls.api_name)
        return (call, answer) if is_offered else None

    def _pages(self, call: Call, answer: Answer) -> Iterator[Descriptor]:
        urls, total = {call.path}, 0
        for _ in range(_MAX_PAGES):
            total += len(answer.body)
            yield from self._entries(answer, call)
            url = next_page(self._session, call, answer)
            if url is None or url in urls:
                return
            if total > _MAX_BYTES:
                break
            urls.add(url)
            answer = self._session.ask(msgspec.structs.replace(call, path=url, ok=(200,)))
            if answer.is_page:
                raise self._session.no_registry(answer, call)
            self._check_type(answer, call)
        raise Unavailable(
            f"the list of referrers does not end after {_MAX_PAGES} pages or {_MAX_BYTES} bytes",
            code="too-many-pages",
            where=call.where,
            hint="ask for one artifact type, or ask the registry's operator",
            retryable=False,
            exit_status=69,
        )

    def _entries(self, answer: Answer, call: Call) -> tuple[Descriptor, ...]:
        if answer.is_cut:
            raise InvalidDocument(
                f"a page of referrers is over {call.limit} bytes", code="page-too-large", where=call.where
            )
        try:
            return Document.read(answer.body, media_type=INDEX).index().manifests
        except ProvenderError as error:
            raise error.at(call.where) from None

    def _check_type(self, answer: Answer, call: Call) -> None:
        if answer.content_type != INDEX:
            raise self._session.no_registry(answer, call)

    def _is_listed(self, digest: Digest, subject: Digest) -> bool | None:
        """True if the API lists it, False if not; None if there is no API, or one that cannot be used."""
        found = self._digests(subject)
        return None if found is None else digest in found

    def _unlisted(self, subject: Digest, entries: Sequence[Descriptor]) -> tuple[list[Descriptor], bool]:
        """The entries that the API does not list, and whether there is one."""
        found = self._digests(subject)
        return [entry for entry in entries if entry.digest not in (found or ())], found is not None

    def _digests(self, subject: Digest) -> set[Digest] | None:
        """What the API lists; None if there is no API, or one that cannot be used."""
        try:
            found = self._from_api(subject, None)
            return None if found is None else {descriptor.digest for descriptor in found}
        except (InvalidDocument, Unavailable) as error:
            if error.retryable:
                raise
            return None

    # The fallback tag

    def _from_tag(self, subject: Digest) -> tuple[Descriptor, ...]:
        document = self._tagged(subject)
        if document is None:
            return ()
        if not document.is_index:
            self._session.warn(f"the tag {fallback_tag(subject)} holds no index of referrers; it is left out")
            return ()
        return document.index().manifests

    def _tagged(self, subject: Digest) -> Document | None:
        """What the fallback tag holds; None without the tag."""
        try:
            document = self._documents.get(self._calls.manifest(fallback_tag(subject)), None)
        except NotFound as error:
            if error.code in ("repository-not-found", "not-found-page"):
                raise
            return None
        # GitLab finds the subject itself under this name (ocx-sh/ocx #480): an index of platforms, say, is no list.
        return None if document.digest == subject else document

    def _edit(self, subject: Digest, change: Callable[[Document | None], Document | None]) -> None:
        """Write what `change` makes of the index under the fallback tag, until it has nothing to change.

        Nothing is conditional in the API, so that another machine may overwrite what was just written: it is read
        again after each write, and written again if it is not there.
        """
        tag, replaced = fallback_tag(subject), None
        with self._locks.held(f"{self._session.host}/{self._calls.api_name}:{tag}"):
            for tries in range(_WRITES + 1):
                current = self._tagged(subject)
                if current is not None:
                    check_image_index(current, self._calls.where(tag))
                changed = change(current)
                if changed is None:
                    self._forget(replaced, current)
                    return
                if tries > 1:
                    self._pause(tries - 1)
                if tries < _WRITES:
                    self._write(tag, changed)
                    replaced = current
        raise Unavailable(
            f"the list of referrers of {subject} does not keep what is written into it ({_WRITES} tries)",
            code="referrers-not-kept",
            where=self._calls.where(tag),
            hint="what was pushed is stored; try again, one writer at a time",
        )

    def _pause(self, tries: int) -> None:
        wire = self._session.wire
        wire.timing.sleep(wire.policy.wait_s(tries, None, wire.timing))

    def _write(self, tag: str, index: Document) -> None:
        if len(index.raw) > MAX_PUSH_BYTES:
            raise InvalidDocument(
                f"the list of referrers would have {len(index.raw)} bytes; registries take {MAX_PUSH_BYTES} at most",
                code="document-too-large",
                where=self._calls.where(tag),
                hint="delete referrers that nobody needs, or use a registry with the referrers API",
            )
        try:
            self._documents.put(self._calls.put(index, tag, ok=(201, 200, 202)), index)
        except Unavailable as error:
            if error.code != "content-missing":
                raise
            # Somebody deleted a referrer and left its entry: where children are checked (docker-registry), nothing
            # could be attached any more.
            healed = self._without_missing(index)
            if healed is index:
                raise
            self._documents.put(self._calls.put(healed, tag, ok=(201, 200, 202)), healed)

    def _without_missing(self, index: Document) -> Document:
        for entry in index.index().manifests:
            call = self._calls.content(entry, method="HEAD", ok=(200, 404))
            if self._session.ask(call).status == 404:
                index = dropping(index, entry.digest) or index
        return index

    def _forget(self, replaced: Document | None, current: Document | None) -> None:
        """Delete the index that was superseded, if that can be had: it would stay for ever, without a tag."""
        if replaced is None or current is None or replaced.digest == current.digest:
            return
        # One without entries is the same for every subject, and may be somebody's own.
        if not replaced.index().manifests:
            return
        repository = self._calls.api_name
        if self._capabilities.known(Feature.DELETES, repository) is False:
            return
        try:
            self._session.ask(self._calls.delete("manifests", replaced.digest, (202, 200, 204, 404)))
        except ProvenderError:
            self._capabilities.learn(Feature.DELETES, offered=False, repository=repository)

    # Entries

    def _wanted(self, descriptor: Descriptor, artifact_type: str | None) -> Iterator[Descriptor]:
        """The descriptor, complete, if it is a document of the type that was asked for."""
        if not is_document(descriptor.media_type):
            return
        if not descriptor.artifact_type and descriptor.media_type in MANIFEST_TYPES:
            # Quay listed no types for a time (containers/olot #136): the manifest says.
            document = self._manifest_of(descriptor)
            if document is None:
                return
            descriptor = entry_of(document, document.parse())
        if artifact_type in (None, descriptor.artifact_type):
            yield descriptor

    def _refers(self, descriptor: Descriptor, subject: Digest) -> bool:
        """True unless it names another subject: the tag has the first 64 characters of a digest only."""
        if len(subject.encoded) <= 64 or not is_document(descriptor.media_type):
            return True
        document = self._manifest_of(descriptor)
        named = None if document is None else document.parse().subject
        return named is not None and named.digest == subject

    def _manifest_of(self, descriptor: Descriptor) -> Document | None:
        try:
            return self._documents.get(self._calls.manifest(descriptor.digest), descriptor.digest)
        except NotFound:
            return None  # deleted without its entry in the list
