"""What the test registry holds, and the distribution-spec API over it, without sockets.

`Content.answer` gives the reply of one authorised request; the HTTP side and the faults are in `registry.py`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from urllib.parse import urlencode

from support.registry_messages import Reply, Request, digest_of, problem
from support.registry_referrers import ReferrerRules, referrers_reply
from support.registry_uploads import UploadRules, Uploads

__all__ = ["Content", "Reply", "Request", "digest_of", "problem"]

_ROUTE = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs|tags|referrers)/(?P<rest>.*)")
_FALLBACK_TAG = re.compile(r"(sha256|sha512)-([0-9a-f]{64})")


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
    etags: bool = False
    mounts: bool = True
    deletes: bool = True
    tag_deletes: bool = True
    referrers: bool = False
    referrer_rules: ReferrerRules = field(default_factory=ReferrerRules)
    upload_rules: UploadRules = field(default_factory=UploadRules)
    tag_parameter: int = 0  # so many ?tag= are accepted at once; 0: it is ignored
    allowed_types: frozenset[str] | None = None  # of artifacts and configs, as GitLab has them
    subject_by_fallback_tag: bool = False  # the tag finds the subject itself, as in GitLab
    repositories: dict[str, _Repository] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._uploads = Uploads(self.upload_rules, self._store_blob)

    @property
    def uploads(self) -> dict[str, tuple[str, bytes]]:
        """The uploads that are open: repository and content so far."""
        return self._uploads.open

    @property
    def base_url(self) -> str:
        """What Location and Link begin with; empty for relative ones."""
        return self._uploads.base_url

    @base_url.setter
    def base_url(self, url: str) -> None:
        self._uploads.base_url = url

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
                return self._mounted(request, name) or self._uploads.answer(
                    request, name, rest.removeprefix("uploads/")
                )
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
        alias = _FALLBACK_TAG.fullmatch(target)
        if self.subject_by_fallback_tag and not digest and alias is not None:
            digest = f"{alias[1]}:{alias[2]}"
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
        kinds = {view.get("artifactType"), (view.get("config") or {}).get("mediaType")} - {None}
        if self.allowed_types is not None and (refused := sorted(kinds - self.allowed_types)):
            return problem(400, "MANIFEST_INVALID", f"unknown media type: {refused[0]}")
        parts = (*view.get("layers", ()), *filter(None, [view.get("config")]))
        wanted = [item["digest"] for item in parts if not item.get("urls")]
        children = [item["digest"] for item in view.get("manifests") or ()]
        if any(item not in repository.blobs for item in wanted) or any(
            item not in repository.manifests for item in children
        ):
            return problem(400, "MANIFEST_BLOB_UNKNOWN")
        repository.manifests[digest] = (request.headers.get("content-type", ""), raw)
        if ":" not in target:
            repository.tags[target] = digest
        reply = Reply(201, {"Location": f"{self.base_url}/v2/{name}/manifests/{digest}"})
        if tags := request.values("tag")[: self.tag_parameter]:
            repository.tags.update(dict.fromkeys(tags, digest))
            reply.headers["OCI-Tag"] = ", ".join(tags)
        header = self.referrer_rules.header
        if (self.referrers if header is None else header) and view.get("subject"):
            reply.headers["OCI-Subject"] = view["subject"]["digest"]
        return self._with_digest(reply, digest)

    def _referrers(self, request: Request, name: str, subject: str) -> Reply:
        rules = self.referrer_rules
        if rules.reply is not None:
            return Reply(rules.reply.status, dict(rules.reply.headers), rules.reply.body)
        if not self.referrers:
            return Reply(rules.absent_status, {"Content-Type": "text/plain; charset=utf-8"}, b"404 page not found\n")
        return referrers_reply(request, rules, self.repository(name).manifests, self.base_url, subject)

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
        if self.ranges:
            reply.headers["Accept-Ranges"] = "bytes"
        if self.etags:
            reply.headers["ETag"] = f'"{digest}"'
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if span is None or not self.ranges or request.method != "GET":
            return reply
        if request.headers.get("if-range", reply.headers.get("ETag")) != reply.headers.get("ETag"):
            return reply
        start, end = int(span[1]), min(int(span[2] or len(content) - 1), len(content) - 1)
        if start > end:
            # As docker-registry 2.8 answers: a length without a body.
            return Reply(416, {"Content-Range": f"bytes */{len(content)}", "Content-Length": str(len(content))})
        reply.headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
        return Reply(206, reply.headers, content[start : end + 1])

    def _mounted(self, request: Request, name: str) -> Reply | None:
        digest, source = request.value("mount"), request.value("from")
        found = self.repositories.get(source or "", _Repository()).blobs.get(digest or "")
        if request.method != "POST" or not self.mounts or digest is None or found is None:
            return None
        return self._store_blob(name, digest, found)

    def _store_blob(self, name: str, digest: str, content: bytes) -> Reply:
        self.repository(name).blobs[digest] = content
        return self._with_digest(Reply(201, {"Location": f"{self.base_url}/v2/{name}/blobs/{digest}"}), digest)

    def _with_digest(self, reply: Reply, digest: str) -> Reply:
        if self.content_digest:
            reply.headers["Docker-Content-Digest"] = digest
        return reply
