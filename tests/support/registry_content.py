"""What the test registry holds, and the distribution-spec API over it, without sockets.

`Content.answer` gives the reply of one authorised request; the HTTP side and the faults are in `registry.py`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, quote, urlencode

__all__ = ["Content", "Reply", "Request", "digest_of", "problem"]

_ROUTE = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs|tags|referrers)/(?P<rest>.*)")
_INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True)
class Request:
    """One request as it arrived. Header names are lower-case; `path` has no query."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def values(self, name: str) -> list[str]:
        """Every value of a query parameter."""
        return parse_qs(self.query, keep_blank_values=True).get(name, [])

    def value(self, name: str) -> str | None:
        """The first value of a query parameter."""
        return next(iter(self.values(name)), None)


@dataclass
class Reply:
    """An answer; Content-Length follows from the body unless it is given."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class _Repository:
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Content:
    """Repositories in memory. The public fields may be changed at any time."""

    page_size: int | None = None
    content_digest: bool = True
    ranges: bool = True
    mounts: bool = True
    deletes: bool = True
    tag_deletes: bool = True
    referrers: bool = False
    base_url: str = ""
    repositories: dict[str, _Repository] = field(default_factory=dict)
    uploads: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    _count: int = 0

    def repository(self, name: str) -> _Repository:
        """The repository of this name, made if it is new."""
        return self.repositories.setdefault(name, _Repository())

    def answer(self, request: Request) -> Reply:
        """The reply to one request."""
        if request.path in ("/v2", "/v2/"):
            return Reply(200, {"Content-Type": "application/json"}, b"{}")
        if request.path == "/v2/_catalog":
            return self._page(request, sorted(self.repositories), "repositories", {})
        match = _ROUTE.fullmatch(request.path)
        if match is None:
            return Reply(404, {"Content-Type": "text/plain; charset=utf-8"}, b"404 page not found\n")
        name, rest = match["name"], match["rest"]
        match match["kind"]:
            case "manifests":
                return self._manifests(request, name, rest)
            case "tags":
                if name not in self.repositories:
                    return problem(404, "NAME_UNKNOWN")
                tags = sorted(self.repositories[name].tags)
                return self._page(request, tags, "tags", {"name": name})
            case "referrers":
                return self._referrers(request, name, rest)
            case _ if rest == "uploads/" or rest.startswith("uploads/"):
                return self._upload(request, name, rest.removeprefix("uploads/"))
            case _:
                return self._blobs(request, name, rest)

    def _page(self, request: Request, items: list[str], key: str, fields: dict[str, str]) -> Reply:
        last, asked = request.value("last"), request.value("n")
        items = [item for item in items if last is None or item > last]
        sizes = [size for size in (self.page_size, int(asked) if asked else None) if size is not None]
        headers = {"Content-Type": "application/json"}
        if sizes and len(items) > min(sizes):
            items = items[: min(sizes)]
            query = urlencode({"last": items[-1], "n": str(min(sizes))}) if items else ""
            if items:
                headers["Link"] = f'<{self.base_url}{request.path}?{query}>; rel="next"'
        return Reply(200, headers, json.dumps({**fields, key: items}).encode())

    def _manifests(self, request: Request, name: str, target: str) -> Reply:
        if request.method == "PUT":
            return self._put_manifest(request, name, target)
        repository = self.repositories.get(name)
        if repository is None:
            return problem(404, "NAME_UNKNOWN")
        if request.method == "DELETE" and ":" not in target:
            if not self.tag_deletes:
                return problem(400, "UNSUPPORTED")
            return Reply(202) if repository.tags.pop(target, None) else problem(404, "MANIFEST_UNKNOWN")
        digest = target if ":" in target else repository.tags.get(target, "")
        if digest not in repository.manifests:
            return problem(404, "MANIFEST_UNKNOWN")
        if request.method == "DELETE":
            if not self.deletes:
                return problem(405, "UNSUPPORTED")
            del repository.manifests[digest]
            repository.tags = {tag: found for tag, found in repository.tags.items() if found != digest}
            return Reply(202)
        media_type, raw = repository.manifests[digest]
        if media_type not in request.headers.get("accept", ""):
            return problem(404, "MANIFEST_UNKNOWN", "the type is not covered by Accept")
        return self._with_digest(Reply(200, {"Content-Type": media_type}, raw), digest)

    def _put_manifest(self, request: Request, name: str, target: str) -> Reply:
        raw = request.body
        algorithm = target.partition(":")[0] if ":" in target else "sha256"
        digest = digest_of(raw, algorithm)
        if ":" in target and digest != target:
            return problem(400, "DIGEST_INVALID")
        repository = self.repository(name)
        view = json.loads(raw)
        wanted = [item["digest"] for item in (*view.get("layers", ()), *filter(None, [view.get("config")]))]
        children = [item["digest"] for item in view.get("manifests") or ()]
        if any(item not in repository.blobs for item in wanted) or any(
            item not in repository.manifests for item in children
        ):
            return problem(400, "MANIFEST_BLOB_UNKNOWN")
        repository.manifests[digest] = (request.headers.get("content-type", ""), raw)
        if ":" not in target:
            repository.tags[target] = digest
        reply = Reply(201, {"Location": f"{self.base_url}/v2/{name}/manifests/{digest}"})
        if self.referrers and view.get("subject"):
            reply.headers["OCI-Subject"] = view["subject"]["digest"]
        return self._with_digest(reply, digest)

    def _referrers(self, request: Request, name: str, subject: str) -> Reply:
        if not self.referrers:
            return Reply(404, {"Content-Type": "text/plain; charset=utf-8"}, b"404 page not found\n")
        wanted = request.value("artifactType")
        found = []
        for digest, (media_type, raw) in self.repository(name).manifests.items():
            view = json.loads(raw)
            if (view.get("subject") or {}).get("digest") != subject:
                continue
            kind = view.get("artifactType") or (view.get("config") or {}).get("mediaType")
            if wanted in (None, kind):
                entry = {"mediaType": media_type, "digest": digest, "size": len(raw), "artifactType": kind}
                found.append({**entry, "annotations": view.get("annotations") or {}})
        headers = {"Content-Type": _INDEX} | ({"OCI-Filters-Applied": "artifactType"} if wanted else {})
        body = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": found}
        return Reply(200, headers, json.dumps(body).encode())

    def _blobs(self, request: Request, name: str, digest: str) -> Reply:
        repository = self.repositories.get(name)
        if repository is None:
            return problem(404, "NAME_UNKNOWN")
        if digest not in repository.blobs:
            return problem(404, "BLOB_UNKNOWN")
        if request.method == "DELETE":
            if not self.deletes:
                return problem(405, "UNSUPPORTED")
            del repository.blobs[digest]
            return Reply(202)
        content = repository.blobs[digest]
        reply = self._with_digest(Reply(200, {"Content-Type": "application/octet-stream"}, content), digest)
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if span is None or not self.ranges or request.method != "GET":
            return reply
        start, end = int(span[1]), min(int(span[2] or len(content) - 1), len(content) - 1)
        if start > end:
            # As docker-registry 2.8 answers: a length without a body.
            return Reply(416, {"Content-Range": f"bytes */{len(content)}", "Content-Length": str(len(content))})
        reply.headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
        return Reply(206, reply.headers, content[start : end + 1])

    def _upload(self, request: Request, name: str, upload: str) -> Reply:
        if request.method == "POST":
            return self._open_upload(request, name)
        if upload not in self.uploads or self.uploads[upload][0] != name:
            return problem(404, "BLOB_UPLOAD_UNKNOWN")
        content = self.uploads[upload][1] + request.body
        if request.method == "DELETE":
            del self.uploads[upload]
            return Reply(204)
        if request.method == "PATCH":
            self.uploads[upload] = (name, content)
            return Reply(202, {"Location": self._location(name, upload), "Range": f"0-{max(len(content) - 1, 0)}"})
        if request.method == "GET":
            return Reply(204, {"Location": self._location(name, upload), "Range": f"0-{max(len(content) - 1, 0)}"})
        digest = request.value("digest") or ""
        if request.value("_state") != upload or digest_of(content, digest.partition(":")[0]) != digest:
            return problem(400, "DIGEST_INVALID")
        del self.uploads[upload]
        self.repository(name).blobs[digest] = content
        return self._with_digest(Reply(201, {"Location": f"{self.base_url}/v2/{name}/blobs/{digest}"}), digest)

    def _open_upload(self, request: Request, name: str) -> Reply:
        digest, source = request.value("mount"), request.value("from")
        found = self.repositories.get(source or "", _Repository()).blobs.get(digest or "")
        if self.mounts and digest is not None and found is not None:
            self.repository(name).blobs[digest] = found
            return self._with_digest(Reply(201, {"Location": f"{self.base_url}/v2/{name}/blobs/{digest}"}), digest)
        self._count += 1
        upload = f"upload-{self._count}"
        self.uploads[upload] = (name, b"")
        return Reply(202, {"Location": self._location(name, upload)})

    def _location(self, name: str, upload: str) -> str:
        return f"{self.base_url}/v2/{name}/blobs/uploads/{quote(upload)}?_state={quote(upload)}"

    def _with_digest(self, reply: Reply, digest: str) -> Reply:
        if self.content_digest:
            reply.headers["Docker-Content-Digest"] = digest
        return reply


def problem(status: int, code: str, message: str = "") -> Reply:
    """An error answer as registries give it."""
    body = {"errors": [{"code": code, "message": message or code.lower().replace("_", " ")}]}
    return Reply(status, {"Content-Type": "application/json"}, json.dumps(body).encode())


def digest_of(content: bytes, algorithm: str = "sha256") -> str:
    """The digest of `content`; no digest at all for an algorithm that the registry does not know."""
    if algorithm not in ("sha256", "sha512"):
        return ""
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"
