"""`index.yaml` of a classic chart repository: the versions of a chart, and where they are. Project layer; pure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Final

import msgspec

from provender.errors import NotFound, Unavailable

__all__ = ["MAX_INDEX_BYTES", "ListedChart", "read_chart_index", "unusable_index"]

MAX_INDEX_BYTES: Final = 64 << 20


class ListedChart(msgspec.Struct, frozen=True):
    """A version of a chart in an index."""

    version: str
    urls: tuple[str, ...]
    digest: str | None


def read_chart_index(raw: bytes, chart: str, *, where: str) -> Mapping[str, ListedChart]:
    """The versions of `chart` by their text, in the index's order. Raises NotFound without it, and Unavailable."""
    charts = _entries(raw, where)
    if chart not in charts:
        near = difflib.get_close_matches(chart, list(charts)[:20_000], n=3)
        raise NotFound(
            f"the repository has no chart {chart}",
            code="no-such-chart",
            where=where,
            hint=f"did you mean {' or '.join(near)}?" if near else f"it has {len(charts)} charts",
        )
    versions = charts[chart]
    found: dict[str, ListedChart] = {}
    for each in versions if isinstance(versions, list) else []:
        if not isinstance(each, dict) or not isinstance(each.get("version"), str):
            continue
        urls, digest = each.get("urls"), each.get("digest")
        found.setdefault(
            each["version"],
            ListedChart(
                each["version"],
                tuple(url for url in urls if isinstance(url, str)) if isinstance(urls, list) else (),
                digest if isinstance(digest, str) else None,
            ),
        )
    return found


def unusable_index(where: str, what: str) -> Unavailable:
    """The error for an index that is none."""
    return Unavailable(
        f"the repository cannot be used: {what}",
        code="unusable-index",
        where=where,
        hint="check the URL: it is that of the directory that has index.yaml",
        retryable=False,
        exit_status=69,
    )


def _entries(raw: bytes, where: str) -> Mapping[str, object]:
    """What the index lists, by the name of the chart."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        document = yaml.load(raw, loader)  # noqa: S506 - a safe loader, in C where there is one
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise unusable_index(where, "the index is no YAML") from error
    entries = document.get("entries") if isinstance(document, dict) else None
    if not isinstance(entries, dict):
        raise unusable_index(where, "the index has no 'entries'")
    return {str(name): versions for name, versions in entries.items()}
