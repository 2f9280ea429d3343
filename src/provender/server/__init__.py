"""A registry over any storage: the HTTP API of distribution-spec 1.1 as an ASGI application (extra `serve`).

A layer beside `project`, above `storage`. Starlette and uvicorn are imported when a server is made, never before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provender.server.app import create_app
    from provender.server.garbage import Collected, collect
    from provender.server.limits import Limits
    from provender.server.run import Listening, serve
    from provender.server.stores import Store, open_store

__all__ = ["Collected", "Limits", "Listening", "Store", "collect", "create_app", "open_store", "serve"]

_HOMES = {
    "Collected": "garbage",
    "Limits": "limits",
    "Listening": "run",
    "Store": "stores",
    "collect": "garbage",
    "create_app": "app",
    "open_store": "stores",
    "serve": "run",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"provender.server.{_HOMES[name]}"), name)
