"""A web server over a directory on loopback, with Basic authentication if asked for; it keeps what it was asked."""

from __future__ import annotations

import base64
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit


class Site:
    """Serves the files below `root`. `login` is what every request has to bring, if there is one."""

    def __init__(self, root: Path, *, login: tuple[str, str] | None = None) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self.asked: list[str] = []
        self.authorizations: list[str | None] = []
        expected = None if login is None else f"Basic {base64.b64encode(':'.join(login).encode()).decode()}"
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                site.asked.append(self.path)
                given = self.headers.get("Authorization")
                site.authorizations.append(given)
                path = root / unquote(urlsplit(self.path).path).lstrip("/")
                if expected is not None and given != expected:
                    self._answer(401, b"no")
                elif path.is_file():
                    self._answer(200, path.read_bytes())
                else:
                    self._answer(404, b"nothing here")

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def write(self, name: str, content: bytes) -> str:
        """Put a file there; its address."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return f"{self.url}/{name}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
