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

_MAX_DOCUMENTS: Final = 200_000
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
    """What each entry leads to; a document that several name belongs to the first of them."""
    seen: set[Digest] = set()
    for entry in archive.entries:
        documents: list[Document] = []
        blobs: list[Descriptor] = []
        absent = _collect(archive, entry, documents, blobs, seen, depth=0)
        yield _Content(entry, tuple(documents), tuple(blobs), absent)


def _collect(
    archive: ArchiveStorage,
    descriptor: Descriptor,
    documents: list[Document],
    blobs: list[Descriptor],
    seen: set[Digest],
    *,
    depth: int,
) -> int:
    """Add what `descriptor` leads to; the number of what is named and not there."""
    if depth > _MAX_DEPTH or len(seen) > _MAX_DOCUMENTS:
        raise InvalidDocument(
            f"the archive has documents nested deeper than {_MAX_DEPTH}, or more than {_MAX_DOCUMENTS} of them",
            code="archive-too-deep",
            hint="it is no export; check where it is from",
        )
    try:
        document = archive.resolve(str(descriptor.digest))
    except NotFound as error:
        if error.code != "content-not-found":
            raise
        return 1
    absent = 0
    view = document.parse()
    for child in view.successors():
        if child.is_document:
            absent += _collect(archive, child, documents, blobs, seen, depth=depth + 1)
        elif archive.exists(child):
            blobs.append(child)
        else:
            absent += 1
    seen.add(document.digest)
    documents.append(document)
    return absent


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
