"""Uploads of the test registry: whole, in chunks, resumed, cancelled; with the rules and faults of real registries."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote

from support.registry_messages import Reply, Request, digest_of, problem

__all__ = ["UploadRules", "Uploads"]


@dataclass(kw_only=True)
class UploadRules:
    """What the registry asks of uploads. Every field may be changed at any time."""

    single_post: bool = False
    chunk_min: int | None = None  # told in OCI-Chunk-Min-Length; a smaller one, but for the last, is refused
    chunk_max: int | None = None  # a larger PATCH is answered 416, as GHCR does
    body_max: int | None = None  # a larger body is answered 413, as a proxy does
    patched_status: int = 202  # ECR: 201
    stale_range: bool = False  # `Range` sticks at the first chunk, as ECR's does
    appends: bool = False  # whatever Content-Range says, as docker-registry 2.8 does
    empty_close: bool = True  # False: a closing PUT without content fails, as ECR's does
    stale_locations: bool = True  # False: only the newest Location is good, as in docker-registry 2.8
    status: bool = True
    keeps: list[int] = field(default_factory=list)  # so many bytes of each further PATCH arrive, then it fails


class Uploads:
    """The uploads that are open. `store` keeps a finished one and gives the answer to it."""

    def __init__(self, rules: UploadRules, store: Callable[[str, str, bytes], Reply]) -> None:
        self.open: dict[str, tuple[str, bytes]] = {}
        self.base_url = ""
        self._rules = rules
        self._store = store
        self._first: dict[str, int] = {}
        self._count = 0

    def answer(self, request: Request, name: str, upload: str) -> Reply:
        """The reply to one request below `uploads/`."""
        limit = self._rules.body_max
        if limit is not None and len(request.body) > limit:
            return Reply(413, {"Content-Type": "text/html"}, b"<html>413 Request Entity Too Large</html>")
        if request.method == "POST":
            return self._post(request, name)
        if upload not in self.open or self.open[upload][0] != name:
            return problem(404, "BLOB_UPLOAD_UNKNOWN")
        content = self.open[upload][1]
        if not self._rules.stale_locations and (request.value("at") or "0") != str(len(content)):
            return problem(404, "BLOB_UPLOAD_INVALID")
        match request.method:
            case "DELETE":
                del self.open[upload]
                return Reply(204)
            case "GET" if self._rules.status:
                return Reply(204, self._progress(name, upload))
            case "PATCH":
                return self._patch(request, name, upload, content)
            case "PUT":
                return self._put(request, name, upload, content)
            case _:
                return problem(405, "UNSUPPORTED")

    def _post(self, request: Request, name: str) -> Reply:
        digest = request.value("digest")
        if digest is not None and self._rules.single_post:
            if digest_of(request.body, digest.partition(":")[0]) != digest:
                return problem(400, "DIGEST_INVALID")
            return self._store(name, digest, request.body)
        self._count += 1
        upload = f"upload-{self._count}"
        self.open[upload] = (name, b"")
        headers = {"Location": self._location(name, upload)}
        if self._rules.chunk_min is not None:
            headers["OCI-Chunk-Min-Length"] = str(self._rules.chunk_min)
        return Reply(202, headers)

    def _patch(self, request: Request, name: str, upload: str, content: bytes) -> Reply:
        if self._rules.chunk_max is not None and len(request.body) > self._rules.chunk_max:
            return problem(416, "RANGE_INVALID", "the chunk exceeds the maximum permissible limit")
        if self._rules.chunk_min is not None and len(request.body) < self._rules.chunk_min:
            return problem(400, "SIZE_INVALID")
        if not self._is_next(request, content):
            return problem(416, "RANGE_INVALID")
        if self._rules.keeps:
            self.open[upload] = (name, content + request.body[: self._rules.keeps.pop(0)])
            return problem(500, "UNKNOWN")
        self.open[upload] = (name, content + request.body)
        self._first.setdefault(upload, len(request.body))
        return Reply(self._rules.patched_status, self._progress(name, upload))

    def _put(self, request: Request, name: str, upload: str, content: bytes) -> Reply:
        if not self._is_next(request, content):
            return problem(416, "RANGE_INVALID")
        if not request.body and content and not self._rules.empty_close:
            return problem(500, "UNKNOWN")
        content += request.body
        digest = request.value("digest") or ""
        if request.value("_state") != upload or digest_of(content, digest.partition(":")[0]) != digest:
            return problem(400, "DIGEST_INVALID")
        del self.open[upload]
        return self._store(name, digest, content)

    def _is_next(self, request: Request, content: bytes) -> bool:
        span = request.headers.get("content-range")
        if span is None or self._rules.appends:
            return True
        match = re.fullmatch(r"([0-9]+)-([0-9]+)", span)
        if match is None:
            return False
        return (int(match[1]), int(match[2]) + 1) == (len(content), len(content) + len(request.body))

    def _progress(self, name: str, upload: str) -> dict[str, str]:
        size = len(self.open[upload][1])
        if self._rules.stale_range:
            size = min(size, self._first.get(upload, 0))
        return {"Location": self._location(name, upload), "Range": f"0-{max(size - 1, 0)}"}

    def _location(self, name: str, upload: str) -> str:
        at = len(self.open[upload][1])
        query = f"_state={quote(upload)}" + (f"&at={at}" if at else "")
        return f"{self.base_url}/v2/{name}/blobs/uploads/{quote(upload)}?{query}"
