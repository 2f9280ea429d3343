"""What the test registry answers: our server's application over a shelf, changed where a test wants another's ways.

`Content.answer` gives the reply of one authorised request; sockets, credentials and faults are in `registry.py`. The
public fields may be changed at any time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from provender.server import Limits
from support.registry_application import Application
from support.registry_messages import Reply, Request, digest_of, having, problem, without
from support.registry_referrers import ReferrerRules, referrers_reply
from support.registry_shelf import Shelf, ShelfRepository
from support.registry_uploads import UploadRules, Uploads

__all__ = ["Content", "Reply", "Request", "digest_of", "problem"]

_ROUTE = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs|tags|referrers)/(?P<rest>.*)")
_FALLBACK_TAG = re.compile(r"(sha256|sha512)-([0-9a-f]{64})")


@dataclass(kw_only=True)
class Content:
    """Repositories in memory, served by our own server, and in which ways the registry is not like it."""

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
    whole_indexes: bool = True  # an index with a missing child is refused, as docker-registry does
    base_url: str = ""  # what Location and Link begin with; empty for relative ones

    def __post_init__(self) -> None:
        self._shelf = Shelf()
        self._uploads = Uploads(self.upload_rules)
        self._application = Application(self._shelf, Limits())

    @property
    def repositories(self) -> dict[str, ShelfRepository]:
        """What is there."""
        return self._shelf.repositories

    @property
    def uploads(self) -> set[str]:
        """The uploads that are open."""
        return self._uploads.open

    def repository(self, name: str) -> ShelfRepository:
        """The repository of this name, made if it is new."""
        return self._shelf.writable(name, create=True)

    def open_upload(self, name: str) -> str:
        """Open an upload without a client; its Location."""
        return self.answer(Request("POST", f"/v2/{name}/blobs/uploads/", "", {})).headers["Location"]

    def lose_uploads(self) -> None:
        """Forget every upload, as a registry does that was started again."""
        self._application = Application(self._shelf, Limits())
        self._uploads.open.clear()

    def check(self) -> None:
        """Raise if our server failed."""
        if self._application.failures:
            raise RuntimeError(f"the server failed: {self._application.failures[0]}")

    def answer(self, request: Request) -> Reply:
        """The reply to one request."""
        match = _ROUTE.fullmatch(request.path)
        if match is None or match["kind"] == "tags":
            return self._told(self._served(self._paged(request)))
        name, rest = match["name"], match["rest"]
        match match["kind"]:
            case "manifests":
                return self._told(self._manifests(request, name, rest))
            case "referrers":
                return self._told(self._referrers(request))
            case _ if rest == "uploads/" or rest.startswith("uploads/"):
                if not self.mounts:
                    request = without(request, "mount", "from")
                return self._told(self._uploads.answer(request, rest.removeprefix("uploads/"), self._served))
            case _:
                return self._told(self._blobs(request))

    def _served(self, request: Request) -> Reply:
        return self._application.ask(request)

    def _told(self, reply: Reply) -> Reply:
        """The reply with the headers that this registry gives."""
        if not self.content_digest:
            reply.headers.pop("Docker-Content-Digest", None)
        if not self.etags:
            reply.headers.pop("Etag", None)
        if self.base_url:
            if (place := reply.headers.get("Location", "")).startswith("/"):
                reply.headers["Location"] = self.base_url + place
            if (link := reply.headers.get("Link", "")).startswith("</"):
                reply.headers["Link"] = f"<{self.base_url}{link[1:]}"
        return reply

    def _paged(self, request: Request) -> Request:
        if self.page_size is None:
            return request
        asked = request.value("n")
        return having(without(request, "n"), n=str(min(self.page_size, int(asked or self.page_size))))

    def _manifests(self, request: Request, name: str, target: str) -> Reply:
        if request.method == "PUT":
            return self._put_manifest(request, name)
        if request.method == "DELETE":
            if ":" not in target and not self.tag_deletes:
                return problem(400, "UNSUPPORTED")
            return self._served(request) if self.deletes else problem(405, "UNSUPPORTED")
        alias = _FALLBACK_TAG.fullmatch(target)
        found = self.repositories.get(name)
        if self.subject_by_fallback_tag and alias and found is not None and target not in found.tag_digests:
            request = replace(request, path=f"/v2/{name}/manifests/{alias[1]}:{alias[2]}")
        reply = self._served(request)
        if reply.status == 200 and reply.headers["Content-Type"] not in request.headers.get("accept", ""):
            return problem(404, "MANIFEST_UNKNOWN", "the type is not covered by Accept")
        return reply

    def _put_manifest(self, request: Request, name: str) -> Reply:
        view = json.loads(request.body)
        kinds = {view.get("artifactType"), (view.get("config") or {}).get("mediaType")} - {None}
        if self.allowed_types is not None and (refused := sorted(kinds - self.allowed_types)):
            return problem(400, "MANIFEST_INVALID", f"unknown media type: {refused[0]}")
        if self.whole_indexes and (gone := self._gone(name, view.get("manifests") or ())):
            return problem(400, "MANIFEST_BLOB_UNKNOWN", f"{gone} is not here")
        tags = request.values("tag")[: self.tag_parameter]
        request = without(request, "tag")
        for tag in tags:
            request = having(request, tag=tag)
        reply = self._served(request)
        header = self.referrer_rules.header
        if not (self.referrers if header is None else header):
            reply.headers.pop("Oci-Subject", None)
        return reply

    def _gone(self, name: str, children: Sequence[dict[str, str]]) -> str | None:
        stored = self.repository(name).manifests if children else {}
        return next((child["digest"] for child in children if child["digest"] not in stored), None)

    def _referrers(self, request: Request) -> Reply:
        rules = self.referrer_rules
        if rules.reply is not None:
            return Reply(rules.reply.status, dict(rules.reply.headers), rules.reply.body)
        if not self.referrers:
            return Reply(rules.absent_status, {"Content-Type": "text/plain; charset=utf-8"}, b"404 page not found\n")
        return referrers_reply(request, rules, self._served)

    def _blobs(self, request: Request) -> Reply:
        if request.method == "DELETE" and not self.deletes:
            return problem(405, "UNSUPPORTED")
        if not self.ranges:
            headers = {key: value for key, value in request.headers.items() if key != "range"}
            request = replace(request, headers=headers)
        reply = self._served(request)
        if not self.ranges:
            reply.headers.pop("Accept-Ranges", None)
        if reply.status == 416:
            # As docker-registry 2.8 answers: a length without a body.
            size = reply.headers["Content-Range"].rpartition("/")[2]
            return Reply(416, {"Content-Range": f"bytes */{size}", "Content-Length": size})
        return reply
