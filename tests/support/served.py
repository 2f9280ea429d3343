"""`provender serve` for tests: as a process of its own, or in a thread of this one, with a plain HTTP client."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from provender.server import Limits, create_app, open_store
from provender.server.access import Access
from provender.server.hosts import HostRule
from provender.server.log import Log
from provender.server.run import bind, serving
from support.certificates import Certificates

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The first error code of a refusal."""
        return str(self.json["errors"][0]["code"])


class Client:
    """Requests to a server, each over a connection of its own."""

    def __init__(self, host: str, *, tls: ssl.SSLContext | None = None, **headers: str) -> None:
        self.host = host
        self._tls = tls
        self.headers = headers

    def ask(
        self, method: str, path: str, body: bytes | Iterator[bytes] | None = None, /, **headers: str | None
    ) -> Answer:
        connection = http.client.HTTPConnection(self.host, timeout=20)
        if self._tls is not None:
            connection = http.client.HTTPSConnection(self.host, timeout=20, context=self._tls)
        named = {name.replace("_", "-"): value for name, value in {**self.headers, **headers}.items()}
        try:
            chosen = {name: value for name, value in named.items() if value is not None}
            connection.request(method, path, body=body, headers=chosen)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, b"" if response.status == 416 else response.read())
        finally:
            connection.close()

    def blob(self, repository: str, content: bytes, algorithm: str = "sha256") -> str:
        """Push a blob; its digest."""
        digest = digest_of(content, algorithm)
        answer = self.ask("POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", content)
        assert answer.status == 201, answer
        return digest

    def manifest(
        self, repository: str, tag: str | None, layers: list[bytes], *, subject: str | None = None, **fields: object
    ) -> str:
        """Push an artifact with its blobs; its digest."""
        for content in (b"{}", *layers):
            self.blob(repository, content)
        document: dict[str, object] = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": "application/vnd.test",
            "config": described(b"{}", EMPTY),
            "layers": [described(content, "application/octet-stream") for content in layers],
            **fields,
        }
        if subject is not None:
            document["subject"] = {"mediaType": MANIFEST, "digest": subject, "size": 1}
        raw = json.dumps(document).encode()
        target = tag or digest_of(raw)
        answer = self.ask("PUT", f"/v2/{repository}/manifests/{target}", raw, content_type=MANIFEST)
        assert answer.status == 201, answer
        return digest_of(raw)


def digest_of(content: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def described(content: bytes, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


@contextmanager
def served(
    path: Path | None,
    *,
    limits: Limits | None = None,
    access: Access | None = None,
    hosts: HostRule | None = None,
    lines: list[str] | None = None,
    read_only: bool = False,
    allow_sparse: bool = False,
    name: str | None = None,
    certificates: Certificates | None = None,
) -> Iterator[Client]:
    """A server in a thread over the store at `path`; memory without one."""
    log = Log((lines if lines is not None else []).append, style="json")
    store = open_store(path, name=name, limits=limits)
    app = create_app(
        store, log=log, limits=limits, access=access, hosts=hosts, read_only=read_only, allow_sparse=allow_sparse
    )
    pair = None if certificates is None else (Path(certificates.server[0]), Path(certificates.server[1]))
    trusting = None if certificates is None else ssl.create_default_context(cafile=certificates.ca)
    with serving(app, bind("127.0.0.1", 0), log=log, limits=limits, tls=pair) as place:
        yield Client(place.address, tls=trusting)


class Process(NamedTuple):
    """A server in a process of its own."""

    host: str
    process: subprocess.Popen[str]
    log: Path

    @property
    def client(self) -> Client:
        return Client(self.host)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)


@contextmanager
def server_process(directory: Path, *arguments: str | Path) -> Iterator[Process]:
    """`provender serve ARGUMENTS` on a free port; its stderr goes to a file in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / f"serve-{len(list(directory.iterdir()))}.log"
    command = [sys.executable, "-m", "provender", "serve", *map(str, arguments)]
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [*command, "--listen", "127.0.0.1:0", "--format", "json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=dict(os.environ),
        )
    try:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if line == "}\n":
                break
        assert said, log.read_text()
        yield Process(json.loads(said)["registry"], process, log)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        if process.stdout is not None:
            process.stdout.close()
