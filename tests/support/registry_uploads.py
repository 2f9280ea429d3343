"""Uploads of the test registry: our server's, with the rules and faults of real registries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from support.registry_messages import Reply, Request, problem, without

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
    keeps_of_put: list[int] = field(default_factory=list)  # the same of each further PUT


class Uploads:
    """The uploads that are open at our server, with the rules of another registry before and behind each request.

    A Location has a query of its own, which a client must not lose.
    """

    def __init__(self, rules: UploadRules) -> None:
        self.open: set[str] = set()
        self._rules = rules
        self._sizes: dict[str, int] = {}
        self._first: dict[str, int] = {}

    def answer(self, request: Request, upload: str, served: Callable[[Request], Reply]) -> Reply:
        """The reply to one request below `uploads/`."""
        limit = self._rules.body_max
        if limit is not None and len(request.body) > limit:
            return Reply(413, {"Content-Type": "text/html"}, b"<html>413 Request Entity Too Large</html>")
        if self._rules.appends:
            kept = {name: value for name, value in request.headers.items() if name != "content-range"}
            request = replace(request, headers=kept)
        refusal = None if request.method == "POST" else self._refusal(request, upload)
        if refusal is not None:
            return refusal
        if request.method == "POST" and not self._rules.single_post:
            request = replace(without(request, "digest"), body=b"")
        kept = {"PATCH": self._rules.keeps, "PUT": self._rules.keeps_of_put}.get(request.method, [])
        cut = bool(kept)
        if cut:
            request = replace(without(request, "digest"), method="PATCH", headers={}, body=request.body[: kept.pop(0)])
        reply = served(without(request, "_state", "at"))
        return problem(500, "UNKNOWN") if self._noted(request, upload, reply) and cut else reply

    def _refusal(self, request: Request, upload: str) -> Reply | None:
        size = self._sizes.get(upload, 0)
        if upload not in self.open:
            return problem(404, "BLOB_UPLOAD_UNKNOWN")
        if not self._rules.stale_locations and (request.value("at") or "0") != str(size):
            return problem(404, "BLOB_UPLOAD_INVALID")
        if request.method == "GET" and not self._rules.status:
            return problem(405, "UNSUPPORTED")
        if request.method == "PUT" and request.value("_state") != upload:
            return problem(400, "DIGEST_INVALID", "the query of the Location is lost")
        if request.method == "PUT" and not request.body and size and not self._rules.empty_close:
            return problem(500, "UNKNOWN")
        if request.method != "PATCH":
            return None
        if self._rules.chunk_max is not None and len(request.body) > self._rules.chunk_max:
            return problem(416, "RANGE_INVALID", "the chunk exceeds the maximum permissible limit")
        if self._rules.chunk_min is not None and len(request.body) < self._rules.chunk_min:
            return problem(400, "SIZE_INVALID")
        return None

    def _noted(self, request: Request, upload: str, reply: Reply) -> bool:
        """Put the rules into an answer; true if a PATCH was taken."""
        place = reply.headers.get("Location", "")
        if "/blobs/uploads/" in place:
            upload = place.rpartition("/")[2]
            self.open.add(upload)
            size = self._sizes[upload] = self._size(request, upload, reply)
            if request.method == "PATCH" and reply.status == 202:
                self._first.setdefault(upload, len(request.body))
            reply.headers["Location"] = f"{place}?_state={upload}" + (f"&at={size}" if size else "")
            if self._rules.stale_range and size:
                reply.headers["Range"] = f"0-{max(min(size, self._first.get(upload, 0)) - 1, 0)}"
        elif reply.status in (201, 204) or (request.method == "PUT" and reply.status != 416):
            self.open.discard(upload)
        if request.method == "POST" and reply.status == 202 and self._rules.chunk_min is not None:
            reply.headers["OCI-Chunk-Min-Length"] = str(self._rules.chunk_min)
        if request.method != "PATCH" or reply.status != 202:
            return False
        reply.status = self._rules.patched_status
        return True

    def _size(self, request: Request, upload: str, reply: Reply) -> int:
        size = self._sizes.get(upload, 0)
        return size + len(request.body) if request.method == "PATCH" and reply.status == 202 else size
