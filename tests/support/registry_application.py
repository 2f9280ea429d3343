"""Our server's application for one request at a time, without a socket: the test registry has one of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any
from urllib.parse import quote

from provender.server import Limits, Store, create_app
from provender.server.log import Log
from support.registry_messages import Reply, Request

__all__ = ["Application"]

_ASK_S = 60.0


class Application:
    """`create_app` over a store; `ask` may be called from any thread."""

    def __init__(self, store: Store, limits: Limits) -> None:
        self.failures: list[str] = []
        app: Any = create_app(store, log=Log(self._note, with_requests=False), limits=limits)
        self._app: Callable[..., Awaitable[None]] = app

    def _note(self, line: str) -> None:
        if " failure " in line:
            self.failures.append(line)

    def ask(self, request: Request) -> Reply:
        """The answer to a request."""
        return asyncio.run_coroutine_threadsafe(self._ask(request), _loop()).result(_ASK_S)

    async def _ask(self, request: Request) -> Reply:
        reply, body = Reply(0), bytearray()

        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": request.body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                reply.status = message["status"]
                for name, value in message["headers"]:
                    reply.headers["-".join(map(str.capitalize, name.decode().split("-")))] = value.decode("latin-1")
            else:
                body.extend(message.get("body", b""))

        headers = {**request.headers, "content-length": str(len(request.body))}
        scope = {
            "type": "http",
            "method": request.method,
            "scheme": "http",
            "path": request.path,
            "raw_path": quote(request.path).encode(),
            "query_string": request.query.encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
        }
        await self._app(scope, receive, send)
        reply.body = bytes(body)
        return reply


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """One event loop for all registries of the session, in a thread of its own."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="test-registry-loop", daemon=True).start()
    return loop
