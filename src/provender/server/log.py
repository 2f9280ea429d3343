"""What the server says on stderr: a line for each request, a line of figures now and then, and its own failures.

Server layer; the caller gives the function that writes a line.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Final, Literal
from urllib.parse import quote

from provender.server.calls import Call

__all__ = ["Log"]

_MAX_PATH: Final = 512


class Log:
    """Lines as text or JSON. With `with_requests` false only the figures and failures are written."""

    def __init__(
        self, write: Callable[[str], None], *, style: Literal["text", "json"] = "text", with_requests: bool = True
    ) -> None:
        self._write = write
        self._style = style
        self._with_requests = with_requests
        self._started = time.monotonic()
        self._told = 0
        self.requests = 0
        self.by_class = {2: 0, 3: 0, 4: 0, 5: 0}
        self.bytes_in = 0
        self.bytes_out = 0

    def request(self, call: Call, seconds: float) -> None:
        """Count a request that was answered, and tell of it."""
        self.requests += 1
        self.by_class[call.status // 100] = self.by_class.get(call.status // 100, 0) + 1
        self.bytes_in += call.bytes_in
        self.bytes_out += call.bytes_out
        if not self._with_requests:
            return
        client = call.scope.get("client")
        path = quote(call.path, safe="/:@_.-+~")[:_MAX_PATH]
        agent = (call.header("user-agent") or "")[:80]
        self._say(
            "request",
            client=client[0] if client else "-",
            user=call.user or "-",
            method=call.method[:16],
            path=path,
            status=call.status,
            received=call.bytes_in,
            sent=call.bytes_out,
            ms=round(seconds * 1000, 2),
            agent=agent,
        )

    def figures(self, *, uploads: int, always: bool = False) -> None:
        """Tell what was done so far, unless nothing was done since the last time."""
        if self.requests == self._told and not always:
            return
        self._told = self.requests
        self._say(
            "metrics",
            uptime_s=round(time.monotonic() - self._started),
            requests=self.requests,
            ok=self.by_class[2] + self.by_class[3],
            refused=self.by_class[4],
            failed=self.by_class[5],
            received=self.bytes_in,
            sent=self.bytes_out,
            uploads=uploads,
        )

    def failure(self, call: Call, error: BaseException) -> None:
        """Tell of a failure of ours, with where it happened."""
        import traceback

        frames = traceback.extract_tb(error.__traceback__)
        place = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else "?"
        path = quote(call.path, safe="/:@_.-+~")[:_MAX_PATH]
        message = f"{type(error).__name__}: {error}"[:500]
        self._say("failure", method=call.method[:16], path=path, at=place, error=message)

    def warning(self, text: str) -> None:
        """Tell something that is no request."""
        self._say("warning", message=text[:500])

    def _say(self, kind: str, **fields: object) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if self._style == "json":
            self._write(json.dumps({"time": now, "kind": kind, **fields}))
            return
        text = " ".join(f"{name}={_quoted(value)}" for name, value in fields.items())
        self._write(f"{now} {kind} {text}")


def _quoted(value: object) -> str:
    text = str(value)
    plain = text.isascii() and text.isprintable() and not any(c in text for c in ' "=\\') and text
    return text if plain else json.dumps(text)
