"""The transport's seam: one HTTP request out, one streamed answer back. No redirects, retries, cookies or credentials.

`http_transport` is what provender has behind it. Below the wire, which adds redirects and retries, and the session,
which adds credentials.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, Protocol

import msgspec

from provender.storage.abilities import BlobReader
from provender.storage.registry.origin import Origin
from provender.storage.registry.tls import TlsSettings

__all__ = ["FailureKind", "Request", "Response", "Transport", "TransportFailure"]

FailureKind = Literal["connect", "dns", "timeout", "broken", "proxy", "certificate", "not-tls", "tls", "url"]

_TEMPORARY: Final = frozenset({"connect", "dns", "timeout", "broken", "proxy"})


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP request. A streamed body needs its `Content-Length` among the headers.

    `silence_s` shortens how long the other side may say nothing, `patience_s` lengthens it. `led_by` is the registry's
    host where a registry chose the target, which then may not be nearer to this machine than the registry is.
    """

    method: str
    url: str
    headers: dict[str, str] = {}
    body: bytes | BlobReader | None = None
    tls: TlsSettings = TlsSettings()
    silence_s: float | None = None
    patience_s: float = 0
    led_by: str | None = None

    @property
    def is_replayable(self) -> bool:
        """True if sending it twice is the same as once, and its body can be sent twice.

        Opening an upload (POST without body) twice leaves one that the registry forgets. A chunk twice (PATCH) may be
        there twice: docker-registry 2.8 appends it whatever its range says.
        """
        return self.is_repeatable and self.method not in ("DELETE", "PATCH")

    @property
    def is_repeatable(self) -> bool:
        """True if its body can be sent twice, which is safe if the first time was refused."""
        return self.body is None or isinstance(self.body, bytes)


class Response(Protocol):
    """A streamed answer. Header names are lower-case; repeated headers are joined by a comma."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    def read(self, size: int = -1, /) -> bytes:
        """The next bytes as they arrive, at most `size`; `b""` at the end. Raises TransportFailure if it breaks."""
        ...

    def close(self) -> None: ...


class Transport(Protocol):
    """Sends requests; safe to use from several threads."""

    def send(self, request: Request) -> Response:
        """The answer, whatever its status. Raises TransportFailure if there is none."""
        ...


class TransportFailure(Exception):
    """No answer, or one that broke: `kind` says at which step, the text is for people.

    Not an error of the tree: the wire and the download turn it into one, or try again. `origin` is the server that was
    asked, where that is known.
    """

    def __init__(self, kind: FailureKind, message: str, origin: Origin | None = None) -> None:
        super().__init__(message)
        self.kind: FailureKind = kind
        self.message = message
        self.origin = origin

    @property
    def is_temporary(self) -> bool:
        """True if trying again may help."""
        return self.kind in _TEMPORARY
