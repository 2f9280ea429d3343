"""The referrers list of the test registry, as the specification has it and as registries in the wild answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from support.registry_messages import Reply, Request

__all__ = ["ReferrerRules", "referrers_reply"]

_INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass(kw_only=True)
class ReferrerRules:
    """How the list is given. Every field may be changed at any time."""

    page_size: int | None = None
    filters: bool = True
    absent_status: int = 404  # without the API
    header: bool | None = None  # OCI-Subject; None: with the API
    lists: bool = True  # False: an empty list, whatever is there
    types: bool = True  # False: no artifactType in the entries, as Quay had it
    reply: Reply | None = None  # instead of every answer
    link: str | None = None  # instead of the right one


def referrers_reply(
    request: Request, rules: ReferrerRules, manifests: Mapping[str, tuple[str, bytes]], base_url: str, subject: str
) -> Reply:
    """One page of the manifests that have this subject."""
    wanted = request.value("artifactType") if rules.filters else None
    entries = []
    for digest, (media_type, raw) in manifests.items() if rules.lists else ():
        view = json.loads(raw)
        if (view.get("subject") or {}).get("digest") != subject:
            continue
        kind = view.get("artifactType") or (view.get("config") or {}).get("mediaType")
        if wanted not in (None, kind):
            continue
        entry = {"mediaType": media_type, "digest": digest, "size": len(raw)}
        if rules.types and kind:
            entry["artifactType"] = kind
        entries.append({**entry, "annotations": view.get("annotations") or {}})
    headers = {"Content-Type": _INDEX} | ({"OCI-Filters-Applied": "artifactType"} if wanted else {})
    start = int(request.value("from") or 0)
    page = entries[start:] if rules.page_size is None else entries[start : start + rules.page_size]
    if start + len(page) < len(entries):
        query = {"from": str(start + len(page))} | ({"artifactType": wanted} if wanted else {})
        headers["Link"] = f'<{rules.link or f"{base_url}{request.path}?{urlencode(query)}"}>; rel="next"'
    body = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": page}
    return Reply(200, headers, json.dumps(body).encode())
