"""Import: the content of an export, or of any OCI layout archive, into the cache or into a store of layouts.

Project layer, over `storage.archive`. Every byte is verified on its way. What the archive names and does not have was
left out of it when it was written, and is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Protocol

import msgspec

from provender.errors import InvalidDocument, InvalidProject, InvalidReference, NotFound
from provender.oci import Descriptor, Digest, Document, Reference
from provender.oci.annotations import EXPORT_ORIGIN, REF_NAME
from provender.storage.abilities import Fetcher, Pusher
from provender.storage.archive import ArchiveStorage
from provender.storage.cache import BlobCache
from provender.storage.roots import StoreRoot
from provender.transfer.pool import Cancellation, run_all
from provender.transfer.progress import NO_PROGRESS, Progress, WatchedReader

__all__ = ["Imported", "import_to_cache", "import_to_store"]

_MAX_DOCUMENTS: Final = 100_000
_MAX_DOCUMENT_BYTES: Final = 256 << 20
_MAX_DEPTH: Final = 8


class Imported(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What became of an archive's content."""

    documents: int = 0
    blobs: int = 0
    """Blobs that are in the destination now; those that were there already count."""
    size_bytes: int = 0
    """Of the documents and blobs."""
    absent: int = 0
    """What is named in the archive, but was left out of it."""
    repositories: tuple[str, ...] = ()
    """Of the store, by their path in it."""


class _Destination(Fetcher, Pusher, Protocol):
    """What is written to."""


class _Content(msgspec.Struct, frozen=True):
    """Everything that one entry of an archive's index leads to; children come before what names them."""

    entry: Descriptor
    documents: tuple[Document, ...]
    blobs: tuple[Descriptor, ...]
    absent: int


def import_to_cache(
    archive: ArchiveStorage, cache: BlobCache, *, jobs: int = 4, progress: Progress = NO_PROGRESS
) -> Imported:
    """Put everything that the archive's index leads to into the cache.

    Raises InvalidProject (code `cache-too-small`) if the cache could not hold all of it at once, IntegrityError for
    content that is not what its digest says; what was verified by then stays.
    """
    contents = list(_contents(archive))
    told = _told(contents)
    if told.size_bytes > cache.max_bytes:
        raise InvalidProject(
            f"the archive has {told.size_bytes} bytes, the cache holds at most {cache.max_bytes}",
            code="cache-too-small",
            where=str(cache.root),
            hint="set PROVENDER_CACHE_SIZE to more, or import into a store with --store",
        )
    _push(archive, cache, contents, jobs=jobs, progress=progress)
    return told


def import_to_store(
    archive: ArchiveStorage, store: StoreRoot, cache: BlobCache, *, jobs: int = 4, progress: Progress = NO_PROGRESS
) -> Imported:
    """Put artifacts into the layouts `<registry>/<repository>` of the store, with their tags; all else into the cache.

    All else are files of other origins, which no registry has. Raises as `import_to_cache`, and what the store raises.
    """
    contents = list(_contents(archive))
    placed = [(_place(each.entry), each) for each in contents]
    rest = [each for place, each in placed if place is None]
    _push(archive, cache, rest, jobs=jobs, progress=progress)
    repositories: set[str] = set()
    for place, each in placed:
        if place is None:
            continue
        path, tag = place
        layout = store.repository(path, create=True)
        _push(archive, layout, [each], jobs=jobs, progress=progress, tag=tag)
        repositories.add(path)
    return msgspec.structs.replace(_told(contents), repositories=tuple(sorted(repositories)))


def _push(
    archive: ArchiveStorage,
    destination: _Destination,
    contents: list[_Content],
    *,
    jobs: int,
    progress: Progress,
    tag: str | None = None,
) -> None:
    cancellation = Cancellation()
    blobs = {blob.digest: blob for each in contents for blob in each.blobs}

    def pushing(blob: Descriptor) -> Callable[[], None]:
        def push() -> None:
            task = progress.start(blob.digest.short, blob.size)
            with WatchedReader(archive.fetch(blob), progress, task, cancellation) as reader:
                if destination.exists(blob):
                    _read_through(reader)  # all of the archive is verified, needed or not
                else:
                    destination.push(blob, reader)
            progress.done(task)

        return push

    run_all([pushing(blob) for blob in blobs.values()], jobs=jobs, cancellation=cancellation)
    for each in contents:
        for document in each.documents:
            is_named = document.digest == each.entry.digest
            destination.push_document(document, (tag,) if tag is not None and is_named else ())


def _contents(archive: ArchiveStorage) -> Iterator[_Content]:
    """What each entry leads to, whole: what two of them lead to, both have."""
    budget = _Budget()
    for entry in archive.entries:
        found = _Collector(archive, budget)
        found.collect(entry, depth=0)
        yield _Content(entry, tuple(found.documents.values()), tuple(found.blobs.values()), len(found.absent))


class _Budget:
    """How many documents may be read; they are held in memory."""

    def __init__(self) -> None:
        self._documents = 0
        self._bytes = 0

    def spend(self, document: Document) -> None:
        """Count a document; InvalidDocument once there are too many."""
        self._documents += 1
        self._bytes += len(document.raw)
        if self._documents > _MAX_DOCUMENTS or self._bytes > _MAX_DOCUMENT_BYTES:
            raise _no_export(f"more than {_MAX_DOCUMENTS} documents, or {_MAX_DOCUMENT_BYTES} bytes of them")


class _Collector:
    """What one entry leads to, each content once; children come before what names them."""

    def __init__(self, archive: ArchiveStorage, budget: _Budget) -> None:
        self._archive = archive
        self._budget = budget
        self.documents: dict[Digest, Document] = {}
        self.blobs: dict[Digest, Descriptor] = {}
        self.absent: set[Digest] = set()

    def collect(self, descriptor: Descriptor, *, depth: int) -> None:
        """Add `descriptor` and what it leads to."""
        if descriptor.digest in self.documents or descriptor.digest in self.absent:
            return
        if depth > _MAX_DEPTH:
            raise _no_export(f"documents nested deeper than {_MAX_DEPTH}")
        try:
            document = self._archive.resolve(str(descriptor.digest))
        except NotFound as error:
            if error.code != "content-not-found":
                raise
            self.absent.add(descriptor.digest)
            return
        self._budget.spend(document)
        for child in document.parse().successors():
            if child.is_document:
                self.collect(child, depth=depth + 1)
            elif self._archive.exists(child):
                self.blobs[child.digest] = child
            else:
                self.absent.add(child.digest)
        self.documents[document.digest] = document


def _no_export(what: str) -> InvalidDocument:
    return InvalidDocument(
        f"the archive has {what}", code="archive-too-deep", hint="it is no export; check where it is from"
    )


def _told(contents: list[_Content]) -> Imported:
    documents = {each.digest: len(each.raw) for content in contents for each in content.documents}
    blobs = {each.digest: each.size for content in contents for each in content.blobs}
    return Imported(
        documents=len(documents),
        blobs=len(blobs),
        size_bytes=sum(documents.values()) + sum(blobs.values()),
        absent=sum(each.absent for each in contents),
    )


def _place(entry: Descriptor) -> tuple[str, str | None] | None:
    """The path in a store and the tag of an exported artifact; None for what is none, or was not exported by us."""
    notes = entry.annotations or {}
    origin = notes.get(EXPORT_ORIGIN)
    if origin is None:
        return None
    try:
        reference = Reference.parse(origin)
        named = Reference.parse(notes[REF_NAME]) if REF_NAME in notes else reference
    except InvalidReference as error:
        raise _bad_origin(origin) from error
    if reference.kind == "layout" or reference.target is not None or named.name != reference.name:
        raise _bad_origin(origin)
    # A host's port has a colon, which the name of a directory should not have.
    registry = reference.registry.lower().replace(":", "_")
    return f"{registry}/{reference.repository}", named.tag


def _bad_origin(origin: str) -> InvalidDocument:
    return InvalidDocument(
        f"the archive says that content is from {origin[:150]!r}, which is no repository",
        code="bad-origin",
        hint="nothing of it was kept; ask whoever gave it to you",
    )


def _read_through(reader: WatchedReader) -> None:
    while reader.read():
        pass
