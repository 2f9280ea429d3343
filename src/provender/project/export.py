"""Export: everything that a lock needs, in one OCI layout archive, for a machine without network.

Project layer, over the sources and `storage.archive_writer`. Content of registries is carried as it is; the files of
other origins as carried trees (`carried_tree`), an artifact each. The same lock and compression give the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec

from provender.artifact.tree import Entry
from provender.errors import IntegrityError, InvalidProject, ProvenderError
from provender.oci import EMPTY_BYTES, EMPTY_DESCRIPTOR, Descriptor, Digest, Document, Index, Manifest
from provender.oci.annotations import EXPORT_ORIGIN, EXPORT_SOURCE, REF_NAME
from provender.oci.media_types import INDEX, MANIFEST
from provender.project.carried_tree import FILE_TYPE, TREE_TYPE, listing
from provender.project.dependency import Dependency
from provender.project.lock import LOCK_NAME, Lock
from provender.project.lock_entry import LockedArtifact, LockedDependency
from provender.project.manifest import Manifest as ProjectManifest
from provender.project.resolution import note_place, refuse_stale
from provender.project.sampling import laid_aside
from provender.project.sources import Contents, Portable, Source, source_of
from provender.storage.abilities import BlobReader, Fetcher
from provender.storage.archive_writer import Compression, Part, Writable, archive_size, write_archive
from provender.storage.verify import CHUNK_BYTES, BytesReader
from provender.transfer.pool import Cancellation, run_all
from provender.transfer.progress import NO_PROGRESS, Progress, WatchedReader
from provender.transfer.related import NONE, Related

__all__ = ["Exported", "export"]

# What a manifest of carried files may name: far below what registries take for one manifest (4 MiB).
_MAX_LAYERS: Final = 10_000
# Their content is in the manifest, or is nobody's to carry.
_NOT_CARRIED: Final = frozenset({"inline", "manual"})


class Exported(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What was written."""

    dependencies: tuple[str, ...]
    left_out: tuple[str, ...]
    """Those that need nothing: their content is in the manifest, or kept by hand."""
    documents: int
    blobs: int
    size_bytes: int
    """Of the archive before compression."""


class _Piece(msgspec.Struct, frozen=True):
    """What one dependency puts into the archive."""

    entries: tuple[Descriptor, ...]
    parts: tuple[Part, ...]


def export(
    directory: Path,
    manifest: ProjectManifest,
    lock: Lock,
    sources: Mapping[str, Source],
    out: Writable,
    *,
    compression: Compression = "none",
    related: Related = NONE,
    jobs: int = 8,
    progress: Progress = NO_PROGRESS,
) -> Exported:
    """Write the archive for `lock`, which has to answer `manifest`, to `out`; after an error that has no archive.

    What of `related` belongs to artifacts of registries comes along. Content that is not in the cache is fetched first,
    side by side; what the cache does not take is streamed. Raises
    InvalidProject (`lock-stale`, `nothing-to-export`), and what sources raise.
    """
    refuse_stale(manifest, lock, directory)
    wishes = [each for each in manifest.dependencies if each.source not in _NOT_CARRIED]
    if not wishes:
        raise InvalidProject(
            "nothing in the lock has to be carried",
            code="nothing-to-export",
            where=str(directory / LOCK_NAME),
            hint="the manifest alone is enough for inline files and directories that are kept by hand",
        )
    with ExitStack() as stack:
        work = _Work(manifest, lock, sources, stack, related, jobs=jobs, progress=progress)
        pieces = work.gather(wishes)
        entries = _unique([each for piece in pieces for each in piece.entries])
        parts = _unique_parts([each for piece in pieces for each in piece.parts])
        write_archive(out, entries, parts, compression=compression)
    documents = sum(part.descriptor.is_document for part in parts)
    return Exported(
        dependencies=tuple(each.name for each in wishes),
        left_out=tuple(each.name for each in manifest.dependencies if each.source in _NOT_CARRIED),
        documents=documents,
        blobs=len(parts) - documents,
        size_bytes=archive_size(entries, [part.descriptor for part in parts]),
    )


class _Work:
    """Gathers the pieces of an export; what has to be laid aside for it lives as long as `stack`."""

    def __init__(
        self,
        manifest: ProjectManifest,
        lock: Lock,
        sources: Mapping[str, Source],
        stack: ExitStack,
        related: Related,
        *,
        jobs: int,
        progress: Progress,
    ) -> None:
        self._manifest = manifest
        self._lock = lock
        self._sources = sources
        self._stack = stack
        self._related = related
        self._jobs = jobs
        self._progress = progress
        self._cancellation = Cancellation()

    def gather(self, wishes: list[Dependency]) -> list[_Piece]:
        """A piece for each dependency, in their order; what registries have is fetched into the cache meanwhile."""
        portable = [each for each in wishes if isinstance(source_of(self._sources, each), Portable)]
        found = run_all([self._asking(each) for each in portable], jobs=self._jobs, cancellation=self._cancellation)
        contents = dict(zip([each.name for each in portable], found, strict=True))
        self._fill(list(contents.values()))
        return [
            self._artifact(each, contents[each.name]) if each.name in contents else self._tree(each) for each in wishes
        ]

    def _asking(self, dependency: Dependency) -> Callable[[], Contents]:
        def ask() -> Contents:
            self._cancellation.check()
            source = source_of(self._sources, dependency)
            if not isinstance(source, Portable):
                raise TypeError(f"{dependency.source} is not portable")
            try:
                entry = self._lock.dependencies[dependency.name]
                return source.contents(dependency, entry, related=self._related)
            except ProvenderError as error:
                note_place(error, self._manifest, dependency.name)
                raise

        return ask

    def _fill(self, contents: list[Contents]) -> None:
        """Read every blob once, side by side, which puts it into the cache; the archive is written one by one."""
        fetchers: dict[Digest, tuple[Descriptor, Fetcher]] = {}
        for each in contents:
            for blob in (*each.blobs, *each.companions.blobs):
                fetchers.setdefault(blob.digest, (blob, each.fetcher))

        def filling(blob: Descriptor, fetcher: Fetcher) -> Callable[[], None]:
            def fill() -> None:
                task = self._progress.start(f"fetching {blob.digest.short}", blob.size)
                with WatchedReader(fetcher.fetch(blob), self._progress, task, self._cancellation) as reader:
                    _read_through(reader)
                self._progress.done(task)

            return fill

        tasks = [filling(*each) for each in fetchers.values()]
        run_all(tasks, jobs=self._jobs, cancellation=self._cancellation)

    def _artifact(self, dependency: Dependency, contents: Contents) -> _Piece:
        entry = self._lock.dependencies[dependency.name]
        named = contents.documents[0].descriptor
        origin = None
        if isinstance(entry, LockedArtifact) and not entry.registry.startswith("layout:"):
            origin = f"{entry.registry}/{entry.repository}"
        tag = entry.tag if isinstance(entry, LockedArtifact) else None
        entries = [_listed(named, entry.source, origin, tag)]
        companions = contents.companions
        for each in companions.documents:
            tags = each.tags or ((None,) if each.is_named else ())
            entries += [_listed(each.document.descriptor, entry.source, origin, tag) for tag in tags]
        documents = [*contents.documents, *(each.document for each in companions.documents)]
        parts = [_document_part(document) for document in documents]
        parts += [Part(blob, _opening(contents.fetcher, blob)) for blob in (*contents.blobs, *companions.blobs)]
        return _Piece(tuple(entries), tuple(parts))

    def _tree(self, dependency: Dependency) -> _Piece:
        entry = self._lock.dependencies[dependency.name]
        source = source_of(self._sources, dependency)
        try:
            aside = laid_aside(source, dependency, entry, jobs=self._jobs, progress=self._progress)
            place, laid = self._stack.enter_context(aside)
        except ProvenderError as error:
            note_place(error, self._manifest, dependency.name)
            raise
        return _tree_piece(dependency, entry, place, laid)


def _listed(document: Descriptor, source: str, origin: str | None, tag: str | None) -> Descriptor:
    """The archive's entry of a document, with the repository that it is from, if that is one of a registry."""
    noted = {EXPORT_SOURCE: source}
    if origin is not None:
        noted[EXPORT_ORIGIN] = origin
        if tag is not None:
            noted[REF_NAME] = f"{origin}:{tag}"
    return msgspec.structs.replace(document.bare, artifact_type=document.artifact_type, annotations=noted)


def _tree_piece(dependency: Dependency, entry: LockedDependency, place: str, laid: tuple[Entry, ...]) -> _Piece:
    raw = listing(laid)
    named = Descriptor.of(raw, TREE_TYPE)
    if named.digest != entry.tree:
        raise IntegrityError(
            f"{dependency.name} unpacks to the tree {named.digest}, but the lock says {entry.tree}",
            code="tree-mismatch",
            hint="its origin gives something else now; run 'provender update' and export anew",
        )
    files: dict[Digest, Part] = {}
    for each in laid:
        if each.kind == "f":
            file = Descriptor(media_type=FILE_TYPE, digest=Digest(f"sha256:{each.content}"), size=each.size)
            files.setdefault(file.digest, Part(file, _opening_file(os.path.join(place, *each.path.split("/")))))
    chunks = list(_chunks([named, *(part.descriptor for part in files.values())]))
    manifests = [_carrier(layers) for layers in chunks]
    top = manifests[0] if len(manifests) == 1 else _collection(manifests)
    documents = manifests if top is manifests[0] else [top, *manifests]
    listed = msgspec.structs.replace(
        top.descriptor.bare, artifact_type=TREE_TYPE, annotations={EXPORT_SOURCE: dependency.source}
    )
    parts = [_document_part(each) for each in documents]
    parts += [Part(EMPTY_DESCRIPTOR, lambda: BytesReader(EMPTY_BYTES)), Part(named, lambda: BytesReader(raw))]
    return _Piece((listed,), (*parts, *files.values()))


def _chunks(layers: list[Descriptor]) -> Iterator[tuple[Descriptor, ...]]:
    for at in range(0, len(layers), _MAX_LAYERS):
        yield tuple(layers[at : at + _MAX_LAYERS])


def _carrier(layers: tuple[Descriptor, ...]) -> Document:
    return Document.author(
        Manifest(schema_version=2, media_type=MANIFEST, artifact_type=TREE_TYPE, config=EMPTY_DESCRIPTOR, layers=layers)
    )


def _collection(manifests: list[Document]) -> Document:
    listed = tuple([each.descriptor for each in manifests])
    return Document.author(Index(schema_version=2, media_type=INDEX, artifact_type=TREE_TYPE, manifests=listed))


def _document_part(document: Document) -> Part:
    return Part(document.descriptor, lambda: BytesReader(document.raw))


def _opening(fetcher: Fetcher, blob: Descriptor) -> Callable[[], BlobReader]:
    return lambda: fetcher.fetch(blob)


def _opening_file(path: str) -> Callable[[], BlobReader]:
    return lambda: open(path, "rb", buffering=0)


def _read_through(reader: WatchedReader) -> None:
    while reader.read(CHUNK_BYTES):
        pass


def _unique(entries: list[Descriptor]) -> list[Descriptor]:
    """Each descriptor once: two dependencies may be the same artifact."""
    found: list[Descriptor] = []
    for each in entries:
        if each not in found:
            found.append(each)
    return found


def _unique_parts(parts: list[Part]) -> list[Part]:
    return list({part.descriptor.digest: part for part in reversed(parts)}.values())
