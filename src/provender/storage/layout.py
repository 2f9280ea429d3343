"""An OCI image layout directory as one repository: the storage of the embedded default (image-spec image-layout.md).

Storage layer, over `layout_view` (what can be asked), `layout_index` (names) and `files` (atomic writing, locks).

Any number of processes may write to one layout: blobs appear by rename, `index.json` is changed under a kernel lock and
replaced by rename. Tools that know no lock are read correctly; two of them writing at once is theirs to avoid.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
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
from provender.oci import MAX_DOCUMENT_BYTES, Descriptor, Digest, Document
from provender.oci.reference import check_tag
from provender.storage.abilities import BlobReader
from provender.storage.blob_files import ensure_directory, open_regular, receive
from provender.storage.files import FileLock, is_temporary, sync_directory, write_atomically
from provender.storage.layout_index import (
    INDEX_FILE,
    LAYOUT_FILE,
    MAX_INDEX_BYTES,
    MAX_LAYOUT_FILE_BYTES,
    LayoutIndex,
    check_layout_version,
    not_a_layout,
)
from provender.storage.layout_view import LayoutView
from provender.storage.verify import BytesReader, read_all

__all__ = ["LayoutStorage"]

_LOCK_FILE: Final = ".index.json.lock"
_LAYOUT_BYTES: Final = b'{"imageLayoutVersion":"1.0.0"}'
_LEFTOVER_AGE_S: Final = 24 * 3600
# A file that was written in place this shortly ago may change again without another time stamp.
_CLOCK_GRAIN_NS: Final = 50_000_000

_Stamp = tuple[int, int, int, int, int]


class _Loaded(msgspec.Struct, frozen=True):
    """What `index.json` was when it was read last."""

    stamp: _Stamp
    settled: bool
    raw: bytes
    index: LayoutIndex


class LayoutStorage(LayoutView):
    """The layout at `path`; with `create` it is made if there is none.

    Every document that is pushed is listed in `index.json`; a document that loses its tag stays listed without a name
    (as oras does), until it is deleted. Raises NotFound (no directory), InvalidDocument (code `not-a-layout`) or
    Unsupported (another layout version).
    """

    def __init__(
        self,
        path: Path,
        *,
        create: bool = False,
        lock_timeout_s: float = 60.0,
        on_wait: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(f"layout:{path}")
        self._path = path
        self._lock_timeout_s = lock_timeout_s
        self._on_wait = on_wait
        self._mutex = threading.Lock()
        self._loaded: _Loaded | None = None
        self._unsynced: set[str] = set()
        self._unfinished: set[str] = set()
        self._tidied: set[str] = set()
        self._made: list[Path] = []  # directories, the innermost first
        self._is_ours = False
        if create:
            try:
                self._create()
            except BaseException:
                self.withdraw()
                raise
        self._check()

    @property
    def path(self) -> Path:
        """The directory."""
        return self._path

    def push(self, descriptor: Descriptor, reader: BlobReader) -> None:
        """Store a blob (see `Pusher.push`); a file that is there in another size is replaced."""
        digest = descriptor.digest
        if self.exists(descriptor):
            with suppress(OSError):  # a garbage collection that runs now is not to take it for old
                os.utime(self._writable(digest), follow_symlinks=False)
            return
        self._receive(reader, descriptor)

    def push_document(self, document: Document, tags: Sequence[str] = ()) -> None:
        """Store and list a manifest or index, then point `tags` at it (see `Pusher.push_document`)."""
        for tag in tags:
            check_tag(tag)
        self._store_document(document)

        def edit(index: LayoutIndex) -> LayoutIndex:
            index = index.listing(document.descriptor)
            for tag in tags:
                index = index.naming(document.descriptor, tag)
            return index

        with self._locked():
            self._store_document(document)  # again, at no cost: somebody may have deleted it
            indexes = self._fallback_indexes(self._tagged_referrer(document))
            for _, listing in indexes:
                self._store_document(listing)
            self._change(lambda index: edit(index).naming_all(indexes))

    def stage(self, document: Document) -> None:
        """Store a manifest or index as content, without an entry (see `Stager.stage`)."""
        self._store_document(document)

    def relate(self, referrers: Mapping[Digest, Sequence[Descriptor]]) -> list[Digest]:
        """List stored referrers and their subjects, as oras does; under the fallback tag what has no subject (see
        `Stager.relate`). A child of an index that is not listed is a blob to oras, to which nothing can belong."""
        with self._locked():
            indexes = self._fallback_indexes(referrers)
            for _, document in indexes:
                self._store_document(document)
            entries = [entry for each in referrers.values() for entry in each]
            entries += self._subjects_here(referrers)
            self._change(lambda index: index.listing_all(entries).naming_all(indexes))
        return []

    def _subjects_here(self, subjects: Iterable[Digest]) -> Iterator[Descriptor]:
        for subject in subjects:
            with suppress(NotFound):
                yield self.resolve(subject).descriptor

    def finish(self, documents: Sequence[Document], tags: Sequence[tuple[str, Document]]) -> None:
        """List documents and point tags at documents, in one change of the index (see `Stager.finish`)."""
        for name, _ in tags:
            check_tag(name)
        everything = {document.digest: document for document in (*documents, *(document for _, document in tags))}
        with self._locked():
            for document in everything.values():
                self._store_document(document)  # at no cost: somebody may have deleted it
            listed = [document.descriptor for document in everything.values()]
            self._change(lambda index: index.listing_all(listed).naming_all(tags))

    def tag(self, descriptor: Descriptor, name: str) -> None:
        """Point a tag at a stored document (see `Tagger.tag`); what had the tag stays listed without a name."""
        check_tag(name)
        with self._locked():
            document = self._document(descriptor.digest, descriptor)
            self._change(lambda index: index.naming(document.descriptor, name))

    def untag(self, name: str) -> None:
        """Remove a tag; the document stays listed (see `Tagger.untag`)."""

        def edit(index: LayoutIndex) -> LayoutIndex:
            if index.by_name(name) is None:
                raise self._no_tag(name, index)
            return index.without_name(name)

        with self._locked():
            self._change(edit)

    def delete(self, descriptor: Descriptor) -> None:
        """Remove content with all its entries and tags (see `Deleter.delete`); what it points to stays."""
        digest = descriptor.digest
        with self._locked():
            listed = self._index().by_digest(digest) is not None
            # The entry goes first: a crash in between leaves a blob too many, never an entry without its blob.
            self._change(lambda index: index.without(digest))
            try:
                os.unlink(self._blob_directory(digest) / digest.encoded)
            except FileNotFoundError as error:
                if not listed:
                    raise self._no_content(digest) from error

    def withdraw(self) -> None:
        """Take away what was made here if nothing came into it; what was there before, or has content, stays.

        What a thread that nobody waits for any more has not finished goes as well.
        """
        for unfinished in tuple(self._unfinished):
            with suppress(OSError):
                os.unlink(unfinished)
        if self._is_ours:
            with suppress(OSError, ProvenderError), self._locked():
                self._take_apart()
        for directory in self._made:
            with suppress(OSError):
                os.rmdir(directory)

    def _take_apart(self) -> None:
        if (self._path / INDEX_FILE).exists() and self._index().descriptors:
            return
        blobs = self._path / "blobs"
        if blobs.exists():
            for directory in list(blobs.iterdir()):
                directory.rmdir()  # an OSError for what is not empty is the end of it
            blobs.rmdir()
        for name in (LAYOUT_FILE, INDEX_FILE, _LOCK_FILE):
            (self._path / name).unlink(missing_ok=True)

    def _index(self) -> LayoutIndex:
        loaded = self._loaded
        if loaded is not None and loaded.settled:
            with suppress(FileNotFoundError):
                if _stamp(os.lstat(self._path / INDEX_FILE)) == loaded.stamp:
                    return loaded.index
        return self._load().index

    def _load(self) -> _Loaded:
        before = self._loaded
        try:
            with open_regular(self._path, INDEX_FILE) as file:
                now_ns = time.time_ns()
                status = os.fstat(file.fileno())
                raw = read_all(file, MAX_INDEX_BYTES)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise not_a_layout(self._where, f"it has no {INDEX_FILE}") from error
        except IntegrityError as error:
            error.at(f"{self._where}/{INDEX_FILE}")
            raise
        if before is not None and before.raw == raw:
            index = before.index
        else:
            try:
                index = LayoutIndex.parse(raw)
            except InvalidDocument as error:
                error.at(str(self._path / INDEX_FILE))
                raise
        loaded = _Loaded(_stamp(status), now_ns - status.st_mtime_ns > _CLOCK_GRAIN_NS, raw, index)
        self._loaded = loaded
        return loaded

    def _change(self, edit: Callable[[LayoutIndex], LayoutIndex]) -> None:
        """Read, edit and write `index.json`; the caller holds the lock."""
        index = self._index()
        changed = edit(index)
        if changed is index:
            return
        raw = changed.encode()
        if len(raw) > MAX_INDEX_BYTES:
            raise Unsupported(
                f"index.json would be over the limit of {MAX_INDEX_BYTES} bytes",
                code="index-too-large",
                where=self._where,
                hint="spread the content over several layouts",
            )
        self._sync_blobs()
        path = self._path / INDEX_FILE
        write_atomically(path, raw)
        self._loaded = _Loaded(_stamp(os.lstat(path)), False, raw, changed)

    def _sync_blobs(self) -> None:
        """Nothing may be named before its blobs' own names are safe on the disk."""
        for algorithm in sorted(self._unsynced):
            self._unsynced.discard(algorithm)  # first: what another thread adds from here on is synced again
            sync_directory(self._path / "blobs" / algorithm)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        what = f"the index of layout {self._path}"
        if not self._mutex.acquire(timeout=self._lock_timeout_s):
            raise Unavailable(f"{what} is locked by another thread", code="locked", where=self._where)
        try:
            with FileLock(self._path / _LOCK_FILE, timeout_s=self._lock_timeout_s, what=what, on_wait=self._on_wait):
                yield
        finally:
            self._mutex.release()

    def _open(self, digest: Digest, offset: int = 0) -> tuple[BlobReader, int] | None:
        try:
            file = open_regular(self._path, "blobs", digest.algorithm, digest.encoded)
        except FileNotFoundError:
            return None
        size = os.fstat(file.fileno()).st_size
        if offset:
            file.seek(offset)
        return file, size

    def _store_document(self, document: Document) -> None:
        descriptor = document.descriptor
        if len(document.raw) > MAX_DOCUMENT_BYTES:
            raise InvalidDocument(
                f"{len(document.raw)} bytes are over the limit of {MAX_DOCUMENT_BYTES} for a manifest or an index",
                code="document-too-large",
                where=self._where,
            )
        opened = self._open(descriptor.digest)
        if opened is not None:
            with opened[0] as file:
                if opened[1] == len(document.raw) and read_all(file, MAX_DOCUMENT_BYTES) == document.raw:
                    return
        # Absent, or damaged: the right bytes are at hand.
        self._receive(BytesReader(document.raw), descriptor)

    def _receive(self, reader: BlobReader, descriptor: Descriptor) -> None:
        path = self._writable(descriptor.digest)
        receive(reader, descriptor, path, durable=True, where=self._where, unfinished=self._unfinished)
        self._unsynced.add(descriptor.digest.algorithm)

    def _writable(self, digest: Digest) -> Path:
        """The place of a blob, in a directory that exists and where killed processes' leftovers were removed."""
        directory = self._blob_directory(digest)
        if digest.algorithm not in self._tidied:
            self._tidied.add(digest.algorithm)
            _remove_leftovers(directory)
        return directory / digest.encoded

    def _blob_directory(self, digest: Digest) -> Path:
        return ensure_directory(self._path, "blobs", digest.algorithm)

    def _create(self) -> None:
        self._made = [each for each in (self._path, *self._path.parents) if not each.exists()]
        self._path.mkdir(parents=True, exist_ok=True)
        if (self._path / LAYOUT_FILE).exists() and (self._path / INDEX_FILE).exists():
            return
        if not (self._path / LAYOUT_FILE).exists() and (foreign := _foreign_file(self._path)) is not None:
            raise Conflict(
                f"{self._path} is no OCI layout, and has files of its own ({foreign})",
                code="not-empty",
                where=self._where,
                hint="name a new or an empty directory",
            )
        with self._locked():
            self._is_ours = not (self._path / LAYOUT_FILE).exists()
            ensure_directory(self._path, "blobs", "sha256")
            if not (self._path / INDEX_FILE).exists():
                write_atomically(self._path / INDEX_FILE, LayoutIndex.empty().encode())
            # Last: with this file the directory is a layout.
            if not (self._path / LAYOUT_FILE).exists():
                write_atomically(self._path / LAYOUT_FILE, _LAYOUT_BYTES)

    def _check(self) -> None:
        if not self._path.exists():
            raise NotFound(
                f"no such file or directory: {self._path}",
                code="layout-not-found",
                where=self._where,
                hint="check the path, or copy something there, which makes a layout",
            )
        if not self._path.is_dir():
            raise not_a_layout(self._where, "it is a file, not a directory")
        try:
            with open_regular(self._path, LAYOUT_FILE) as file:
                check_layout_version(read_all(file, MAX_LAYOUT_FILE_BYTES), self._where)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise not_a_layout(self._where, f"it has no file {LAYOUT_FILE}") from error
        except ProvenderError as error:
            error.at(self._where)
            raise
        if not (self._path / INDEX_FILE).exists():
            raise not_a_layout(self._where, f"it has no {INDEX_FILE}")


def _stamp(status: os.stat_result) -> _Stamp:
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev


def _foreign_file(path: Path) -> str | None:
    """A file that shows that the directory is used for something else; sub-directories may be other repositories."""
    with os.scandir(path) as entries:
        for entry in entries:
            # The layout's own files may have come since they were looked for: another process makes it right now.
            if not entry.is_dir() and entry.name not in (INDEX_FILE, LAYOUT_FILE) and not entry.name.startswith("."):
                return entry.name
    return None


def _remove_leftovers(directory: Path) -> None:
    oldest = time.time() - _LEFTOVER_AGE_S
    with os.scandir(directory) as entries:
        for entry in entries:
            if is_temporary(entry.name):
                with suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_mtime < oldest:
                        os.unlink(entry.path)
