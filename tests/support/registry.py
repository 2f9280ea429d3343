"""The double for a registry: our own server's application behind a real loopback socket, with scripted faults.

    with TestRegistry(auth="token") as registry:
        registry.push_manifest("acme/a", manifest_bytes, media_type, tag="1.0")
        registry.fault(("GET", "/blobs/"), action=Reset(1000))
        ...
        assert registry.count("GET", "/blobs/") == 2

Every option is an attribute that a test may change while the server runs. `requests` has every request in the order of
arrival, token requests and refused ones too.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from dataclasses import dataclass, field
from typing import Literal, Self
from urllib.parse import parse_qs

from support.faults import (
    Action,
    Corrupt,
    Delay,
    Do,
    DropHeader,
    Fault,
    Redirect,
    Reset,
    SetHeader,
    Stall,
    Status,
    Throttle,
    Truncate,
)
from support.registry_content import Content, Reply, Request, digest_of, problem
from support.registry_server import Server

__all__ = [
    "Action",
    "Corrupt",
    "Delay",
    "Do",
    "DropHeader",
    "Redirect",
    "Reply",
    "Request",
    "Reset",
    "SetHeader",
    "Stall",
    "Status",
    "TestRegistry",
    "Throttle",
    "Truncate",
    "digest_of",
]

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass
class _Token:
    scopes: frozenset[tuple[str, str]]
    expires: float
    uses: int | None


@dataclass(kw_only=True, repr=False, eq=False)
class TestRegistry:
    """An in-memory registry at `host`; start and stop it with `with`."""

    __test__ = False

    auth: Literal["basic", "token"] | None = None
    username: str = "tester"
    password: str = "s3cret-pass"
    identity_token: str = "identity-s3cret"
    anonymous_pull: bool = False
    realm: str | None = None  # instead of the own token endpoint
    token_post: bool = True
    token_get: bool = True
    rotates_identity: bool = False  # each POST replaces the identity token by a new one
    token_expires_in: int | None = 300
    token_uses: int | None = None  # each token is good for so many requests
    html: bool = False  # answer everything with a web page, as a captive portal does
    warning: str | None = None
    absolute_urls: bool = False  # in Location and Link
    tls: tuple[str, str] | None = None  # certificate and key file
    client_ca: str | None = None  # client certificates are asked for,
    needs_client: bool = False  # and have to be there
    content: Content = field(default_factory=Content)
    requests: list[Request] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._faults: list[Fault] = []
        self._tokens: dict[str, _Token] = {}
        self._lock = threading.RLock()
        self._server: Server | None = None
        self._port = 0

    def __enter__(self) -> Self:
        self._server = Server(
            self.answer, self.take_fault, self.tls, client_ca=self.client_ca, needs_client=self.needs_client
        )
        self._server.start()
        if self.absolute_urls:
            self.content.base_url = self.url
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        server = self._running
        server.stop()
        if kind is None and server.errors:
            raise RuntimeError("the test registry failed") from server.errors[0]
        if kind is None:
            self.content.check()

    def go_down(self) -> None:
        """Refuse connections at the same address, until `come_back`."""
        self._port = self._running.port
        self._running.stop()

    def come_back(self) -> None:
        """Listen again; content and tokens are as they were, uploads are lost."""
        self.content.lose_uploads()
        self._server = Server(self.answer, self.take_fault, self.tls, self._port)
        self._server.start()

    @property
    def _running(self) -> Server:
        if self._server is None:
            raise RuntimeError("the test registry is not started: use it in a `with` statement")
        return self._server

    @property
    def host(self) -> str:
        """`127.0.0.1:PORT`."""
        return f"127.0.0.1:{self._running.port}"

    @property
    def url(self) -> str:
        """Scheme and host."""
        return f"{'https' if self.tls else 'http'}://{self.host}"

    @property
    def connections(self) -> int:
        """How many connections were accepted."""
        return self._running.connections

    @property
    def shown_certificates(self) -> list[bool]:
        """For each request over TLS, whether a client certificate came along."""
        return list(self._running.shown)

    # Content, without going through HTTP.

    def push_blob(self, repository: str, content: bytes, algorithm: str = "sha256") -> str:
        """Put a blob into a repository; its digest."""
        digest = digest_of(content, algorithm)
        self.content.repository(repository).blobs[digest] = content
        return digest

    def push_manifest(
        self, repository: str, raw: bytes, media_type: str = _MANIFEST, *, tag: str | None = None, algorithm: str = ""
    ) -> str:
        """Put a manifest or index into a repository, unchecked; its digest."""
        digest = digest_of(raw, algorithm or "sha256")
        self.content.repository(repository).manifests[digest] = (media_type, raw)
        if tag is not None:
            self.content.repository(repository).tag_digests[tag] = digest
        return digest

    def push_artifact(
        self, repository: str, tag: str | None, layers: list[bytes], *, artifact_type: str = "application/vnd.test"
    ) -> str:
        """Put an artifact with these layers into a repository; the digest of its manifest."""
        empty = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest_of(b"{}"), "size": 2}
        self.push_blob(repository, b"{}")
        entries = [
            {"mediaType": "application/octet-stream", "digest": self.push_blob(repository, layer), "size": len(layer)}
            for layer in layers
        ]
        manifest = {"schemaVersion": 2, "mediaType": _MANIFEST, "artifactType": artifact_type}
        raw = json.dumps({**manifest, "config": empty, "layers": entries}).encode()
        return self.push_manifest(repository, raw, tag=tag)

    def blob(self, repository: str, digest: str) -> bytes | None:
        """A stored blob."""
        return self.content.repository(repository).blobs.get(digest)

    def manifest(self, repository: str, target: str) -> bytes | None:
        """The bytes of a stored manifest, by tag or digest."""
        stored = self.content.repository(repository)
        found = stored.manifests.get(stored.tag_digests.get(target, target))
        return None if found is None else found[1]

    def tags(self, repository: str) -> dict[str, str]:
        """The tags of a repository with their digests."""
        return dict(self.content.repository(repository).tag_digests)

    # Faults and what was asked.

    def fault(self, match: tuple[str, str], *, action: Action, times: int = 1, skip: int = 0) -> None:
        """Let requests fail: `match` is a method (or `*`) and a regular expression searched in path and query."""
        with self._lock:
            self._faults.append(Fault(match[0], re.compile(match[1]), action, times, skip))

    def forget_faults(self) -> None:
        """Let no request fail any more."""
        with self._lock:
            self._faults.clear()

    def take_fault(self, request: Request) -> Action | None:
        """The fault of this request (for the server)."""
        with self._lock:
            return next((fault.action for fault in self._faults if fault.takes(request.method, request.target)), None)

    def asked(self, method: str = "*", path: str = "") -> list[Request]:
        """The requests so far whose path and query match."""
        pattern = re.compile(path)
        return [item for item in self.requests if method in ("*", item.method) and pattern.search(item.target)]

    def count(self, method: str = "*", path: str = "") -> int:
        """How many requests so far match."""
        return len(self.asked(method, path))

    def expire_tokens(self) -> None:
        """Forget every token that was handed out."""
        with self._lock:
            self._tokens.clear()

    # The HTTP side.

    def answer(self, request: Request, fault: Action | None) -> Reply:
        """The reply to one request (for the server)."""
        with self._lock:
            self.requests.append(request)
            if isinstance(fault, Status) and not fault.performed:
                return Reply(fault.status, dict(fault.headers), fault.body)
            if isinstance(fault, Redirect):
                return Reply(fault.status, {"Location": fault.url})
            if self.html:
                return Reply(200, {"Content-Type": "text/html"}, b"<html><body>Please sign in\x1b[31m</body></html>")
            if request.path == "/token":
                return self._token(request)
            reply = self._refusal(request) or self.content.answer(request)
            if isinstance(fault, Status):
                return Reply(fault.status, dict(fault.headers), fault.body)
            if self.warning is not None:
                reply.headers["Warning"] = self.warning
            return reply

    def _refusal(self, request: Request) -> Reply | None:
        scopes = _needed(request)
        if self.auth is None or (self.auth == "basic" and self._is_user(request.headers.get("authorization", ""))):
            return None
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if self.auth == "basic":
            challenge = 'Basic realm="test registry"'
        else:
            known = self._tokens.get(token) if kind.lower() == "bearer" else None
            if known is not None and known.expires > time.monotonic() and known.uses != 0:
                if known.uses is not None:
                    known.uses -= 1
                if scopes <= known.scopes:
                    return None
            wanted: dict[str, list[str]] = {}
            for resource, action in sorted(scopes):
                wanted.setdefault(resource, []).append(action)
            scope = " ".join(f"{resource}:{','.join(actions)}" for resource, actions in wanted.items())
            realm = self.realm or f"{self.url}/token"
            challenge = f'Bearer realm="{realm}",service="test registry, inc.",scope="{scope}"'
        reply = problem(401, "UNAUTHORIZED", "authentication required")
        reply.headers["WWW-Authenticate"] = challenge
        return reply

    def _is_user(self, header: str) -> bool:
        return header == "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()

    def _token(self, request: Request) -> Reply:
        header = request.headers.get("authorization", "")
        if request.method == "POST":
            if not self.token_post:
                return problem(405, "UNSUPPORTED")
            form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
            asked = form.get("scope", "").split()
            is_user = form.get("refresh_token") == self.identity_token and bool(form.get("client_id"))
            if form.get("grant_type") == "password":
                is_user = (form.get("username"), form.get("password")) == (self.username, self.password)
        elif not self.token_get:
            return problem(405, "UNSUPPORTED")
        else:
            asked = request.values("scope")
            is_user = self._is_user(header) or header == "Basic " + base64.b64encode(
                f"<token>:{self.identity_token}".encode()
            ).decode("ascii")
        if not is_user and (header or request.method == "POST" or not self.anonymous_pull):
            return problem(401, "UNAUTHORIZED", "incorrect username or password")
        granted = {
            (resource, action)
            for scope in asked
            for resource, _, actions in [scope.rpartition(":")]
            for action in actions.split(",")
            if is_user or action == "pull"
        }
        name = f"token-{len(self._tokens) + 1}-{len(self.requests)}"
        lifetime = 60 if self.token_expires_in is None else self.token_expires_in
        self._tokens[name] = _Token(frozenset(granted), time.monotonic() + max(lifetime, 60), self.token_uses)
        body: dict[str, object] = {"token": name}
        if self.rotates_identity and request.method == "POST":
            self.identity_token = f"identity-{len(self.requests)}"
            body["refresh_token"] = self.identity_token
        if self.token_expires_in is not None:
            body["expires_in"] = self.token_expires_in
        return Reply(200, {"Content-Type": "application/json"}, json.dumps(body).encode())


def _needed(request: Request) -> frozenset[tuple[str, str]]:
    """The (resource, action) pairs that a request needs."""
    if request.path == "/v2/_catalog":
        return frozenset({("registry:catalog", "*")})
    match = re.fullmatch(r"/v2/(.+)/(?:manifests|blobs|tags|referrers)/.*", request.path)
    if match is None:
        return frozenset()
    name = match[1].removesuffix("/blobs")
    action = {"GET": ("pull",), "HEAD": ("pull",), "DELETE": ("delete",)}.get(request.method, ("pull", "push"))
    if "/blobs/uploads/" in request.path and request.method in ("GET", "DELETE"):
        action = ("pull", "push")
    needed = {(f"repository:{name}", item) for item in action}
    if source := request.value("from"):
        needed.add((f"repository:{source}", "pull"))
    return frozenset(needed)
