"""The body of an upload that is sent while it is still hashed: all of the content but its end.

Registry layer, below the uploader, who sends the end once the digest is known. So no registry ever holds the whole of
a blob that is not what its digest says, nor has a closing request without content, which some cannot take.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from provender.oci import Descriptor, Digest
from provender.storage.hashing import HashingContent, changed
from provender.storage.registry.borrowed import Borrowed
from provender.storage.verify import CHUNK_BYTES

__all__ = ["Early", "FoundThere", "blob_of"]

_END_BYTES: Final = 1 << 20


class FoundThere(Exception):
    """The rest need not be sent: the registry has the blob."""

    def __init__(self, digest: Digest) -> None:
        super().__init__(digest)
        self.digest = digest


class Early(Borrowed):
    """The first `size` bytes of `content`. As soon as the digest is known, `is_there` is asked about it, once."""

    def __init__(self, content: HashingContent, is_there: Callable[[Descriptor], bool]) -> None:
        self.size = content.size - min(_END_BYTES, content.size // 2)
        self._content = content
        self._is_there: Callable[[Descriptor], bool] | None = is_there
        self._left = self.size

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes. Raises FoundThere, and Conflict if the content became shorter."""
        count = min(CHUNK_BYTES if size < 0 else size, self._left)
        if not count:
            return b""
        self._look()
        chunk = self._content.read(count)
        if not chunk:
            raise changed("the file")
        self._left -= len(chunk)
        return chunk

    def _look(self) -> None:
        if self._is_there is None or (digest := self._content.digest_within(0)) is None:
            return
        is_there, self._is_there = self._is_there, None
        if is_there(blob_of(self._content, digest)):
            raise FoundThere(digest)


def blob_of(content: HashingContent, digest: Digest) -> Descriptor:
    """The descriptor of content that has this digest, of no particular type."""
    return Descriptor(media_type="application/octet-stream", digest=digest, size=content.size)
