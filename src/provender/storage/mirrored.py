"""One repository read from several sources: mirrors in their order, then the location (design formats, section 3).

Storage layer, over the backends; it only reads. A digest may come from any source, since it proves itself; what a tag
is, which tags there are and what refers to a digest is asked only where somebody vouched for the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Protocol, TypeVar

import msgspec

from provender.errors import IntegrityError, InvalidProject, NotFound, ProvenderError
from provender.oci import Descriptor, Digest, Document
from provender.storage.abilities import (
    BlobFinder,
    BlobReader,
    Fetcher,
    Listed,
    ReferrerLister,
    RelationLister,
    Resolver,
    TagLister,
    TagReader,
)
from provender.storage.attempts import Attempts, Health
from provender.storage.verify import VerifiedReader

__all__ = ["MirroredStorage", "Readable", "Source"]

_T = TypeVar("_T")


class Readable(Fetcher, BlobFinder, Resolver, TagLister, TagReader, ReferrerLister, RelationLister, Protocol):
    """What can be read in every way."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One place to read from. `name` is for people; sources with the same `host` fail together.

    `open` gives its storage when it is asked for the first time.
    """

    name: str
    host: str
    open: Callable[[], Readable]
    resolves_tags: bool = True
    serves_digests: bool = True
    is_location: bool = False


class MirroredStorage:
    """Fetcher, Resolver, TagLister, TagReader and the listers of referrers over `sources`, in their order.

    After no usable answer, 404, 429 or 5xx the next source is asked; 401, 403 and wrong bytes stop, and the error names
    the host. `health` is shared by everything that one run reads. `warn` hears once of a source that failed.
    """

    def __init__(
        self, name: str, sources: Sequence[Source], *, health: Health, warn: Callable[[str], None] | None = None
    ) -> None:
        self.name = name
        self._sources = tuple(sources)
        self._health = health
        self._warn = warn

    def __repr__(self) -> str:
        return f"MirroredStorage({', '.join(source.name for source in self._sources)})"

    def fetch(self, descriptor: Descriptor, *, offset: int = 0) -> BlobReader:
        """A verifying reader. Where a source breaks for good, the next one goes on at the same byte."""
        relay = _Relay(self._attempts(self._digest_sources()), descriptor, offset)
        return _RelayedReader(relay, descriptor, offset=offset)

    def exists(self, descriptor: Descriptor) -> bool:
        """True if a source has the content; False if the location, or without it every source, says no."""

        def ask(storage: Readable) -> None:
            if not storage.exists(descriptor):
                raise NotFound(f"{descriptor.digest} is not there")

        try:
            self._ask(self._digest_sources(), ask)
        except NotFound:
            return False
        return True

    def find_blob(self, digest: Digest) -> Descriptor:
        """A blob with its size, from the first source that has it."""
        return self._ask(self._digest_sources(), lambda storage: storage.find_blob(digest))

    def resolve(self, target: str) -> Document:
        """The document of a tag, from a source that may say so, or of a digest, from any."""
        sources = self._digest_sources() if ":" in target else self._tag_sources()
        return self._ask(sources, lambda storage: storage.resolve(target))

    def tags(self) -> Iterator[str]:
        """Every tag, from the first source that may say so: one source's list, never a mixture."""
        return iter(self._ask(self._tag_sources(), lambda storage: list(storage.tags())))

    def digest_of(self, tag: str) -> Digest | None:
        """What a tag points to, from a source that may say so; None without the tag."""
        return self._ask(self._tag_sources(), lambda storage: storage.digest_of(tag))

    def referrers(self, digest: Digest, artifact_type: str | None = None) -> Iterator[Descriptor]:
        """What refers to a digest, from the location if it is read, else from a source that may resolve tags.

        A list proves nothing about what it leaves out, and mirrors often know no referrers.
        """
        return iter(self._ask(self._list_sources(), lambda storage: list(storage.referrers(digest, artifact_type))))

    def listed(self, digest: Digest, *, tags: Collection[str] | None = None) -> Iterator[Listed]:  # noqa: ARG002 - tags of which source?
        """What the lists say (see `RelationLister`), from the same source as `referrers`."""
        return iter(self._ask(self._list_sources(), lambda storage: list(storage.listed(digest))))

    def _ask(self, sources: Sequence[Source], question: Callable[[Readable], _T]) -> _T:
        attempts = self._attempts(sources)
        while (source := attempts.next()) is not None:
            try:
                return question(source.open())
            except ProvenderError as error:
                attempts.failed(source, error)
        raise attempts.failure()

    def _attempts(self, sources: Sequence[Source]) -> Attempts[Source]:
        return Attempts(sources, self._health, self._warn)

    def _tag_sources(self) -> list[Source]:
        found = [source for source in self._sources if source.resolves_tags]
        if not found:
            raise InvalidProject(
                f"no source of {self.name} may say what a tag is, only serve digests",
                code="no-tag-source",
                where=self.name,
                hint="mark a mirror that you trust with resolve: true, or let the location be read: fallback: location",
            )
        return found

    def _list_sources(self) -> list[Source]:
        return sorted(self._tag_sources(), key=lambda source: not source.is_location)

    def _digest_sources(self) -> list[Source]:
        found = [source for source in self._sources if source.serves_digests]
        if not found:
            raise InvalidProject(
                f"no source of {self.name} serves digests",
                code="no-digest-source",
                where=self.name,
                hint="let a mirror or the location serve them",
            )
        return found


class _Relay:
    """The bytes of one content as a source of `VerifiedReader`, from one source after the other.

    Bytes are handed out in order and once. What came from a source that broke later is not trusted: the reader above
    hashes everything.
    """

    def __init__(self, attempts: Attempts[Source], descriptor: Descriptor, offset: int) -> None:
        self._attempts = attempts
        self._descriptor = descriptor
        self._position = offset
        self.used: list[str] = []  # the sources whose bytes were handed out, and the one that is read now
        self._source, self._reader = self._open()

    def read(self, size: int = -1, /) -> bytes:
        while True:
            try:
                chunk = self._reader.read(size)
            except ProvenderError as error:
                self._reader.close()
                if self._position == self._descriptor.size and not isinstance(error, IntegrityError):
                    return b""  # everything is there; the digest tells whether it is right
                self._attempts.failed(self._source, error)
                self._source, self._reader = self._open()
                continue
            self._position += len(chunk)
            return chunk

    def close(self) -> None:
        self._reader.close()

    def _open(self) -> tuple[Source, _Stream]:
        while (source := self._attempts.next()) is not None:
            try:
                reader = source.open().fetch(self._descriptor, offset=self._position)
            except ProvenderError as error:
                self._attempts.failed(source, error)
            else:
                self.used = [*(self.used if self._position else ()), source.name]
                return source, reader.release() if isinstance(reader, VerifiedReader) else reader
        raise self._attempts.failure()


class _Stream(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...
    def close(self) -> None: ...


class _RelayedReader(VerifiedReader):
    """A verifying reader that names the sources of wrong bytes."""

    def __init__(self, relay: _Relay, descriptor: Descriptor, *, offset: int) -> None:
        super().__init__(relay, descriptor, offset=offset)
        self._relay = relay

    def read(self, size: int = -1, /) -> bytes:
        try:
            return super().read(size)
        except IntegrityError as error:
            used = self._relay.used
            raise IntegrityError(
                f"{error.message} (from {', then '.join(used)})",
                code=error.code,
                where=error.where or f"{used[-1]}@{self.descriptor.digest}",
                hint=error.hint,
            ) from error
