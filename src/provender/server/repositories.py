"""One repository as the server needs it: what storages offer, and blobs by digest alone, adopted, linked and kept.

Server layer, over the layout directory, the layout archive and memory.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

import msgspec

from provender.errors import NotFound, Unsupported
from provender.oci import Descriptor, Digest, Document
from provender.storage.abilities import BlobReader
from provender.storage.archive import ArchiveStorage
from provender.storage.blob_files import open_regular
from provender.storage.layout import LayoutStorage
from provender.storage.memory import MemoryStorage

__all__ = [
    "ArchiveRepository",
    "LayoutRepository",
    "MemoryRepository",
    "Opened",
    "Repository",
    "WritableRepository",
    "blob_descriptor",
]

_OCTETS: Final = "application/octet-stream"


class Opened(msgspec.Struct, frozen=True):
    """A blob that is open: its bytes as they are stored, and how many there are."""

    reader: BlobReader
    size: int


class Repository(Protocol):
    """What is asked of a repository that is only read."""

    @abstractmethod
    def open_blob(self, digest: Digest, offset: int = 0) -> Opened | None:
        """The content from `offset` on, None if it is not here. Not verified: the client does that."""

    @abstractmethod
    def resolve(self, target: str) -> Document: ...
    @abstractmethod
    def tags(self) -> Iterator[str]: ...
    @abstractmethod
    def referrers(self, digest: Digest, artifact_type: str | None = None) -> Iterator[Descriptor]: ...


class WritableRepository(Repository, Protocol):
    """What is asked of a repository that takes content."""

    @abstractmethod
    def adopt(self, path: Path, descriptor: Descriptor) -> None:
        """Take the finished and checked file at `path`, which is gone afterwards."""

    @abstractmethod
    def keep(self, digest: Digest, size: int | None = None) -> int | None:
        """The size of a blob which no garbage collection takes for a grace time from now on; None if it is not here.

        With `size`, a blob of another size is none.
        """

    @abstractmethod
    def link(self, digest: Digest, source: Repository) -> bool:
        """Take a blob of `source` without copying it; False if that cannot be done."""

    @abstractmethod
    def push_document(self, document: Document, tags: Sequence[str] = ()) -> None: ...
    @abstractmethod
    def untag(self, name: str) -> None: ...
    @abstractmethod
    def delete(self, descriptor: Descriptor) -> None: ...
    @abstractmethod
    def is_listed(self, digest: Digest) -> bool:
        """True if the index names the digest: then it is a manifest, not a blob."""


class LayoutRepository(LayoutStorage):
    """A layout directory. The time stamp of a blob says when it was needed last: see `garbage`."""

    def open_blob(self, digest: Digest, offset: int = 0) -> Opened | None:
        """See `Repository.open_blob`."""
        opened = self._open(digest, offset)
        return None if opened is None else Opened(*opened)

    def keep(self, digest: Digest, size: int | None = None) -> int | None:
        """See `WritableRepository.keep`."""
        try:
            with open_regular(self.path, "blobs", digest.algorithm, digest.encoded) as file:
                found = os.fstat(file.fileno()).st_size
            # By path, not by descriptor: if the file was taken away in between, this fails, and the blob is not here.
            os.utime(self.path / "blobs" / digest.algorithm / digest.encoded)
        except FileNotFoundError:
            return None
        except PermissionError:
            return found if size in (None, found) else None  # a store that is read only is not collected either
        return found if size in (None, found) else None

    def adopt(self, path: Path, descriptor: Descriptor) -> None:
        """See `WritableRepository.adopt`."""
        if self.keep(descriptor.digest, descriptor.size) is not None:
            os.unlink(path)
            return
        os.replace(path, self._writable(descriptor.digest))
        self._unsynced.add(descriptor.digest.algorithm)

    def link(self, digest: Digest, source: Repository) -> bool:
        """See `WritableRepository.link`."""
        if not isinstance(source, LayoutRepository):
            return False
        if self.keep(digest) is not None:
            return True
        try:
            open_regular(source.path, "blobs", digest.algorithm, digest.encoded).close()
            os.link(source.path / "blobs" / digest.algorithm / digest.encoded, self._writable(digest))
        except FileExistsError:
            pass
        except OSError:  # not there, another file system, one without links, or too many of them
            return False
        self._unsynced.add(digest.algorithm)
        return self.keep(digest) is not None

    def is_listed(self, digest: Digest) -> bool:
        """See `WritableRepository.is_listed`."""
        return self._index().by_digest(digest) is not None


class ArchiveRepository(ArchiveStorage):
    """A layout in a tar, which is only read."""

    def open_blob(self, digest: Digest, offset: int = 0) -> Opened | None:
        """See `Repository.open_blob`."""
        opened = self._open(digest, offset)
        return None if opened is None else Opened(*opened)


class Budget:
    """How many bytes all repositories in memory may hold together."""

    def __init__(self, limit: int) -> None:
        self._left = limit

    def take(self, size: int) -> None:
        """Book `size` bytes, or raise Unsupported."""
        if size > self._left:
            raise Unsupported(
                "the registry in memory is full",
                code="memory-full",
                hint="serve a directory, which keeps content on disk",
            )
        self._left -= size

    def give_back(self, size: int) -> None:
        """Undo `take`."""
        self._left += size


class MemoryRepository(MemoryStorage):
    """A repository in memory."""

    def __init__(self, where: str, budget: Budget) -> None:
        super().__init__(where)
        self._budget = budget

    def open_blob(self, digest: Digest, offset: int = 0) -> Opened | None:
        """See `Repository.open_blob`."""
        opened = self._open(digest, offset)
        return None if opened is None else Opened(*opened)

    def keep(self, digest: Digest, size: int | None = None) -> int | None:
        """See `WritableRepository.keep`; nothing collects garbage here."""
        content = self._content.get(digest)
        return len(content) if content is not None and size in (None, len(content)) else None

    def adopt(self, path: Path, descriptor: Descriptor) -> None:
        """See `WritableRepository.adopt`."""
        if descriptor.digest not in self._content:
            self._budget.take(descriptor.size)
            with open(path, "rb", buffering=0) as file:
                self.push(descriptor, file)
        with suppress(FileNotFoundError):
            os.unlink(path)

    def push_document(self, document: Document, tags: Sequence[str] = ()) -> None:
        """See `Pusher.push_document`."""
        if document.digest not in self._content:
            self._budget.take(len(document.raw))
        super().push_document(document, tags)

    def delete(self, descriptor: Descriptor) -> None:
        """See `Deleter.delete`."""
        size = self.keep(descriptor.digest)
        super().delete(descriptor)
        self._budget.give_back(size or 0)

    def link(self, digest: Digest, source: Repository) -> bool:
        """See `WritableRepository.link`: the bytes themselves are shared."""
        if digest in self._content:
            return True
        if not isinstance(source, MemoryRepository) or (content := source._content.get(digest)) is None:  # noqa: SLF001 - of the same class
            return False
        self._budget.take(len(content))
        self._content[digest] = content
        return True

    def is_listed(self, digest: Digest) -> bool:
        """See `WritableRepository.is_listed`."""
        return self._index().by_digest(digest) is not None


def blob_descriptor(digest: Digest, size: int) -> Descriptor:
    """The descriptor of content of which only digest and size are known."""
    return Descriptor(media_type=_OCTETS, digest=digest, size=size)


def no_repository(name: str) -> NotFound:
    """The error for a name that the store does not have."""
    return NotFound(f"there is no repository {name!r}", code="repository-not-found")
