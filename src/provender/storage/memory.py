"""One repository in memory, with every ability that a single repository can have: for small work and for tests.

Storage layer, over `layout_view`: it answers as a layout directory does.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from provender.oci import Descriptor, Digest, Document
from provender.oci.reference import check_tag
from provender.storage.abilities import BlobReader
from provender.storage.layout_index import LayoutIndex
from provender.storage.layout_view import LayoutView
from provender.storage.verify import BytesReader, VerifiedReader

__all__ = ["MemoryStorage"]


class MemoryStorage(LayoutView):
    """An empty repository in memory; threads may share it."""

    def __init__(self, where: str = "memory") -> None:
        super().__init__(where)
        self._lock = threading.Lock()
        self._content: dict[Digest, bytes] = {}
        self._names = LayoutIndex.empty()

    def push(self, descriptor: Descriptor, reader: BlobReader) -> None:
        """Store a blob (see `Pusher.push`)."""
        if descriptor.digest in self._content:
            return
        self._content[descriptor.digest] = _read(VerifiedReader(reader, descriptor, where=self._where))

    def push_document(self, document: Document, tags: Sequence[str] = ()) -> None:
        """Store and list a manifest or index, then point `tags` at it (see `Pusher.push_document`)."""
        for tag in tags:
            check_tag(tag)
        self.stage(document)
        self.finish((document,), [(tag, document) for tag in tags])

    def stage(self, document: Document) -> None:
        """Store a manifest or index as content, without an entry (see `Stager.stage`)."""
        reader = VerifiedReader(BytesReader(document.raw), document.descriptor, where=self._where)
        self._content[document.digest] = _read(reader)

    def relate(self, referrers: Mapping[Digest, Sequence[Descriptor]]) -> list[Digest]:
        """List stored referrers (see `Stager.relate`)."""
        with self._lock:
            indexes = self._fallback_indexes(referrers)
            for _, document in indexes:
                self.stage(document)
            entries = [entry for each in referrers.values() for entry in each]
            self._names = self._names.listing_all(entries).naming_all(indexes)
        return []

    def finish(self, documents: Sequence[Document], tags: Sequence[tuple[str, Document]]) -> None:
        """List documents and point tags at documents (see `Stager.finish`)."""
        listed = [document.descriptor for document in (*documents, *(document for _, document in tags))]
        with self._lock:
            self._names = self._names.listing_all(listed).naming_all(tags)

    def tag(self, descriptor: Descriptor, name: str) -> None:
        """Point a tag at a stored document (see `Tagger.tag`)."""
        check_tag(name)
        with self._lock:
            document = self._document(descriptor.digest, descriptor)
            self._names = self._names.naming(document.descriptor, name)

    def untag(self, name: str) -> None:
        """Remove a tag, not the document (see `Tagger.untag`)."""
        with self._lock:
            if self._names.by_name(name) is None:
                raise self._no_tag(name, self._names)
            self._names = self._names.without_name(name)

    def delete(self, descriptor: Descriptor) -> None:
        """Remove content with all its tags (see `Deleter.delete`)."""
        with self._lock:
            if descriptor.digest not in self._content:
                raise self._no_content(descriptor.digest)
            self._names = self._names.without(descriptor.digest)
            del self._content[descriptor.digest]

    def _index(self) -> LayoutIndex:
        return self._names

    def _open(self, digest: Digest, offset: int = 0) -> tuple[BlobReader, int] | None:
        content = self._content.get(digest)
        if content is None:
            return None
        reader = BytesReader(content)
        reader.read(offset)
        return reader, len(content)


def _read(reader: VerifiedReader) -> bytes:
    chunks = []
    while chunk := reader.read():
        chunks.append(chunk)
    return b"".join(chunks)
