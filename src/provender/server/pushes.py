"""Uploads of blobs and mounts (distribution-spec end-4 to 6, 11, 13, 14).

Server layer, over `uploads`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import Final

from provender.errors import NotFound
from provender.oci import Digest
from provender.oci.digest import ALGORITHMS
from provender.server.bursts import BURST_BYTES
from provender.server.calls import Call
from provender.server.ranges import content_range
from provender.server.replies import Problem, Reply
from provender.server.repositories import blob_descriptor
from provender.server.routes import Route
from provender.server.stores import Store
from provender.server.uploads import Upload, Uploads

__all__ = ["Pushes"]

_INLINE_BYTES: Final = 64 << 10
_AHEAD_BYTES: Final = 256 << 10
_BUSY_WAIT_S: Final = 5.0
_BUSY_STEP_S: Final = 0.05


class Pushes:
    """The handlers of `/v2/<name>/blobs/uploads/` and of the sessions below it."""

    def __init__(self, store: Store, uploads: Uploads) -> None:
        self._store = store
        self._uploads = uploads

    async def post(self, call: Call, route: Route) -> Reply:
        """201 for a mount or a whole blob in one request; else 202 with an upload session."""
        if (mount := call.value("mount")) is not None:
            digest = Digest(mount)
            if await call.run(lambda: self._mount(route.name, digest, call.value("from"))):
                return _created(route.name, digest)
        algorithm = call.value("digest-algorithm") or "sha256"
        named = call.value("digest")
        whole = Digest(named) if named is not None and mount is None else None
        if whole is not None:
            algorithm = whole.algorithm
        if algorithm not in ALGORITHMS:
            raise Problem(400, "DIGEST_INVALID", "the digest algorithm is not supported; sha256 and sha512 are")
        await call.run(lambda: self._store.writable(route.name, create=True))
        upload = self._uploads.open(route.name, algorithm)
        if whole is None:
            return _accepted(upload)
        try:
            with _taken(upload):
                await self._receive(call, upload)
                if upload.size == 0 and upload.digest(algorithm) != whole:
                    return _accepted(upload)  # a client that only announces its digest
                return await self._finish(call, upload, whole)
        except BaseException:
            self._uploads.forget(upload)
            raise

    async def patch(self, call: Call, route: Route) -> Reply:
        """202 with the bytes appended; 416 if the chunk does not start where the last one ended."""
        upload = await self._session(route)
        with _taken(upload):
            await self._receive(call, upload)
        return _accepted(upload)

    async def put(self, call: Call, route: Route) -> Reply:
        """201 with the last bytes appended and the blob in its place."""
        upload = await self._session(route)
        named = call.value("digest")
        if named is None:
            raise Problem(400, "DIGEST_INVALID", "the query names no digest")
        digest = Digest(named)
        with _taken(upload):
            await self._receive(call, upload)
            return await self._finish(call, upload, digest)

    async def status(self, _call: Call, route: Route) -> Reply:
        """204 with how far the session is."""
        upload = await self._session(route)
        return Reply(204, _headers(upload))

    async def cancel(self, _call: Call, route: Route) -> Reply:
        """204 with the session gone."""
        upload = await self._session(route)
        self._uploads.forget(upload)
        return Reply(204)

    async def _session(self, route: Route) -> Upload:
        """The session, once no other request is at it: one that lost its connection may not have noticed yet."""
        waited = 0.0
        while (upload := self._uploads.get(route.target, route.name)).is_busy:
            if waited >= _BUSY_WAIT_S:
                raise Problem(409, "BLOB_UPLOAD_INVALID", "another request is writing to this upload")
            await asyncio.sleep(_BUSY_STEP_S)
            waited += _BUSY_STEP_S
        return upload

    def _mount(self, name: str, digest: Digest, origin: str | None) -> bool:
        names = self._store.names() if origin is None else [origin]
        target = None
        for candidate in names:
            try:
                source = self._store.find(candidate)
            except NotFound:
                continue
            if (opened := source.open_blob(digest)) is None:
                continue
            opened.reader.close()
            target = target or self._store.writable(name, create=True)
            if target.link(digest, source):
                return True
        return False

    async def _receive(self, call: Call, upload: Upload) -> None:
        claimed, length = content_range(call.header("content-range")), call.content_length()
        if claimed is not None and claimed[0] != upload.size:
            raise Problem(
                416, "RANGE_INVALID", f"the upload has {upload.size} bytes, so that is next", headers=_headers(upload)
            )
        if claimed is not None and length is not None and length != claimed[1] - claimed[0] + 1:
            raise Problem(400, "SIZE_INVALID", "Content-Range and Content-Length differ", headers=_headers(upload))
        limit = call.limits.blob_bytes - upload.size
        if (length or 0) > limit:
            raise Problem(413, "SIZE_INVALID", f"a blob has at most {call.limits.blob_bytes} bytes")
        mark = upload.mark()
        try:
            with call.streams.one_more():
                await _pump(call, upload, limit)
            _check_end(upload, claimed)
        except (OSError, Problem):
            await call.run(lambda: upload.back_to(mark))
            raise

    async def _finish(self, call: Call, upload: Upload, digest: Digest) -> Reply:
        def finish() -> None:
            found = upload.digest(digest.algorithm)
            if found != digest:
                raise Problem(400, "DIGEST_INVALID", f"the content has the digest {found}, not {digest}")
            repository = self._store.writable(upload.repository, create=True)
            repository.adopt(upload.seal(), blob_descriptor(digest, upload.size))

        try:
            await call.run(finish)
        finally:
            self._uploads.forget(upload)
        return _created(upload.repository, digest)


async def _pump(call: Call, upload: Upload, limit: int) -> None:
    """Append the body; what came before a client went away is kept, so that it can go on there."""
    pieces: list[bytes] = []
    waiting = total = 0
    running: asyncio.Future[None] | None = None
    loop = asyncio.get_running_loop()

    def keep(arriving: Iterator[memoryview]) -> None:
        upload.write(chain(pieces, arriving))
        pieces.clear()

    try:
        async for chunk in call.chunks():
            total += len(chunk)
            if total > limit:
                raise Problem(413, "SIZE_INVALID", f"a blob has at most {call.limits.blob_bytes} bytes")
            pieces.append(chunk)
            waiting += len(chunk)
            if running is None and len(chunk) >= _AHEAD_BYTES:
                # The client has more ready than we read at once: a thread takes all of it, as long as that is so.
                while await call.burst(keep) == BURST_BYTES:
                    pass
                waiting = sum(map(len, pieces))
            if waiting >= call.streams.lot_bytes:
                # One lot is hashed and written by a thread while the next one arrives.
                if running is not None:
                    await running
                running = loop.create_task(call.run(partial(upload.write_lot, pieces)))
                pieces, waiting = [], 0
    finally:
        if running is not None:
            await running
        if waiting > _INLINE_BYTES:
            await call.run(partial(upload.write_lot, pieces))
        elif pieces:
            upload.write(pieces)


def _check_end(upload: Upload, claimed: tuple[int, int] | None) -> None:
    if claimed is not None and upload.size != claimed[1] + 1:
        raise Problem(400, "SIZE_INVALID", "the chunk has not the length of its Content-Range")


@contextmanager
def _taken(upload: Upload) -> Iterator[None]:
    upload.is_busy = True
    try:
        yield
    finally:
        upload.is_busy = False


def _headers(upload: Upload) -> tuple[tuple[str, str], ...]:
    return (
        ("Location", f"/v2/{upload.repository}/blobs/uploads/{upload.name}"),
        ("Range", f"0-{max(upload.size - 1, 0)}"),
        ("Docker-Upload-UUID", upload.name),
    )


def _accepted(upload: Upload) -> Reply:
    return Reply(202, _headers(upload))


def _created(name: str, digest: Digest) -> Reply:
    return Reply(201, (("Location", f"/v2/{name}/blobs/{digest}"), ("Docker-Content-Digest", digest)))
