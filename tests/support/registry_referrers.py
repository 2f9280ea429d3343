"""The referrers list of the test registry, as the specification has it and as registries in the wild answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from support.registry_messages import Reply, Request, having, without

__all__ = ["ReferrerRules", "referrers_reply"]


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


def referrers_reply(request: Request, rules: ReferrerRules, served: Callable[[Request], Reply]) -> Reply:
    """One page of what our server lists, in the way that the rules say."""
    if not rules.filters:
        request = without(request, "artifactType")
    reply = served(request)
    if reply.status != 200:
        return reply
    body = json.loads(reply.body)
    entries = body["manifests"] if rules.lists else []
    if not rules.types:
        entries = [{key: value for key, value in entry.items() if key != "artifactType"} for entry in entries]
    start = int(request.value("from") or 0)
    page = entries[start:] if rules.page_size is None else entries[start : start + rules.page_size]
    if start + len(page) < len(entries):
        following = having(without(request, "from"), **{"from": str(start + len(page))})
        reply.headers["Link"] = f'<{rules.link or following.target}>; rel="next"'
    reply.body = json.dumps({**body, "manifests": page}).encode()
    reply.headers["Content-Length"] = str(len(reply.body))
    return reply
