"""The ASGI application: guards, endpoint, handler, answer, log. Server layer; Starlette frames it.

Blobs pass over raw ASGI: a response object per 64 KiB costs more than the copy.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from provender.errors import ProvenderError
from provender.server.access import Access
from provender.server.blobs import Blobs
from provender.server.calls import Call, ClientGone, Streams
from provender.server.hosts import HostRule
from provender.server.limits import Limits
from provender.server.listings import Listings
from provender.server.log import Log
from provender.server.manifests import Manifests
from provender.server.pushes import Pushes
from provender.server.replies import Problem, Reply, as_json, problem_of
from provender.server.routes import Route, route
from provender.server.stores import Store
from provender.server.uploads import Uploads

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.types import Receive, Scope, Send

__all__ = ["METHODS", "create_app"]

METHODS: Final[dict[str, tuple[str, ...]]] = {
    "ping": ("GET", "HEAD"),
    "health": ("GET", "HEAD"),
    "token": ("GET", "POST"),
    "catalog": ("GET", "HEAD"),
    "tags": ("GET", "HEAD"),
    "referrers": ("GET", "HEAD"),
    "blob": ("GET", "HEAD", "DELETE"),
    "manifest": ("GET", "HEAD", "PUT", "DELETE"),
    "uploads": ("POST",),
    "upload": ("GET", "HEAD", "PATCH", "PUT", "DELETE"),
}
_API_VERSION: Final = ("Docker-Distribution-Api-Version", "registry/2.0")
_TICK_S: Final = 60.0


def create_app(
    store: Store,
    *,
    log: Log,
    limits: Limits | None = None,
    access: Access | None = None,
    hosts: HostRule | None = None,
    read_only: bool = False,
    allow_sparse: bool = False,
) -> Starlette:
    """The application that serves `store`; its life span removes what dead processes left, and its own uploads."""
    from starlette.applications import Starlette

    registry = _Registry(
        store,
        log=log,
        limits=limits or Limits(),
        access=access,
        hosts=hosts,
        is_writable=store.is_writable and not read_only,
        allow_sparse=allow_sparse,
    )

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await registry.start()
        try:
            yield
        finally:
            await registry.stop()

    app = Starlette(lifespan=lifespan)
    app.router.default = registry  # not a route: its pattern would not match every path
    return app


class _Registry:
    """The registry as a raw ASGI application."""

    def __init__(
        self,
        store: Store,
        *,
        log: Log,
        limits: Limits,
        access: Access | None,
        hosts: HostRule | None,
        is_writable: bool,
        allow_sparse: bool,
    ) -> None:
        self._store = store
        self._log = log
        self._limits = limits
        self._access = access
        self._hosts = hosts
        self._is_writable = is_writable
        self._streams = Streams()
        self._executor = ThreadPoolExecutor(limits.threads, thread_name_prefix="provender-serve")
        self._uploads = Uploads(store.scratch if is_writable else None, limits)
        self._ticker: asyncio.Task[None] | None = None
        blobs, manifests, listings = Blobs(store), Manifests(store, allow_sparse=allow_sparse), Listings(store)
        pushes = Pushes(store, self._uploads)
        self._handlers: dict[tuple[str, str], Callable[[Call, Route], Awaitable[Reply]]] = {
            ("blob", "GET"): blobs.get,
            ("blob", "DELETE"): blobs.delete,
            ("manifest", "GET"): manifests.get,
            ("manifest", "PUT"): manifests.put,
            ("manifest", "DELETE"): manifests.delete,
            ("tags", "GET"): listings.tags,
            ("referrers", "GET"): listings.referrers,
            ("uploads", "POST"): pushes.post,
            ("upload", "GET"): pushes.status,
            ("upload", "PATCH"): pushes.patch,
            ("upload", "PUT"): pushes.put,
            ("upload", "DELETE"): pushes.cancel,
        }
        self._catalog = listings.catalog

    async def start(self) -> None:
        """Begin the work that no request asks for."""
        self._ticker = asyncio.create_task(self._tick())

    async def stop(self) -> None:
        """End it, and remove the uploads that were not finished."""
        if self._ticker is not None:
            self._ticker.cancel()
            with suppress(asyncio.CancelledError):
                await self._ticker
        await asyncio.to_thread(self._executor.shutdown)
        self._uploads.close()
        self._log.figures(uploads=0, always=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        started = time.perf_counter()
        call = Call(scope, receive, send, limits=self._limits, executor=self._executor, streams=self._streams)
        try:
            await call.answer(await self._reply(call))
        except ClientGone:
            call.status = 499
        finally:
            self._log.request(call, time.perf_counter() - started)

    async def _reply(self, call: Call) -> Reply:
        try:
            return await self._handle(call)
        except Problem as problem:
            return _with_version(problem.reply())
        except (ProvenderError, OSError) as error:
            refusal = problem_of(error, reading=call.is_reading)
            if refusal.status == 500:
                self._log.failure(call, error)
            return _with_version(refusal.reply())

    async def _handle(self, call: Call) -> Reply:
        if self._hosts is not None:
            self._hosts.check(call)
        found = route(call.path)
        allowed = METHODS[found.kind]
        if not self._is_writable and found.kind != "token":
            allowed = tuple(method for method in allowed if method in ("GET", "HEAD"))
        if self._access is not None:
            await self._access.admit(call, found)
        if call.method not in allowed:
            why = "the registry is read-only" if call.method in METHODS[found.kind] else "not a method of this endpoint"
            raise Problem(405, "UNSUPPORTED", why, headers=(("Allow", ", ".join(allowed)),))
        match found.kind:
            case "ping":
                return _with_version(as_json(200, {}))
            case "health":
                return as_json(200, {"status": "ok", "uploads": len(self._uploads)})
            case "token":
                if self._access is None:
                    raise Problem(404, "UNSUPPORTED", "there is no such endpoint")
                return await self._access.token(call)
            case "catalog":
                return _with_version(await self._catalog(call))
            case _:
                method = "GET" if call.method == "HEAD" else call.method
                return _with_version(await self._handlers[found.kind, method](call, found))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self._uploads.expire()
            self._log.figures(uploads=len(self._uploads))


def _with_version(reply: Reply) -> Reply:
    headers: Sequence[tuple[str, str]] = reply.headers
    return Reply(reply.status, (*headers, _API_VERSION), reply.body, reply.reader, reply.length)
