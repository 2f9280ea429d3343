"""An artifact's layers laid out as files in a staging directory. Artifact layer, over the fetcher and the tree writer.

Fetching, verifying, decompressing and writing are one pass per layer; layers run side by side. No blob is held in
memory and every reader is read to its end, so that nothing unverified is ever reported as unpacked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from provender.artifact.layers import Copy, Extract, Mode, Planned, Sniff, plan_layers
from provender.artifact.scribe import can_have_scribe
from provender.artifact.tree import Entry, TreeWriter
from provender.errors import IntegrityError, InvalidReference, ProvenderError
from provender.oci import Descriptor, Digest, Manifest
from provender.oci.annotations import UNPACK, UNPACKED_DIGEST
from provender.storage.abilities import BlobReader, Fetcher
from provender.storage.cache_flight import Flight
from provender.storage.cache_readers import SpooledReader
from provender.storage.compression import Stream, open_stream
from provender.storage.limits import DEFAULT_LIMITS, Limits
from provender.storage.verify import CHUNK_BYTES, BytesReader, read_all
from provender.transfer.pool import Cancellation, run_all
from provender.transfer.progress import NO_PROGRESS, Progress, WatchedReader

if TYPE_CHECKING:
    from provender.oci.digest import Hasher

__all__ = ["UnpackOptions", "fetch_content", "unpack"]

# Small files; a process takes as long to start as fewer take to write.
_SCRIBE_AFTER: Final = 300
# A blob up to this size takes longer to ask for than to receive.
_SMALL_BYTES: Final = 64 << 10
_SNIFF_BYTES: Final = 512
# How much compressed content may pass before the first 512 bytes come out; more than any real archive needs.
_MAX_RECORDED: Final = 4 << 20
_MAX_CONFIG: Final = 4 << 20


class UnpackOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Which layers become files, how, and within which caps. `repository` names what has no name of its own."""

    media_types: tuple[str, ...] = ()
    mode: Mode = "auto"
    limits: Limits = DEFAULT_LIMITS
    jobs: int = 4
    repository: str = ""
    is_hashed: bool = True
    """False if the caller needs no digest of each file; there may be some all the same."""


class _Reader(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


def unpack(
    manifest: Manifest,
    fetcher: Fetcher,
    staging: str,
    *,
    options: UnpackOptions | None = None,
    progress: Progress = NO_PROGRESS,
    cancellation: Cancellation | None = None,
) -> tuple[Entry, ...]:
    """The entries of the tree that the selected layers make in `staging`, an existing empty directory.

    After any error the directory is to be thrown away. Raises what `plan_layers`, the fetcher and the tree writer
    raise; `where` names the layer.
    """
    options = options or UnpackOptions()
    cancellation = cancellation or Cancellation()
    plan = plan_layers(
        manifest,
        mode=options.mode,
        media_types=options.media_types,
        repository=options.repository,
        config=lambda: _config(manifest, fetcher),
    )
    written = [planned for planned in plan if isinstance(planned.action, (Copy, Extract, Sniff))]
    with TreeWriter(
        staging,
        options.limits,
        scribe_after=_SCRIBE_AFTER if options.jobs > 1 and can_have_scribe() else None,
        # What two layers say of one path is compared by its digest.
        is_hashed=options.is_hashed or len(written) > 1,
    ) as writer:
        work = _Work(fetcher, writer, options.limits, progress, cancellation)
        small = [number for number, planned in enumerate(written) if planned.layer.size <= _SMALL_BYTES]
        run_all([work.task(planned) for planned in written], jobs=options.jobs, small=small, cancellation=cancellation)
        return writer.finish()


def fetch_content(fetcher: Fetcher, descriptor: Descriptor) -> BlobReader:
    """A verifying reader of the content, from the descriptor's embedded `data` where there is some."""
    embedded = descriptor.embedded()
    return fetcher.fetch(descriptor) if embedded is None else BytesReader(embedded)


def _config(manifest: Manifest, fetcher: Fetcher) -> bytes:
    if manifest.config is None:
        return b""
    with fetch_content(fetcher, manifest.config) as reader:
        return read_all(reader, _MAX_CONFIG)


class _Work:
    """What the tasks of one unpacking share."""

    def __init__(
        self, fetcher: Fetcher, writer: TreeWriter, limits: Limits, progress: Progress, cancellation: Cancellation
    ) -> None:
        self._fetcher = fetcher
        self._writer = writer
        self._limits = limits
        self._progress = progress
        self._cancellation = cancellation

    def task(self, planned: Planned) -> Callable[[], None]:
        return lambda: self._run(planned)

    def _run(self, planned: Planned) -> None:
        layer = planned.layer
        task = self._progress.start(layer.title or layer.digest.short, layer.size)
        try:
            with (
                fetch_content(self._fetcher, layer) as source,
                WatchedReader(source, self._progress, task, self._cancellation) as reader,
            ):
                self._lay(planned, reader, source)
        except ProvenderError as error:
            error.at(planned.origin)
            raise
        self._progress.done(task)

    def _lay(self, planned: Planned, reader: BlobReader, source: BlobReader) -> None:
        action = planned.action
        if isinstance(action, Extract):
            self._extract(planned, reader)
        elif isinstance(action, Copy) and isinstance(source, SpooledReader) and self._can_take(source.flight):
            self._adopt(planned, action.parts, reader, source.flight)
        elif isinstance(action, Copy):
            self._copy(planned, action.parts, reader)
        elif isinstance(action, Sniff):
            recorder = _Recorder(reader)
            if _has_tar(recorder, self._limits):
                self._extract(planned, recorder.replay())
            else:
                self._copy(planned, action.parts, recorder.replay())

    def _copy(self, planned: Planned, parts: tuple[str, ...], reader: _Reader) -> None:
        layer = planned.layer
        # The reader verifies the layer's digest, which is the file's: once through the hash is enough.
        known = layer.digest.encoded if layer.digest.algorithm == "sha256" else ""
        self._writer.file(parts, reader, executable=False, size=layer.size, sha256=known, origin=planned.origin)
        # The writer stops at the declared size; the verdict of a verifying reader comes with the end.
        while reader.read(CHUNK_BYTES):
            pass

    def _can_take(self, flight: Flight) -> bool:
        """True if the file of a download can become the file of the tree; else it is written a second time."""
        return flight.device == self._writer.device

    def _adopt(self, planned: Planned, parts: tuple[str, ...], reader: _Reader, flight: Flight) -> None:
        layer = planned.layer
        known = layer.digest.encoded if layer.digest.algorithm == "sha256" else ""
        pieces = _written(reader, flight)
        self._writer.adopt(parts, pieces, flight.take, size=layer.size, sha256=known, origin=planned.origin)
        for _ in pieces:
            pass

    def _extract(self, planned: Planned, reader: _Reader) -> None:
        from provender.artifact.tar import extract_tar

        expected = _unpacked_digest(planned)
        hasher = None if expected is None else expected.hasher()
        stream = _HashedStream(reader, self._limits, hasher, where=planned.origin)
        extract_tar(stream, self._writer, limits=self._limits, origin=planned.origin)
        stream.drain()
        if expected is not None and hasher is not None and hasher.hexdigest() != expected.encoded:
            raise IntegrityError(
                f"the archive in it has {expected.algorithm}:{hasher.hexdigest()}, its annotation says {expected}",
                code="digest-mismatch",
                where=planned.origin,
                hint="the layer was packed wrongly; nothing was kept",
            )


def _written(reader: _Reader, flight: Flight) -> Iterator[bytes]:
    """What is read and is in the file of the download; OSError if that could not be written."""
    while True:
        piece = reader.read(CHUNK_BYTES)
        if flight.failure is not None:
            raise flight.failure
        if not piece:
            return
        yield piece


class _HashedStream(Stream):
    """A decompressed stream that hashes what is taken from it. Not to be peeked into: that would hash twice."""

    def __init__(self, reader: _Reader, limits: Limits, hasher: Hasher | None, *, where: str) -> None:
        super().__init__(reader, None, limits, where=where)
        self._hasher = hasher

    def read(self, size: int = -1, /) -> bytes:
        chunk = super().read(size)
        if self._hasher is not None and chunk:
            self._hasher.update(chunk)
        return chunk


class _Recorder:
    """A reader that keeps what passed, so that a look at the beginning needs no second fetch."""

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader
        self._chunks: list[bytes] = []
        self._size = 0

    def read(self, size: int = -1, /) -> bytes:
        # Small pieces: a look needs little, and all of it is kept.
        want = 64 << 10 if size < 0 else min(size, 64 << 10)
        if self._size >= _MAX_RECORDED:
            raise IntegrityError("no content comes out of the first bytes", code="decompression-bomb")
        chunk = self._reader.read(want)
        self._chunks.append(chunk)
        self._size += len(chunk)
        return chunk

    def replay(self) -> _Reader:
        """A reader of everything from the first byte on."""
        return _Replay(b"".join(self._chunks), self._reader)


class _Replay:
    def __init__(self, first: bytes, rest: _Reader) -> None:
        self._first = BytesReader(first)
        self._rest = rest

    def read(self, size: int = -1, /) -> bytes:
        return self._first.read(size) or self._rest.read(size)


def _has_tar(recorder: _Recorder, limits: Limits) -> bool:
    """True if the content is a tar, compressed or not; content that only looks compressed is none."""
    from provender.storage.tar_header import is_header

    try:
        return is_header(open_stream(recorder, None, limits).peek(_SNIFF_BYTES))
    except IntegrityError as error:
        if error.code in ("digest-mismatch", "size-mismatch"):
            raise  # the verdict on the content itself, not on its form
        return False


def _unpacked_digest(planned: Planned) -> Digest | None:
    """The digest of the uncompressed tar that the packer noted; None for none, or one that cannot be verified."""
    notes = planned.layer.annotations or {}
    noted = notes.get(UNPACKED_DIGEST)
    if noted is None or notes.get(UNPACK, "").lower() != "true":
        return None
    try:
        return Digest(noted)
    except InvalidReference as error:
        if error.code == "unsupported-digest":
            return None  # the layer's own digest holds all the same
        raise IntegrityError(
            f"the annotation {UNPACKED_DIGEST} is no digest: {noted[:80]!r}", code="bad-annotation"
        ) from error
