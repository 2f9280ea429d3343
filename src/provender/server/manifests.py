"""Manifests and tags: GET, HEAD, PUT, DELETE (distribution-spec end-3, 7, 9). Server layer."""

from __future__ import annotations

from provender.errors import IntegrityError, InvalidDocument, InvalidReference, Unsupported
from provender.oci import Descriptor, Digest, Document, Index, Manifest
from provender.oci.media_types import ARTIFACT_MANIFEST_TYPES
from provender.oci.reference import check_tag, is_tag
from provender.server.calls import Call
from provender.server.ranges import is_match
from provender.server.replies import Headers, Problem, Reply, problem_of
from provender.server.repositories import WritableRepository
from provender.server.routes import Route
from provender.server.stores import Store

__all__ = ["Manifests"]

# Layers of these types may be kept elsewhere, so that nobody pushes them (image-spec media-types.md).
_NONDISTRIBUTABLE = (".nondistributable.", ".foreign.")


class Manifests:
    """The handlers of `/v2/<name>/manifests/<tag-or-digest>`; `allow_sparse` takes manifests without their blobs."""

    def __init__(self, store: Store, *, allow_sparse: bool = False) -> None:
        self._store = store
        self._allow_sparse = allow_sparse

    async def get(self, call: Call, route: Route) -> Reply:
        """The manifest as it was pushed, whatever the client accepts, or 304."""
        target = _target(route.target)
        repository = self._store.find(route.name)
        document = await call.run(lambda: repository.resolve(target))
        digest = document.digest
        if call.method == "HEAD" and self._store.is_writable:
            # A client that finds it will not push it again, and may be about to push what holds it.
            self._store.writable(route.name, create=False).keep(digest)
        headers: Headers = (("Docker-Content-Digest", digest), ("ETag", f'"{digest}"'))
        if is_match(call.header("if-none-match"), digest):
            return Reply(304, headers)
        headers = (
            *headers,
            ("Content-Type", document.descriptor.media_type),
            ("Content-Length", str(len(document.raw))),
        )
        return Reply(200, headers, b"" if call.method == "HEAD" else document.raw)

    async def put(self, call: Call, route: Route) -> Reply:
        """201 with the manifest stored and tagged."""
        digest = Digest(route.target) if ":" in route.target else None
        tags = [*dict.fromkeys(call.values("tag"))] if digest is not None else [route.target]
        if len(tags) > call.limits.tags_in_push:
            raise Problem(414, "TAG_INVALID", f"more than {call.limits.tags_in_push} tags in one push")
        for tag in tags:
            check_tag(tag)
        raw = await call.whole(call.limits.manifest_bytes)
        media_type = (call.header("content-type") or "").partition(";")[0].strip() or None

        def store() -> tuple[Document, Digest | None]:
            document = _read(raw, media_type, digest)
            view = document.parse()
            if document.descriptor.media_type not in ARTIFACT_MANIFEST_TYPES:
                _check_whole(view)
            repository = self._store.writable(route.name, create=True)
            if not document.is_index and not self._allow_sparse:
                _check_blobs(repository, view.successors())
            repository.push_document(document, tags)
            repository.keep(document.digest)
            return document, None if view.subject is None else view.subject.digest

        document, subject = await call.run(store)
        headers = [
            ("Location", f"/v2/{route.name}/manifests/{document.digest}"),
            ("Docker-Content-Digest", document.digest),
        ]
        if subject is not None:
            headers.append(("OCI-Subject", subject))
        if digest is not None and tags:
            headers.append(("OCI-Tag", ", ".join(tags)))
        return Reply(201, tuple(headers))

    async def delete(self, call: Call, route: Route) -> Reply:
        """202 with the tag gone, or, by digest, the manifest with all its tags."""
        target = _target(route.target)
        repository = self._store.writable(route.name, create=False)

        def remove() -> None:
            if isinstance(target, Digest):
                if not repository.is_listed(target):
                    repository.resolve(target)  # a manifest that no index names, or NotFound; never some blob
                repository.delete(Descriptor(media_type="", digest=target, size=0))
            else:
                repository.untag(target)

        await call.run(remove)
        return Reply(202)


def _target(text: str) -> str:
    if ":" in text:
        return Digest(text)
    if not is_tag(text):
        raise Problem(404, "MANIFEST_UNKNOWN", "that is neither a tag nor a digest")
    return text


def _read(raw: bytes, media_type: str | None, digest: Digest | None) -> Document:
    try:
        return Document.read(raw, media_type=media_type, expected=digest)
    except (IntegrityError, InvalidDocument, InvalidReference, Unsupported) as error:
        raise problem_of(error, reading=False) from error


def _check_whole(view: Manifest | Index) -> None:
    """Problem if a field is not there that image-spec requires; readers are more lenient with what exists."""
    if view.schema_version is None:
        raise Problem(400, "MANIFEST_INVALID", "the manifest has no schemaVersion; it is to be 2")
    if isinstance(view, Manifest) and view.config is None:
        raise Problem(400, "MANIFEST_INVALID", "the manifest has no config; artifacts without one name the empty one")


def _check_blobs(repository: WritableRepository, successors: tuple[Descriptor, ...]) -> None:
    """Problem if a blob of the manifest is not here; those that are here stay for a while.

    Children of an index may be missing: a copy of one platform leaves the others out.
    """
    for descriptor in dict.fromkeys((item.digest, item.size, item.media_type, item.urls) for item in successors):
        digest, size, media_type, urls = descriptor
        if repository.keep(digest, size) is None and not urls and not any(w in media_type for w in _NONDISTRIBUTABLE):
            what = "in that size" if repository.keep(digest) is not None else "in the repository"
            raise Problem(400, "MANIFEST_BLOB_UNKNOWN", f"{digest} is not {what}; push it first", detail=digest)
