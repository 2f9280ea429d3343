"""Runs the application: sockets, uvicorn, signals, and the limits that lie below HTTP. Top of the server layer."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from provender.errors import Conflict, InvalidProject, Unavailable, Unsupported
from provender.server.limits import Limits
from provender.server.log import Log

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from provender.server.wire import QuietServer

__all__ = ["Listening", "bind", "require_extra", "serve", "serving"]

_SETTLE_S = 10
_START_S = 30.0


class Listening(msgspec.Struct, frozen=True):
    """Where the server listens."""

    host: str
    port: int
    is_tls: bool

    @property
    def address(self) -> str:
        """`host:port`, as references name it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def require_extra() -> None:
    """Nothing, or Unsupported with the line that installs what the server needs."""
    from importlib.util import find_spec

    missing = [name for name in ("starlette", "uvicorn", "httptools", "bcrypt") if find_spec(name) is None]
    if missing:
        raise Unsupported(
            f"the server needs packages that are not installed: {', '.join(missing)}",
            code="extra-missing",
            hint="install them: pip install 'provender[serve]'",
        )


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Conflict if the port is taken."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise InvalidProject(
            f"{host!r} is no address of this machine", code="invalid-address", where=f"--listen {host}:{port}"
        ) from error
    # With the protocol named, for asyncio switches off the delay of small packets only then.
    listener = socket.socket(found[0], socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(found[4])
        listener.listen(1024)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise Conflict(
            f"cannot listen on {host}:{port}: {(error.strerror or str(error)).lower()}",
            code="port-taken",
            exit_status=74,
            where=f"--listen {host}:{port}",
            hint="name another port; port 0 takes a free one",
        ) from error
    return listener


def serve(
    app: Starlette,
    listener: socket.socket,
    *,
    log: Log,
    limits: Limits | None = None,
    tls: tuple[Path, Path] | None = None,
    ready: Callable[[Listening], None] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM, then let running requests end; a second signal ends at once.

    `ready` is called once requests are answered. Call it in the main thread. `tls` is a certificate and its key.
    """
    place, server = _place(listener, tls), _server(app, limits or Limits(), tls)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, server.stop)
        try:
            await server.run_on(listener, lambda: ready(place) if ready is not None else None)
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    with _relayed(log), asyncio.Runner() as runner:
        runner.run(main())


@contextmanager
def serving(
    app: Starlette,
    listener: socket.socket,
    *,
    log: Log,
    limits: Limits | None = None,
    tls: tuple[Path, Path] | None = None,
) -> Iterator[Listening]:
    """The server in a thread of its own, until the block ends; for programs that need a registry beside themselves."""
    server = _server(app, limits or Limits(), tls)
    started = threading.Event()

    def work() -> None:
        try:
            asyncio.run(server.run_on(listener, started.set))
        finally:
            started.set()

    thread = threading.Thread(target=work, name="provender-serve", daemon=True)
    with _relayed(log):
        thread.start()
        started.wait(_START_S)
        if not server.started:
            raise Unavailable("the server did not start", code="server-not-started", retryable=False)
        try:
            yield _place(listener, tls)
        finally:
            server.should_exit = True
            thread.join(_SETTLE_S + _START_S)


def _place(listener: socket.socket, tls: tuple[Path, Path] | None) -> Listening:
    host, port = listener.getsockname()[:2]
    return Listening(host, port, tls is not None)


def _server(app: Starlette, limits: Limits, tls: tuple[Path, Path] | None) -> QuietServer:
    import uvicorn

    from provender.server.wire import LimitedProtocol, QuietServer

    try:
        config = uvicorn.Config(
            app,
            http=LimitedProtocol.limited_by(limits),
            ws="none",
            lifespan="on",
            loop="asyncio",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=limits.connections,
            timeout_keep_alive=int(limits.keep_alive_s),
            timeout_graceful_shutdown=_SETTLE_S,
            ssl_certfile=tls[0] if tls else None,
            ssl_keyfile=tls[1] if tls else None,
        )
        config.load()
    except OSError as error:  # ssl.SSLError is one
        raise InvalidProject(
            f"certificate or key cannot be used: {error.strerror or error}",
            code="invalid-certificate",
            where=str(tls[0]) if tls else None,
            hint="name a PEM certificate chain and the PEM key that belongs to it",
        ) from error
    return QuietServer(config)


class _Relay(logging.Handler):
    """Hands uvicorn's own warnings to our log."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        message = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            message += f": {type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
        self._log.warning(message)


@contextmanager
def _relayed(log: Log) -> Iterator[None]:
    logger = logging.getLogger("uvicorn.error")
    relay = _Relay(log)
    before = logger.propagate
    logger.addHandler(relay)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(relay)
        logger.propagate = before
