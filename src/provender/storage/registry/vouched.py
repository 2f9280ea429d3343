"""The body of an upload that is not hashed on its way, because somebody hashed it before.

Registry layer, below the uploader. It keeps the uploader's promise another way: the last bytes leave only if the
content is still what was hashed, untouched.
"""

from __future__ import annotations

from typing import Final

from provender.errors import IntegrityError
from provender.oci import Descriptor
from provender.storage.abilities import BlobReader
from provender.storage.registry.borrowed import Borrowed
from provender.storage.rewindable import HashedContent
from provender.storage.verify import CHUNK_BYTES

__all__ = ["Vouched", "vouched"]

# Below, hashing a second time is nothing beside the requests.
_FROM_BYTES: Final = 1 << 20


def vouched(reader: BlobReader, descriptor: Descriptor, where: str, *, offset: int = 0) -> Vouched | None:
    """The content of `reader`, which stands at its beginning, from `offset` on; None if it has to be hashed."""
    if descriptor.size < _FROM_BYTES or not isinstance(reader, HashedContent) or not reader.vouches(descriptor.digest):
        return None
    reader.skip(offset)
    return Vouched(reader, descriptor, where, offset=offset)


class Vouched(Borrowed):
    """A reader of content that somebody vouches for. `verified` once that was so for the end of it, too."""

    def __init__(self, content: HashedContent, descriptor: Descriptor, where: str, *, offset: int = 0) -> None:
        self._content = content
        self._descriptor = descriptor
        self._where = where
        self._left = descriptor.size - offset
        self.verified = False

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes; IntegrityError in place of the last ones if the content was changed meanwhile."""
        count = min(CHUNK_BYTES if size < 0 else size, self._left)
        if not count:
            return b""
        is_good = count < self._left or self._content.vouches(self._descriptor.digest)
        chunk = self._content.read(count) if is_good else b""
        if not chunk:
            raise IntegrityError(
                f"{self._descriptor.digest} is not in its file any more: it was changed while it was sent",
                code="digest-mismatch",
                where=self._where,
                hint="push again when nothing writes to the file",
            )
        self._left -= len(chunk)
        self.verified = not self._left
        return chunk
