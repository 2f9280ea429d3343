"""GET, HEAD and DELETE of blobs (distribution-spec end-2, end-10). Server layer."""

from __future__ import annotations

import io

from provender.errors import NotFound
from provender.oci import Digest
from provender.server.calls import Call
from provender.server.ranges import is_match, selected
from provender.server.replies import Headers, Problem, Reply
from provender.server.repositories import Opened, Repository, blob_descriptor
from provender.server.routes import Route
from provender.server.stores import Store
from provender.storage.abilities import BlobReader

__all__ = ["Blobs"]

_OCTETS = "application/octet-stream"


class Blobs:
    """The handlers of `/v2/<name>/blobs/<digest>`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, call: Call, route: Route) -> Reply:
        """The blob, the part that a Range selects, or 304."""
        digest = Digest(route.target)
        # Opening takes microseconds; a thread would take longer than that.
        repository = self._store.find(route.name)
        if call.method == "HEAD" and self._store.is_writable:
            # A client that asks whether a blob is there will not push it: it must stay for a while.
            self._store.writable(route.name, create=False).keep(digest)
        opened = _opened(repository, digest)
        headers: Headers = (
            ("Docker-Content-Digest", digest),
            ("ETag", f'"{digest}"'),
            ("Accept-Ranges", "bytes"),
            ("Cache-Control", "max-age=31536000, immutable"),
        )
        if is_match(call.header("if-none-match"), digest):
            opened.reader.close()
            return Reply(304, headers)
        headers = (*headers, ("Content-Type", _OCTETS))
        if call.method == "HEAD":
            opened.reader.close()
            return Reply(200, (*headers, ("Content-Length", str(opened.size))))
        wanted = call.header("range")
        if wanted is not None and (only_if := call.header("if-range")) is not None and not is_match(only_if, digest):
            wanted = None
        try:
            part = selected(wanted, opened.size)
        except Problem:
            opened.reader.close()
            raise
        if part is None:
            return Reply(200, headers, reader=opened.reader, length=opened.size)
        first, last = part
        headers = (*headers, ("Content-Range", f"bytes {first}-{last}/{opened.size}"))
        return Reply(206, headers, reader=_at(repository, opened, digest, first), length=last - first + 1)

    async def delete(self, call: Call, route: Route) -> Reply:
        """202 once the blob is gone."""
        digest = Digest(route.target)
        repository = self._store.writable(route.name, create=False)
        if repository.is_listed(digest):
            raise Problem(404, "BLOB_UNKNOWN", "that is a manifest; delete it as one")
        try:
            await call.run(lambda: repository.delete(blob_descriptor(digest, 0)))
        except NotFound as error:
            raise Problem(404, "BLOB_UNKNOWN", f"{digest} is not in the repository") from error
        return Reply(202, (("Docker-Content-Digest", digest),))


def _opened(repository: Repository, digest: Digest) -> Opened:
    opened = repository.open_blob(digest)
    if opened is None:
        raise Problem(404, "BLOB_UNKNOWN", f"{digest} is not in the repository")
    return opened


def _at(repository: Repository, opened: Opened, digest: Digest, offset: int) -> BlobReader:
    """The reader from `offset` on: the same open file where it can be moved, so that it cannot be another one."""
    if isinstance(opened.reader, io.FileIO):
        opened.reader.seek(offset)
        return opened.reader
    opened.reader.close()
    again = repository.open_blob(digest, offset)
    if again is None:
        raise Problem(404, "BLOB_UNKNOWN", f"{digest} is not in the repository")
    return again.reader
