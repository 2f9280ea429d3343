"""Downloads of the sources `http`, `githubRelease` and `helmChart`: files by URL, kept in the blob cache by digest.

Project layer, over the web client. A file whose digest is known is asked for only if the cache lacks it.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

import msgspec

from provender.errors import IntegrityError, Unavailable
from provender.oci import Descriptor, Digest
from provender.project.sources.logins import Logins
from provender.storage.abilities import BlobReader
from provender.storage.cache import BlobCache
from provender.storage.registry.redact import shown_url
from provender.storage.verify import VerifiedReader
from provender.storage.web import Download, FileSink, WebClient
from provender.transfer.pool import Cancellation
from provender.transfer.progress import NO_PROGRESS, Progress, WatchedReader

__all__ = ["Downloads", "Watch"]


class _Named(Protocol):
    """A temporary file."""

    @property
    def name(self) -> str: ...


_OCTETS: Final = "application/octet-stream"
_MAX_FILE_BYTES: Final = 64 << 30


class _Seen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a server gave at an address, and by which name it knows that. The address itself may be a secret."""

    etag: str
    sha256: str
    size_bytes: int

    @property
    def descriptor(self) -> Descriptor:
        return _descriptor(self.sha256, self.size_bytes)


# Made here, for two threads that meet a type for the first time at once are too much for msgspec.
_SEEN: Final = msgspec.json.Decoder(_Seen)
_MAX_SEEN_BYTES: Final = 1 << 16


class Watch(msgspec.Struct, frozen=True):
    """Who hears of progress, and what may end it."""

    progress: Progress = NO_PROGRESS
    cancellation: Cancellation = msgspec.field(default_factory=Cancellation)


class Downloads:
    """Brings files in. `web` is made when something has to be asked for; `is_offline` makes that an error."""

    def __init__(
        self, web: Callable[[], WebClient], cache: BlobCache, logins: Logins, *, is_offline: bool = False
    ) -> None:
        self._web = web
        self._cache = cache
        self._logins = logins
        self._is_offline = is_offline

    def lock(
        self, name: str, url: str, *, sha256: str | None = None, size_bytes: int | None = None, accept: str = "*/*"
    ) -> Descriptor:
        """What is at `url` now, which the cache has afterwards; IntegrityError if it is not the `sha256` asked for.

        With a size as well, the cache may have it already, and nothing is asked.
        """
        if sha256 is not None and size_bytes is not None:
            known = _descriptor(sha256, size_bytes)
            if self._cache.exists(known):
                return known
        seen = self._seen(url)
        if seen is not None and sha256 not in (None, seen.sha256):
            seen = None
        with self._spooled(name, url, sha256=sha256, accept=accept, watch=Watch(), seen=seen) as (_, found):
            return found

    @contextmanager
    def open(
        self, name: str, url: str, wanted: Descriptor, watch: Watch, *, accept: str = "*/*"
    ) -> Iterator[Callable[[], WatchedReader]]:
        """A function that opens the content of `wanted` anew with each call, from the cache or from `url`.

        Raises IntegrityError if the server has something else now.
        """
        held = self._cache.open(wanted)
        if held is not None:
            held.close()
            yield lambda: _watched(self._cache.fetch(wanted), watch)
            return
        with self._spooled(name, url, sha256=wanted.digest.encoded, accept=accept, watch=watch) as (file, found):
            if found.size != wanted.size:
                raise _other_content(url, f"{found.size} bytes", f"{wanted.size} bytes")
            yield lambda: _watched(_again(file, wanted), watch)

    def content(self, url: str, *, limit_bytes: int, accept: str = "*/*") -> bytes:
        """A file that is small, as it is now."""
        web, memory = self._asked(url), _MemorySink()
        authorization = self._logins.authorization(url)
        web.download(url, memory, limit_bytes=limit_bytes, authorization=authorization, accept=accept)
        return b"".join(memory.chunks)

    @contextmanager
    def _spooled(
        self, name: str, url: str, *, sha256: str | None, accept: str, watch: Watch, seen: _Seen | None = None
    ) -> Iterator[tuple[_Named, Descriptor]]:
        """The file at `url` in a temporary file; a copy of it is in the cache, as far as that can be written.

        If it is still the one that was `seen`, which the cache has, the temporary file is empty.
        """
        web = self._asked(url)
        task = watch.progress.start(os.path.basename(urlsplit(url).path) or name, None)

        def tick(size: int) -> None:
            watch.cancellation.check()
            watch.progress.advance(task, size)

        with tempfile.NamedTemporaryFile(prefix="provender-download-") as file:
            found = web.download(
                url,
                FileSink(file.fileno()),
                limit_bytes=_MAX_FILE_BYTES,
                authorization=self._logins.authorization(url),
                accept=accept,
                unless=None if seen is None else seen.etag,
                tick=tick,
            )
            if found.is_unchanged and seen is not None:
                watch.progress.done(task)
                yield file, seen.descriptor
                return
            if sha256 is not None and found.sha256 != sha256:
                raise _other_content(url, f"the sha256 {found.sha256}", sha256)
            descriptor = _descriptor(found.sha256, found.size_bytes)
            # Without a cache that can be written the file is still here.
            with suppress(OSError), _again(file, descriptor) as reader:
                self._cache.push(descriptor, reader)
                self._note(url, found)
            watch.progress.done(task)
            yield file, descriptor

    def _seen(self, url: str) -> _Seen | None:
        """What this user was given at `url` before, if the server can tell whether that is still so."""
        try:
            with open(self._place(url), "rb") as file:
                seen = _SEEN.decode(file.read(_MAX_SEEN_BYTES))
        except (OSError, ValueError, msgspec.MsgspecError):
            return None
        return seen if self._cache.exists(seen.descriptor) else None

    def _note(self, url: str, found: Download) -> None:
        place = self._place(url)
        if found.etag is None:
            place.unlink(missing_ok=True)
            return
        from provender.storage.files import write_atomically

        place.parent.mkdir(parents=True, exist_ok=True)
        seen = _Seen(etag=found.etag, sha256=found.sha256, size_bytes=found.size_bytes)
        write_atomically(place, msgspec.json.encode(seen), mode=0o600, durable=False)

    def _place(self, url: str) -> Path:
        return self._cache.root / "seen" / hashlib.sha256(url.encode("utf-8", "surrogateescape")).hexdigest()

    def _asked(self, url: str) -> WebClient:
        if self._is_offline:
            raise Unavailable(
                f"{urlsplit(url).netloc} may not be asked: this run is offline",
                code="offline",
                where=shown_url(url),
                hint="run once without --offline, so that the content is cached",
                retryable=False,
                exit_status=69,
            )
        return self._web()


class _MemorySink:
    """A sink in memory."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []

    def write(self, chunk: bytes, /) -> object:
        self.chunks.append(chunk)
        return None

    def restart(self) -> None:
        self.chunks.clear()


def _descriptor(sha256: str, size_bytes: int) -> Descriptor:
    return Descriptor(media_type=_OCTETS, digest=Digest(f"sha256:{sha256}"), size=size_bytes)


def _again(file: _Named, descriptor: Descriptor) -> VerifiedReader:
    return VerifiedReader(open(file.name, "rb", buffering=0), descriptor)


def _watched(reader: BlobReader, watch: Watch) -> WatchedReader:
    return WatchedReader(reader, NO_PROGRESS, 0, watch.cancellation)


def _other_content(url: str, found: str, wanted: str) -> IntegrityError:
    return IntegrityError(
        f"the server has {found}, but {wanted} is wanted",
        code="digest-mismatch",
        where=shown_url(url),
        hint="the file was replaced; if that is right, correct the checksum or run 'provender update' for it",
    )
