"""Lists: tags, repositories and referrers, in pages (distribution-spec end-8, end-12, and `_catalog`). Server layer."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from urllib.parse import quote

import msgspec

from provender.errors import NotFound
from provender.oci import Descriptor, Digest
from provender.oci.media_types import DOCKER_MANIFEST, EMPTY, INDEX, MANIFEST
from provender.server.calls import Call
from provender.server.limits import Limits
from provender.server.replies import Reply, as_json
from provender.server.routes import Route
from provender.server.stores import Store

__all__ = ["Listings"]


class Listings:
    """The handlers of `tags/list`, `_catalog` and `referrers`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def tags(self, call: Call, route: Route) -> Reply:
        """The tags in the order of their characters, from `last` on, `n` of them."""
        repository = self._store.find(route.name)
        names = await call.run(lambda: sorted(repository.tags()))
        page, link = _page(call, names, f"/v2/{route.name}/tags/list")
        return as_json(200, {"name": route.name, "tags": page}, headers=link)

    async def catalog(self, call: Call) -> Reply:
        """The repositories, sorted, from `last` on, `n` of them."""
        page, link = _page(call, await call.run(self._store.names), "/v2/_catalog")
        return as_json(200, {"repositories": page}, headers=link)

    async def referrers(self, call: Call, route: Route) -> Reply:
        """An index of what names the digest as its subject, by digest; empty for what is not here."""
        digest = Digest(route.target)
        wanted = [value for value in call.values("artifactType") if value]
        try:
            repository = self._store.find(route.name)
            found = await call.run(lambda: [_typed(item) for item in repository.referrers(digest)])
        except NotFound:
            found = []
        chosen = [item for item in found if not wanted or item.artifact_type in wanted]
        chosen.sort(key=lambda item: item.digest)
        if (last := call.value("last")) is not None:
            chosen = [item for item in chosen if item.digest > last]
        page = _fitting(chosen, call.limits)
        headers: list[tuple[str, str]] = []
        if wanted:
            headers.append(("OCI-Filters-Applied", "artifactType"))
        if len(page) < len(chosen):
            fields = "".join(f"artifactType={quote(item, safe='')}&" for item in wanted)
            path = f"/v2/{route.name}/referrers/{digest}?{fields}last={quote(page[-1].digest, safe='')}"
            headers.append(("Link", f'<{path}>; rel="next"'))
        body = {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [msgspec.to_builtins(item, enc_hook=str) for item in page],
        }
        return as_json(200, body, media_type=INDEX, headers=headers)


def _page(call: Call, names: Sequence[str], path: str) -> tuple[Sequence[str], tuple[tuple[str, str], ...]]:
    asked, last = call.number("n"), call.value("last")
    count = call.limits.page if asked is None else min(asked, call.limits.page)
    start = 0 if last is None else bisect.bisect_right(names, last)
    page = names[start : start + count]
    if not page or start + count >= len(names):
        return page, ()
    return page, (("Link", f'<{path}?n={count}&last={quote(page[-1], safe="")}>; rel="next"'),)


def _fitting(items: Sequence[Descriptor], limits: Limits) -> list[Descriptor]:
    """As many items as a page holds, at least one: their annotations may be large."""
    page: list[Descriptor] = []
    size = 0
    for item in items[: limits.referrers_page]:
        size += 300 + sum(len(key) + len(value) for key, value in (item.annotations or {}).items())
        if page and size > limits.referrers_page_bytes:
            break
        page.append(item)
    return page


def _typed(item: Descriptor) -> Descriptor:
    """The descriptor with an artifact type, which a manifest without one has from its config (end-12a)."""
    if item.artifact_type is None and item.media_type in (MANIFEST, DOCKER_MANIFEST):
        return msgspec.structs.replace(item, artifact_type=EMPTY)
    return item
