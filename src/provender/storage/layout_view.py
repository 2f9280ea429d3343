"""Everything that can be asked of an OCI layout, wherever its files lie: two methods given, five abilities got.

Storage layer, over `layout_index`, below the layout directory, the layout archive and memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec

from provender.errors import IntegrityError, InvalidDocument, NotFound, ProvenderError, Unsupported
from provender.oci import MAX_DOCUMENT_BYTES, Descriptor, Digest, Document
from provender.oci.media_types import INDEX, is_document
from provender.storage.abilities import BlobReader, Listed
from provender.storage.fallback_index import adding, check_image_index, entry_of
from provender.storage.layout_index import LayoutIndex, fallback_tag
from provender.storage.verify import VerifiedReader, read_all

__all__ = ["LayoutView"]


class _Referring(msgspec.Struct, frozen=True):
    """A document that has a subject."""

    subject: Digest
    descriptor: Descriptor


class LayoutView(ABC):
    """Fetcher, Resolver, TagLister and ReferrerLister over an index and a way to open blobs."""

    def __init__(self, where: str) -> None:
        self._where = where
        self.tags_referrers = False
        """True to write lists of referrers under fallback tags, too, which is where regctl looks first."""
        # By digest, so it never grows stale; as large as the index at most.
        self._subjects: dict[Digest, _Referring | None] = {}
        self._grouped: tuple[LayoutIndex, dict[Digest, list[Descriptor]]] | None = None

    @abstractmethod
    def _index(self) -> LayoutIndex:
        """The index as it is now."""

    @abstractmethod
    def _open(self, digest: Digest, offset: int = 0) -> tuple[BlobReader, int] | None:
        """The unverified content from `offset` on and its whole size; None if it is not here."""

    def fetch(self, descriptor: Descriptor, *, offset: int = 0) -> VerifiedReader:
        """A verifying reader (see `Fetcher.fetch`)."""
        if not 0 <= offset <= descriptor.size:
            raise ValueError(f"offset {offset} is outside of {descriptor.size} bytes")
        opened = self._open(descriptor.digest, offset)
        if opened is None:
            raise self._no_content(descriptor.digest)
        return VerifiedReader(opened[0], descriptor, offset=offset, where=self._where)

    def exists(self, descriptor: Descriptor) -> bool:
        """True if the content is here in the declared size."""
        opened = self._open(descriptor.digest)
        if opened is None:
            return False
        opened[0].close()
        return opened[1] == descriptor.size

    def find_blob(self, digest: Digest) -> Descriptor:
        """The content of a digest with its size (see `BlobFinder`)."""
        opened = self._open(digest)
        if opened is None:
            raise self._no_content(digest)
        opened[0].close()
        return Descriptor(media_type="application/octet-stream", digest=digest, size=opened[1])

    def resolve(self, target: str) -> Document:
        """The document of a tag or digest; a digest need not be in the index (children of an index are not)."""
        index = self._index()
        if target.startswith(("sha256:", "sha512:")):
            digest = Digest(target)
            return self._document(digest, index.by_digest(digest))
        found = index.by_name(target)
        if found is None:
            raise self._no_tag(target, index)
        return self._document(found.digest, found)

    def tags(self) -> Iterator[str]:
        """Every tag once, sorted."""
        return iter(self._index().tags())

    def referrers(self, digest: Digest, artifact_type: str | None = None) -> Iterator[Descriptor]:
        """What names `digest` as its subject, from both dialects: listed in the index, and under the fallback tag.

        An entry whose content is not in this layout, or is no document that can be used, is no referrer here.
        """
        index = self._index()
        found = {descriptor.digest: descriptor for descriptor in self._referring_to(index, digest)}
        for candidate in self._fallback(index, digest):
            if candidate.digest in found or not is_document(candidate.media_type):
                continue
            referring = self._referring(candidate)
            if referring is not None and referring.subject == digest:
                found[candidate.digest] = referring.descriptor
        return iter([each for each in found.values() if artifact_type in (None, each.artifact_type)])

    def listed(self, digest: Digest, *, tags: Collection[str] | None = None) -> Iterator[Listed]:  # noqa: ARG002 - its tags are at hand
        """What the index and the fallback tag list (see `RelationLister`)."""
        index = self._index()
        found = {each.digest: Listed(each, "layout") for each in self._referring_to(index, digest)}
        for candidate in self._fallback(index, digest):
            if is_document(candidate.media_type):
                found.setdefault(candidate.digest, Listed(candidate, "fallback"))
        return iter(list(found.values()))

    def digest_of(self, tag: str) -> Digest | None:
        """What a tag points to; None without the tag."""
        found = self._index().by_name(tag)
        return None if found is None else found.digest

    def _fallback_indexes(self, referrers: Mapping[Digest, Sequence[Descriptor]]) -> list[tuple[str, Document]]:
        """The indexes to write, by their tags, for these referrers to be found.

        Referrers whose manifests name no subject need one; the others are in it if it is to be written, or is there:
        whoever reads it (regctl) takes it for complete.
        """
        index, found = self._index(), []
        for subject, entries in referrers.items():
            is_kept = self._is_list_kept(index, subject)
            wanted = entries if is_kept else [entry for entry in entries if self._referring(entry) is None]
            if not wanted:
                continue
            tag = fallback_tag(subject)
            listed = index.by_name(tag)
            current = None if listed is None else self._document(listed.digest, listed)
            if current is not None:
                check_image_index(current, f"{self._where}:{tag}")
            changed = adding(current, wanted)
            if changed is not None:
                found.append((tag, changed))
        return found

    def _tagged_referrer(self, document: Document) -> dict[Digest, Sequence[Descriptor]]:
        """The document by its subject, if the subject's list under the fallback tag is kept."""
        try:
            view = document.parse()
        except (InvalidDocument, Unsupported):
            return {}  # whatever it is, it can be stored
        subject = None if view.subject is None else view.subject.digest
        if subject is None or not self._is_list_kept(self._index(), subject):
            return {}
        return {subject: [entry_of(document, view)]}

    def _is_list_kept(self, index: LayoutIndex, subject: Digest) -> bool:
        listed = index.by_name(fallback_tag(subject))
        return self.tags_referrers or (listed is not None and listed.media_type == INDEX)

    def _referring_to(self, index: LayoutIndex, digest: Digest) -> list[Descriptor]:
        """The documents of the index whose subject is `digest`."""
        if self._grouped is None or self._grouped[0] is not index:
            groups: dict[Digest, list[Descriptor]] = {}
            is_whole = True
            for candidate in {each.digest: each for each in index.descriptors}.values():
                if is_document(candidate.media_type):
                    referring = self._referring(candidate)
                    is_whole &= candidate.digest in self._subjects
                    if referring is not None:
                        groups.setdefault(referring.subject, []).append(referring.descriptor)
            if not is_whole:  # what is listed but missing may still come
                return groups.get(digest, [])
            self._grouped = index, groups
        return self._grouped[1].get(digest, [])

    def _fallback(self, index: LayoutIndex, digest: Digest) -> list[Descriptor]:
        listed = index.by_name(fallback_tag(digest))
        if listed is None:
            return []
        document = self._document(listed.digest, listed)
        if not document.is_index:
            return []
        # Deleting a referrer leaves its line in an index that another tool keeps.
        return [child for child in document.index().manifests if self.exists(child)]

    def _referring(self, candidate: Descriptor) -> _Referring | None:
        digest = candidate.digest
        if digest in self._subjects:
            return self._subjects[digest]
        try:
            document = self._document(digest, candidate)
            view = document.parse()
        except NotFound:
            return None  # may still come, so it is not remembered
        except (InvalidDocument, Unsupported):
            self._subjects[digest] = None
            return None
        referring = None
        if view.subject is not None:
            described = msgspec.structs.replace(
                document.descriptor.bare, artifact_type=view.effective_type, annotations=view.annotations
            )
            referring = _Referring(view.subject.digest, described)
        self._subjects[digest] = referring
        return referring

    def _document(self, digest: Digest, listed: Descriptor | None) -> Document:
        """The verified document; `listed` is what an index says about it, None if nothing does."""
        opened = self._open(digest)
        if opened is None:
            raise self._no_content(digest, listed=listed is not None)
        source, size = opened
        with source:
            if size > MAX_DOCUMENT_BYTES:
                raise self._too_large(digest, size, listed=listed is not None)
            raw = read_all(source, MAX_DOCUMENT_BYTES)
        if listed is not None and listed.size != len(raw):
            raise IntegrityError(
                f"{digest} has {len(raw)} bytes, its entry says {listed.size}", code="size-mismatch", where=self._where
            )
        try:
            return Document.read(raw, media_type=(listed.media_type or None) if listed else None, expected=digest)
        except InvalidDocument as error:
            if listed is None:
                raise self._a_blob(digest) from error
            error.at(f"{self._where}@{digest}")
            raise
        except ProvenderError as error:
            error.at(f"{self._where}@{digest}")
            raise

    def _no_content(self, digest: Digest, *, listed: bool = False) -> NotFound:
        why = "is listed in index.json, but its file is missing" if listed else "is not there"
        return NotFound(
            f"{digest} {why}",
            code="content-not-found",
            where=self._where,
            hint="copy it there again" if listed else "check the digest, or copy the content there",
        )

    def _no_tag(self, name: str, index: LayoutIndex) -> NotFound:
        return NotFound(f"no tag {name[:200]!r}", code="tag-not-found", where=self._where, hint=_near(name, index))

    def _a_blob(self, digest: Digest) -> NotFound:
        return NotFound(
            f"{digest} is a blob there, not a manifest or an index",
            code="not-a-document",
            where=self._where,
            hint="name the manifest that it belongs to",
        )

    def _too_large(self, digest: Digest, size: int, *, listed: bool) -> ProvenderError:
        if not listed:
            return self._a_blob(digest)
        return InvalidDocument(
            f"{size} bytes are over the limit of {MAX_DOCUMENT_BYTES} for a manifest or an index",
            code="document-too-large",
            where=f"{self._where}@{digest}",
        )


def _near(name: str, index: LayoutIndex) -> str:
    import difflib

    names = index.tags()
    if not names:
        digests = list(dict.fromkeys(each.digest for each in index.descriptors))
        return f"nothing is tagged there; name a digest{', such as ' + digests[0] if digests else ''}"
    near = difflib.get_close_matches(name[:128], names[:5000], n=3, cutoff=0.6)
    if near:
        return "did you mean " + " or ".join(near) + "?"
    return f"tagged are {', '.join(names[:5])}" + (f" and {len(names) - 5} more" if len(names) > 5 else "")
