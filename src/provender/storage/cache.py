"""The blob cache: content by digest, shared by projects, processes and threads, verified whenever it is read.

Storage layer, over `blob_files`; `cache_usage` keeps its size, `cache_flight` keeps two from downloading the same blob.
Losing it, or any file of it, costs time and nothing else; so its files are not synced to the disk.
"""

from __future__ import annotations

import io
import os
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from provender.errors import IntegrityError, InvalidDocument, NotFound, Unsupported
from provender.oci import MAX_DOCUMENT_BYTES, Descriptor, Digest, Document
from provender.storage.abilities import BlobReader, Fetcher
from provender.storage.blob_files import open_regular, receive
from provender.storage.cache_flight import Flight, Flights
from provender.storage.cache_readers import CACHE_PLACE, EntryReader, SpooledReader, TeeReader
from provender.storage.cache_usage import CacheUsage
from provender.storage.files import temporary_name
from provender.storage.verify import CHUNK_BYTES, BytesReader, VerifiedReader, read_all

__all__ = ["BlobCache", "CachedFetcher", "default_cache_root"]

_OCTETS: Final = "application/octet-stream"
_TOUCH_AFTER_S: Final = 60
_CHECKED_BEFORE_USE_BYTES: Final = 8 << 20
_TAG_FILE: Final = "CACHEDIR.TAG"
_TAG_BYTES: Final = b"Signature: 8a477f597d28d172789f06886806bc55\n# The blob cache of provender; safe to delete.\n"


def default_cache_root(environ: Mapping[str, str]) -> Path:
    """Where the cache lies for this environment; nothing is made there."""
    if named := environ.get("PROVENDER_CACHE_DIR"):
        return Path(named)
    if os.name == "nt" and (local := environ.get("LOCALAPPDATA")):
        return Path(local) / "provender" / "cache"
    # The XDG specification: a relative path is to be ignored.
    if (xdg := environ.get("XDG_CACHE_HOME")) and Path(xdg).is_absolute():
        return Path(xdg) / "provender"
    return Path(environ.get("HOME") or Path.home()) / ".cache" / "provender"


class BlobCache:
    """The cache at `root`, held to about `max_bytes`; made when something is stored.

    `wait_s` and `stall_s` bound how long a download waits for the same download of somebody else.
    """

    def __init__(self, root: Path, *, max_bytes: int, wait_s: float = 600.0, stall_s: float = 10.0) -> None:
        self._root = root
        self._where = str(root)  # paths are put together as text: a thousand small blobs spend their time on it
        self._max_bytes = max_bytes
        self._usage = CacheUsage(root, max_bytes=max_bytes)
        self._flights = Flights(root, wait_s=wait_s, stall_s=stall_s, all_ended=self._usage.settle)
        self._tidied = False

    @property
    def root(self) -> Path:
        """The directory."""
        return self._root

    def exists(self, descriptor: Descriptor) -> bool:
        """True if there is an entry of the declared size."""
        try:
            status = os.lstat(self._place(descriptor.digest))
        except OSError:
            return False
        return stat.S_ISREG(status.st_mode) and status.st_size == descriptor.size

    @property
    def max_bytes(self) -> int:
        """What it is held to."""
        return self._max_bytes

    def find(self, digest: Digest) -> Descriptor | None:
        """The descriptor to open an entry with whose size the caller does not know; None if there is no entry."""
        try:
            status = os.lstat(self._place(digest))
        except OSError:
            return None
        return Descriptor(media_type=_OCTETS, digest=digest, size=status.st_size)

    def fetch(self, descriptor: Descriptor, *, offset: int = 0) -> VerifiedReader:
        """A verifying reader (see `Fetcher.fetch`); NotFound for what is not there or turned out to be damaged."""
        reader = self.open(descriptor, offset=offset)
        if reader is None:
            raise NotFound(
                f"{descriptor.digest} is not in the cache",
                code="not-cached",
                where=str(self._root),
                hint="fetch it from where it lives",
            )
        return reader

    def open(self, descriptor: Descriptor, *, offset: int = 0) -> VerifiedReader | None:
        """As `fetch`, but None for what is not there.

        An entry of at most 8 MiB is verified before it is handed out. A larger one is verified as it is read; if it is
        damaged, it is removed, and the error is `retryable`: the next attempt meets no entry.
        """
        if not 0 <= offset <= descriptor.size:
            raise ValueError(f"offset {offset} is outside of {descriptor.size} bytes")
        file = self._open_entry(descriptor.digest)
        if file is None:
            return None
        status = os.fstat(file.fileno())
        small = status.st_size <= _CHECKED_BEFORE_USE_BYTES
        if status.st_size != descriptor.size or (small and not _is_intact(file, descriptor)):
            self._drop(descriptor.digest, file)
            file.close()
            return None
        if time.time() - status.st_mtime > _TOUCH_AFTER_S:
            with suppress(OSError):  # a read-only cache serves as well
                os.utime(self._place(descriptor.digest))
        file.seek(offset)
        return EntryReader(file, descriptor, offset, lambda: self._drop(descriptor.digest, file))

    def push(self, descriptor: Descriptor, reader: BlobReader) -> None:
        """Store a blob (see `Pusher.push`); one that is over the cache's whole size is left out, and not read."""
        if not self.admits(descriptor) or self.exists(descriptor):
            return
        path = self._prepare(descriptor.digest)
        temporary = self._root / "tmp" / temporary_name(descriptor.digest.short)
        receive(reader, descriptor, Path(path), durable=False, where=CACHE_PLACE, temporary=temporary)
        self._usage.added(path, descriptor.size)
        self._usage.settle()

    def push_document(self, document: Document, tags: Sequence[str] = ()) -> None:
        """Store a manifest or index by its digest; tags are Unsupported."""
        if tags:
            raise Unsupported(
                "the cache keeps content by digest and has no tags",
                code="no-tags",
                where=str(self._root),
                hint="tag it in a layout or a registry",
            )
        self.push(document.descriptor, BytesReader(document.raw))

    def document(self, digest: Digest) -> Document | None:
        """The document of this digest; None if it is not there, is damaged (then it is removed) or is a blob."""
        file = self._open_entry(digest)
        if file is None:
            return None
        with file:
            if os.fstat(file.fileno()).st_size > MAX_DOCUMENT_BYTES:
                return None
            try:
                return Document.read(read_all(file, MAX_DOCUMENT_BYTES), expected=digest)
            except IntegrityError:
                self._drop(digest, file)
            except (InvalidDocument, Unsupported):
                pass
        return None

    def admits(self, descriptor: Descriptor) -> bool:
        """True for what the cache is large enough to keep."""
        return descriptor.size <= self._max_bytes

    def begin(self, descriptor: Descriptor) -> Flight | None:
        """The caller's turn to bring in a blob that is not there; it waits while somebody else does.

        None if the blob is there now, or cannot or need not be kept: look once more, then go on without the cache.
        """
        if not self.admits(descriptor):
            return None
        try:
            path = self._prepare(descriptor.digest)
        except OSError:
            return None
        return self._flights.begin(
            descriptor,
            path,
            is_there=lambda: self.exists(descriptor),
            landed=lambda: self._usage.added(path, descriptor.size),
        )

    def _place(self, digest: Digest) -> str:
        # One directory, as in a layout: a fresh cache of 256 took a tenth of the time of a thousand small blobs.
        return f"{self._where}/blobs/{digest.algorithm}/{digest.encoded}"

    def _open_entry(self, digest: Digest) -> io.FileIO | None:
        try:
            os.lstat(self._place(digest))  # what is not there, as most often, is found out in one step
            return open_regular(self._root, "blobs", digest.algorithm, digest.encoded)
        except OSError:
            return None  # absent, or not ours to read: either way there is the origin
        except IntegrityError:
            with suppress(OSError):  # a link, which we never made
                os.unlink(self._place(digest))
            return None

    def _prepare(self, digest: Digest) -> str:
        """The place of an entry, in a directory that exists."""
        directory = f"{self._where}/blobs/{digest.algorithm}"
        # Looked at every time: somebody may have deleted the cache meanwhile.
        if not (self._tidied and os.path.isdir(directory)):
            self._make_root()
            os.makedirs(directory, exist_ok=True)
        return self._place(digest)

    def _make_root(self) -> None:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("tmp", "locks"):
            os.makedirs(f"{self._where}/{name}", exist_ok=True)
        if not self._tidied:
            self._tidied = True
            if not (self._root / _TAG_FILE).exists():
                (self._root / _TAG_FILE).write_bytes(_TAG_BYTES)
            self._usage.tidy()

    def _drop(self, digest: Digest, file: io.FileIO) -> None:
        """Remove the damaged entry that `file` is; not a good one that took its place meanwhile."""
        path = self._place(digest)
        with suppress(OSError):
            if os.path.samestat(os.fstat(file.fileno()), os.lstat(path)):
                os.unlink(path)


class CachedFetcher:
    """A Fetcher that looks into the cache first, and fills it from `origin` as the caller reads.

    A cache that cannot be written (full, read-only, locked) never fails a read.
    """

    def __init__(self, origin: Fetcher, cache: BlobCache) -> None:
        self._origin = origin
        self._cache = cache

    def fetch(self, descriptor: Descriptor, *, offset: int = 0) -> BlobReader:
        """A reader of the cached content, or of the origin's, which becomes an entry when it was read to its end."""
        cached = self._cache.open(descriptor, offset=offset)
        if cached is not None:
            return cached
        if offset:
            return self._origin.fetch(descriptor, offset=offset)
        return self._fetch(descriptor, TeeReader)

    def spool(self, descriptor: Descriptor, took_over: Callable[[Flight], None]) -> BlobReader:
        """As `fetch`, but what is fetched becomes no entry (see `SpooledReader`)."""
        cached = self._cache.open(descriptor)
        if cached is not None:
            return cached
        return self._fetch(
            descriptor, lambda origin, of, flight, kept: SpooledReader(origin, of, flight, kept, took_over)
        )

    def _fetch(
        self,
        descriptor: Descriptor,
        make: Callable[[BlobReader, Descriptor, Flight, BlobReader | None], BlobReader],
    ) -> BlobReader:
        flight = self._cache.begin(descriptor)
        if flight is None:
            return self._cache.open(descriptor) or self._origin.fetch(descriptor)
        kept = flight.kept_bytes()
        reader: BlobReader | None = None
        try:
            origin = self._origin.fetch(descriptor, offset=0 if kept is None else flight.kept)
            reader = make(origin, descriptor, flight, kept)
        except IntegrityError:
            flight.discard()
            raise
        finally:
            if reader is None:
                flight.abandon()
                if kept is not None:
                    kept.close()
        return reader

    def exists(self, descriptor: Descriptor) -> bool:
        """True if the cache or the origin has the content."""
        return self._cache.exists(descriptor) or self._origin.exists(descriptor)

    def document(self, digest: Digest, fallback: Callable[[], Document]) -> Document:
        """The document of this digest: the cached one, else what `fallback` gives, which is kept.

        IntegrityError if the fallback gives another document.
        """
        cached = self._cache.document(digest)
        if cached is not None:
            return cached
        document = fallback()
        if document.digest != digest or Digest.of(document.raw, digest.algorithm) != digest:
            raise IntegrityError(
                f"asked for the document {digest}, got {document.digest}",
                code="digest-mismatch",
                hint="the registry or a proxy in between returned other content; nothing was kept",
            )
        with suppress(OSError):
            self._cache.push_document(document)
        return document


def _is_intact(file: io.FileIO, descriptor: Descriptor) -> bool:
    hasher = descriptor.digest.hasher()
    try:
        while chunk := file.read(CHUNK_BYTES):
            hasher.update(chunk)
    except OSError:  # a bad sector
        return False
    return hasher.hexdigest() == descriptor.digest.encoded
