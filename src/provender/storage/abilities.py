"""The abilities of storages: small protocols that every algorithm is written over (architecture section 3).

A storage here is one repository: a repository of a registry, one OCI layout, the cache, or memory. A backend has the
abilities that it can have; an algorithm names the ones it needs in its signature.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Literal, NamedTuple, Protocol, Self, runtime_checkable

import msgspec

from provender.oci import Descriptor, Digest, Document

__all__ = [
    "BlobFinder",
    "BlobReader",
    "Deleter",
    "Fetcher",
    "Listed",
    "Mounter",
    "Pusher",
    "ReferrerLister",
    "RelationLister",
    "RepositoryLister",
    "Resolver",
    "Stager",
    "TagLister",
    "TagReader",
    "Tagger",
    "UploadNote",
    "UploadNotes",
]


class BlobReader(Protocol):
    """A stream of content. `read(n)` gives at most `n` bytes and `b""` at the end; closing early is allowed."""

    def read(self, size: int = -1, /) -> bytes: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class Fetcher(Protocol):
    """Gives content by descriptor."""

    def fetch(self, descriptor: Descriptor, *, offset: int = 0) -> BlobReader:
        """A reader of the content from `offset` on.

        With `offset` 0 the reader verifies: the `read` that meets the end raises IntegrityError unless size and digest
        are right, so whoever read to `b""` holds verified bytes. From another offset only the length is checked.
        Raises NotFound if the storage does not have it.
        """
        ...

    def exists(self, descriptor: Descriptor) -> bool:
        """True if the storage has the content. "Could not ask" is an error, never False."""
        ...


class Pusher(Protocol):
    """Takes content. Nothing is visible under a digest that it does not have; pushing what is there is a no-op."""

    def push(self, descriptor: Descriptor, reader: BlobReader) -> None:
        """Store a blob, reading `reader` to its end; IntegrityError if size or digest differ."""
        ...

    def push_document(self, document: Document, tags: Sequence[str] = ()) -> None:
        """Store a manifest or index, then point `tags` at it, in order."""
        ...


@runtime_checkable
class Mounter(Protocol):
    """Takes a blob from a neighbouring repository without moving its bytes."""

    def mount(self, descriptor: Descriptor, from_repository: str) -> bool:
        """True if the blob is there now; False if it has to be pushed."""
        ...

    def neighbour(self, other: object) -> str | None:
        """The name by which blobs of the storage `other` can be mounted here; None where they cannot."""
        ...


class Resolver(Protocol):
    """Turns a tag or digest into a document."""

    def resolve(self, target: str) -> Document:
        """The manifest or index that `target` (a tag, or a digest with its algorithm) names; NotFound if there is none.

        For a digest the bytes are verified against it.
        """
        ...


class Tagger(Protocol):
    """Moves tags."""

    def tag(self, descriptor: Descriptor, name: str) -> None:
        """Point the tag `name` at a stored manifest or index; NotFound if it is not stored."""
        ...

    def untag(self, name: str) -> None:
        """Remove the tag, not the content; NotFound without it, Unsupported where the storage cannot."""
        ...


class TagLister(Protocol):
    """Lists tags."""

    def tags(self) -> Iterator[str]:
        """Every tag once, page by page, in the storage's order; NotFound for an unknown repository."""
        ...


class ReferrerLister(Protocol):
    """Lists what names a digest as its subject."""

    def referrers(self, digest: Digest, artifact_type: str | None = None) -> Iterator[Descriptor]:
        """Descriptors (with `artifact_type` and annotations) of the manifests whose subject is `digest`."""
        ...


class Listed(msgspec.Struct, frozen=True):
    """One line of a list of referrers, unchecked, and the list that has it.

    `api` is the referrers API and `layout` the index of a layout; `fallback` is the fallback tag where there is no API,
    and `overlooked` the fallback tag beside an API that does not list it: most clients will not find it.
    """

    descriptor: Descriptor
    route: Literal["api", "fallback", "overlooked", "layout"]


class RelationLister(Protocol):
    """Lists referrers as the lists have them, for whoever reads every manifest anyway and judges for himself."""

    def listed(self, digest: Digest, *, tags: Collection[str] | None = None) -> Iterator[Listed]:
        """What the lists of the storage say about `digest`, each digest once. "Could not ask" is an error.

        `tags` are the tags of the repository where they are known, so that fallback tags that are not there are not
        asked for; without them the fallback tag is asked for where nothing else lists anything.
        """
        ...


class BlobFinder(Protocol):
    """Finds blobs by digest alone."""

    def find_blob(self, digest: Digest) -> Descriptor:
        """The blob with its size, its media type unknown; NotFound if it is not there."""
        ...


class TagReader(Protocol):
    """Looks at tags without reading what they name."""

    def digest_of(self, tag: str) -> Digest | None:
        """What a tag points to now, as cheaply as can be; None without the tag."""
        ...


class Stager(Protocol):
    """Takes many documents, and makes them known at the end: lists and tags are written after everything below them."""

    def stage(self, document: Document) -> None:
        """Store a manifest or index by its digest; no tag and no list of ours names it yet."""
        ...

    def relate(self, referrers: Mapping[Digest, Sequence[Descriptor]]) -> list[Digest]:
        """Have stored documents listed as referrers of each subject, with one write for each list.

        An entry has the type and the annotations of its manifest, which may lack a subject (only a fallback tag can
        list it then). Gives the digests that the storage's own list leaves out nevertheless.
        """
        ...

    def finish(self, documents: Sequence[Document], tags: Sequence[tuple[str, Document]]) -> None:
        """Keep staged documents that nothing names, and point tags at staged documents, in order."""
        ...


class Deleter(Protocol):
    """Removes content."""

    def delete(self, descriptor: Descriptor) -> None:
        """Remove a blob, or a manifest with all tags that point to it; NotFound if it is not there."""
        ...


class RepositoryLister(Protocol):
    """Lists repositories of a registry or of a directory of layouts."""

    def repositories(self) -> Iterator[str]:
        """Every repository name once."""
        ...


class UploadNote(NamedTuple):
    """An upload that is not done: the URL where the registry goes on with it, and how many bytes it has."""

    location: str
    offset: int


class UploadNotes(Protocol):
    """Remembers uploads of large blobs, so that another run can go on with them. Called by several threads.

    `known` is asked before an upload is opened. `opened` comes with each upload and whenever the registry has more of
    it, under a location that may be another one then; `closed` when the blob is stored or the upload is lost.
    """

    def opened(self, digest: Digest, location: str, offset: int) -> None: ...
    def closed(self, digest: Digest) -> None: ...
    def known(self, digest: Digest) -> UploadNote | None: ...
