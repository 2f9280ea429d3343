"""Paths, ranges and validators, without a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provender.oci.reference import check_repository
from provender.server.ranges import content_range, is_match, selected
from provender.server.replies import Problem
from provender.server.routes import Route, route

T = TypeVar("T")

PATHS = st.lists(
    st.sampled_from(
        ["", "v2", "a", "b-c", "blobs", "uploads", "manifests", "tags", "list", "referrers", "..", "A", "x"]
    )
    | st.text(max_size=5),
    max_size=9,
).map("/".join)


def attempt(function: Callable[..., T], *arguments: object) -> T | Problem:
    """What the function gives, or the refusal that it raises."""
    try:
        return function(*arguments)
    except Problem as problem:
        return problem


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v2/", Route("ping")),
        ("/v2", Route("ping")),
        ("/v2/_catalog", Route("catalog")),
        ("/v2/a/tags/list", Route("tags", "a")),
        ("/v2/tags/list/tags/list", Route("tags", "tags/list")),
        ("/v2/a/b/manifests/v1", Route("manifest", "a/b", "v1")),
        ("/v2/a/manifests/b/manifests/v1", Route("manifest", "a/manifests/b", "v1")),
        ("/v2/a/blobs/uploads/", Route("uploads", "a")),
        ("/v2/a/blobs/uploads", Route("uploads", "a")),
        ("/v2/a/blobs/uploads/id", Route("upload", "a", "id")),
        ("/v2/a/blobs/sha256:0", Route("blob", "a", "sha256:0")),
        ("/v2/a/referrers/sha256:0", Route("referrers", "a", "sha256:0")),
    ],
)
def test_endpoints(path: str, expected: Route) -> None:
    assert route(path) == expected


@given(st.text(max_size=60) | PATHS.map(lambda path: f"/v2/{path}"))
def test_any_path_is_an_endpoint_with_a_valid_name_or_a_refusal(path: str) -> None:
    found = attempt(route, path)
    if isinstance(found, Problem):
        assert found.status in (400, 404)
    else:
        assert not found.name or check_repository(found.name)


@given(st.text(max_size=40) | st.from_regex(r"bytes=[0-9]{0,22}-[0-9]{0,22}", fullmatch=True), st.integers(0, 1 << 40))
def test_any_range_lies_within_the_content_or_is_refused(header: str, size: int) -> None:
    found = attempt(selected, header, size)
    if isinstance(found, Problem):
        assert (found.status, found.headers) == (416, (("Content-Range", f"bytes */{size}"),))
    else:
        assert found is None or 0 <= found[0] <= found[1] < size


@given(st.text(max_size=40) | st.from_regex(r"[0-9]{0,22}-[0-9]{0,22}", fullmatch=True))
def test_any_content_range_is_ordered_or_refused(header: str) -> None:
    found = attempt(content_range, header)
    if isinstance(found, Problem):
        assert found.status == 416
    else:
        assert found is not None
        assert found[0] <= found[1]


@given(st.text(max_size=80))
def test_a_validator_matches_only_by_name(header: str) -> None:
    assert not is_match(header, "sha256:" + "0" * 64) or "*" in header
