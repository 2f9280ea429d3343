"""The questions that can be asked about one repository: path, scopes, headers and the name for messages. Pure.

Registry layer, below the repository, its uploads and its referrers, which say what an answer means.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote, urlencode

import msgspec

from provender.oci import MAX_DOCUMENT_BYTES, Descriptor, Digest, Document
from provender.oci.media_types import INDEX, MANIFEST_ACCEPT
from provender.storage.registry.scopes import Scopes
from provender.storage.registry.session import Call

__all__ = ["Calls", "with_query"]

# The whole list in every request: some registries answer 404 for a type that is not accepted (distribution, GHCR).
_ACCEPT: Final = {"Accept": ", ".join(MANIFEST_ACCEPT)}
_REFERRERS_PAGE_BYTES: Final = 4 << 20


class Calls:
    """Calls for the repository `name`, called `api_name` in the API.

    `namespace` is the host that a mirror is asked on behalf of: reads carry it as `ns` (distribution-spec, "Registry
    Proxying").
    """

    def __init__(self, host: str, name: str, api_name: str, *, namespace: str | None = None) -> None:
        self.host = host
        self.name = name
        self.api_name = api_name
        self.pulling = Scopes.repository(api_name, "pull")
        self.pushing = Scopes.repository(api_name, "pull", "push")
        self.deleting = Scopes.repository(api_name, "delete", "pull", "push")
        self._ns = (("ns", namespace),) if namespace else ()

    def where(self, target: str | None) -> str:
        """The name of a tag, digest or (None) the repository in messages."""
        if target is None:
            return f"{self.host}/{self.name}"
        return f"{self.host}/{self.name}{'@' if ':' in target else ':'}{target}"

    def manifest(self, target: str, *, method: str = "GET") -> Call:
        """GET or HEAD the manifest of a tag or digest."""
        path = with_query(self._path("manifests", target), self._ns)
        return self._call(method, path, target, headers=_ACCEPT, limit=MAX_DOCUMENT_BYTES)

    def content(self, descriptor: Descriptor, *, method: str = "GET", ok: tuple[int, ...] = (200,)) -> Call:
        """GET or HEAD a document or blob."""
        if descriptor.is_document:
            return msgspec.structs.replace(self.manifest(descriptor.digest, method=method), ok=ok)
        path = with_query(self._path("blobs", descriptor.digest), self._ns)
        return self._call(method, path, descriptor.digest, ok=ok)

    def put(self, document: Document, target: str, *, tags: Sequence[str] = (), ok: tuple[int, ...]) -> Call:
        """PUT a document under a tag or its digest, with `tags` as parameters."""
        path = with_query(self._path("manifests", target), [("tag", tag) for tag in tags])
        headers = {"Content-Type": document.descriptor.media_type, "Content-Length": str(len(document.raw))}
        return self._call("PUT", path, target, scopes=self.pushing, headers=headers, body=document.raw, ok=ok)

    def uploads(self, where: str) -> Call:
        """POST to the uploads; also what every further request of an upload is made from."""
        call = self._call("POST", f"/v2/{self.api_name}/blobs/uploads/", None, scopes=self.pushing)
        return msgspec.structs.replace(call, where=where)

    def delete(self, kind: str, target: str, ok: tuple[int, ...]) -> Call:
        """DELETE one of the `kind` manifests or blobs."""
        return self._call("DELETE", self._path(kind, target), target, scopes=self.deleting, ok=ok)

    def probe(self, descriptor: Descriptor) -> Call:
        """HEAD content before it is pushed, with the scopes for that: so the token is asked for once."""
        return msgspec.structs.replace(self.content(descriptor, method="HEAD"), scopes=self.pushing)

    def tags(self, *, is_pushing: bool = False) -> Call:
        """GET the tags, with the scopes for a push that is to come."""
        scopes = self.pushing if is_pushing else None
        return self._call("GET", with_query(f"/v2/{self.api_name}/tags/list", self._ns), None, scopes=scopes)

    def referrers(self, subject: Digest, artifact_type: str | None, *, ok: tuple[int, ...]) -> Call:
        """GET the referrers of a digest."""
        wanted = (("artifactType", artifact_type),) if artifact_type else ()
        path = with_query(self._path("referrers", subject), (*wanted, *self._ns))
        return self._call("GET", path, subject, headers={"Accept": INDEX}, ok=ok, limit=_REFERRERS_PAGE_BYTES)

    def _path(self, kind: str, target: str) -> str:
        return f"/v2/{self.api_name}/{kind}/{target}"

    def _call(
        self,
        method: str,
        path: str,
        target: str | None,
        *,
        scopes: Scopes | None = None,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        ok: tuple[int, ...] = (200,),
        limit: int = 64 << 10,
    ) -> Call:
        return Call(
            method=method,
            path=path,
            where=self.where(target),
            scopes=scopes or self.pulling,
            repository=self.api_name,
            headers=headers or {},
            body=body,
            ok=ok,
            limit=limit,
        )


def with_query(url: str, parameters: Sequence[tuple[str, str]]) -> str:
    """The URL with further parameters; those that it has stay as they are."""
    if not parameters:
        return url
    return f"{url}{'&' if '?' in url else '?'}{urlencode(parameters, safe=':', quote_via=quote)}"
