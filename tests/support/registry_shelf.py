"""What the test registry holds: repositories as plain dictionaries, which our server serves without looking at them.

A test may put in what no registry should hold, and take away what it should have.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from provender.errors import NotFound
from provender.oci import Descriptor, Digest, Document
from provender.oci.media_types import INDEX_TYPES
from provender.server.repositories import Opened
from provender.storage.verify import BytesReader

__all__ = ["Shelf", "ShelfRepository"]


@dataclass
class ShelfRepository:
    """One repository: content by digest, and digests by tag. It is a `WritableRepository` of the server."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    tag_digests: dict[str, str] = field(default_factory=dict)

    def open_blob(self, digest: Digest, offset: int = 0) -> Opened | None:
        content = self.blobs.get(digest)
        return None if content is None else Opened(BytesReader(content[offset:]), len(content))

    def resolve(self, target: str) -> Document:
        """Unchecked, unlike any other storage."""
        digest = target if ":" in target else self.tag_digests.get(target, "")
        if digest not in self.manifests:
            raise NotFound(f"{target} is not here", code="manifest-not-found")
        media_type, raw = self.manifests[digest]
        return Document(Descriptor(media_type=media_type, digest=Digest(digest), size=len(raw)), raw)

    def tags(self) -> Iterator[str]:
        return iter(list(self.tag_digests))

    def referrers(self, digest: Digest, artifact_type: str | None = None) -> Iterator[Descriptor]:
        for name, (media_type, raw) in list(self.manifests.items()):
            view = json.loads(raw)
            if (view.get("subject") or {}).get("digest") != digest:
                continue
            kind = view.get("artifactType")
            if kind is None and media_type not in INDEX_TYPES:
                kind = (view.get("config") or {}).get("mediaType")
            if artifact_type in (None, kind):
                notes = view.get("annotations")
                yield Descriptor(
                    media_type=media_type, digest=Digest(name), size=len(raw), artifact_type=kind, annotations=notes
                )

    def adopt(self, path: Path, descriptor: Descriptor) -> None:
        self.blobs[str(descriptor.digest)] = path.read_bytes()
        os.unlink(path)

    def keep(self, digest: Digest, size: int | None = None) -> int | None:
        content = self.blobs.get(digest)
        if content is None and digest in self.manifests:
            content = self.manifests[digest][1]
        return len(content) if content is not None and size in (None, len(content)) else None

    def link(self, digest: Digest, source: object) -> bool:
        if not isinstance(source, ShelfRepository) or digest not in source.blobs:
            return False
        self.blobs[str(digest)] = source.blobs[digest]
        return True

    def push_document(self, document: Document, tags: Sequence[str] = ()) -> None:
        self.manifests[str(document.digest)] = (document.descriptor.media_type, document.raw)
        self.tag_digests.update(dict.fromkeys(tags, str(document.digest)))

    def untag(self, name: str) -> None:
        if self.tag_digests.pop(name, None) is None:
            raise NotFound(f"there is no tag {name}", code="tag-not-found")

    def delete(self, descriptor: Descriptor) -> None:
        digest = str(descriptor.digest)
        if self.manifests.pop(digest, None) is not None:
            self.tag_digests = {tag: found for tag, found in self.tag_digests.items() if found != digest}
        elif self.blobs.pop(digest, None) is None:
            raise NotFound(f"{digest} is not here", code="blob-not-found")

    def is_listed(self, digest: Digest) -> bool:
        return digest in self.manifests


class Shelf:
    """Repositories by name. It is a `Store` of the server."""

    is_writable = True
    scratch = None
    title = "a test registry"

    def __init__(self) -> None:
        self.repositories: dict[str, ShelfRepository] = {}

    def names(self) -> list[str]:
        return sorted(self.repositories)

    def find(self, name: str) -> ShelfRepository:
        return self.writable(name, create=False)

    def writable(self, name: str, *, create: bool) -> ShelfRepository:
        if name not in self.repositories and not create:
            raise NotFound(f"there is no repository {name!r}", code="repository-not-found")
        return self.repositories.setdefault(name, ShelfRepository())
