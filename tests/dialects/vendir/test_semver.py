"""Versions as vendir selects them; the first tables are those of vendir's own tests."""

from __future__ import annotations

import pytest

from provender.dialects.vendir.selection import Prereleases, SemverSelection, VersionSelection
from provender.dialects.vendir.semver import (
    parse_constraints,
    parse_relaxed,
    select_highest,
    sorted_matching,
)
from provender.errors import InvalidProject

_MIXED = ["2.0.0-10+meta.10", "0.0.1-pre.10", "0.0.1-pre.1", "0.1.0", "2.0.0-10", "2.0.0", "0.0.1-rc.0"]


def _matching(constraints: str, versions: list[str]) -> list[str]:
    accepts = parse_constraints(constraints)
    return [text for text in versions if (version := parse_relaxed(text)) is not None and accepts(version)]


def test_versions_are_ordered_with_build_metadata_last() -> None:
    texts = ["1.0.0", "1.0.0+1", "1.0.0+2", "1.0.0+ab1", "1.0.0+z1", "1.0.0+ab1.foo", "1.0.0-pre+foo", "1.1.0"]
    assert sorted_matching(texts, "", Prereleases()) == [
        "1.0.0-pre+foo",
        "1.0.0",
        "1.0.0+1",
        "1.0.0+2",
        "1.0.0+ab1",
        "1.0.0+ab1.foo",
        "1.0.0+z1",
        "1.1.0",
    ]


def test_equal_versions_keep_their_order() -> None:
    assert sorted_matching(["2.0.0", "v2.0.0", "0.1.0"], "", None) == ["0.1.0", "2.0.0", "v2.0.0"]


def test_a_range_alone_lets_prereleases_in() -> None:
    assert sorted_matching(_MIXED, ">0.0.5 <5.0.0", Prereleases()) == ["0.1.0", "2.0.0-10", "2.0.0-10+meta.10", "2.0.0"]


def test_no_prerelease_takes_part_unless_asked_for() -> None:
    assert sorted_matching(_MIXED, "", None) == ["0.1.0", "2.0.0"]


def test_prereleases_can_be_chosen_by_identifier() -> None:
    texts = [*_MIXED[:2], "0.0.1-alpha.1", *_MIXED[3:]]
    assert sorted_matching(texts, "", Prereleases(("alpha", "rc"))) == ["0.0.1-alpha.1", "0.0.1-rc.0", "0.1.0", "2.0.0"]


@pytest.mark.parametrize(
    ("constraints", "expected"),
    [
        ("1.2.3", ["1.2.3"]),
        ("=1.2.3", ["1.2.3"]),
        ("!1.2.3", ["1.2.4", "1.3.0", "2.0.0"]),
        (">=1.2.4, <2.0.0", ["1.2.4", "1.3.0"]),
        (">= 1.2.4 < 2.0.0", ["1.2.4", "1.3.0"]),
        ("<1.2.4 || >=2.0.0", ["1.2.3", "2.0.0"]),
        ("1.2.x", ["1.2.3", "1.2.4"]),
        (">1.2.x", ["1.3.0", "2.0.0"]),
        ("<=1.2.x", ["1.2.3", "1.2.4"]),
        ("1.x", ["1.2.3", "1.2.4", "1.3.0"]),
        ("1.x.x", []),
    ],
)
def test_ranges_mean_what_they_mean_in_vendir(constraints: str, expected: list[str]) -> None:
    assert _matching(constraints, ["1.2.3", "1.2.4", "1.3.0", "2.0.0"]) == expected


@pytest.mark.parametrize(
    "text", ["", "~1.2.3", "^1.2.0", "~1.2.x", "1.2", "x", "*", ">v1.0.0", "|| 1.0.0", "1.0.0 ||", "=>1.0.0"]
)
def test_what_is_no_range_is_an_error(text: str) -> None:
    with pytest.raises(InvalidProject) as caught:
        parse_constraints(text)
    assert caught.value.code == "invalid-range"
    assert caught.value.hint


def test_the_highest_tag_is_spelled_as_found() -> None:
    selection = VersionSelection(SemverSelection(constraints="<2.0.0"))
    assert select_highest(["latest", "v1.9.0", "1.10.0", "2.0.0", "v1.10.0"], selection) == "v1.10.0"


def test_nothing_found_tells_where_it_was_lost() -> None:
    with pytest.raises(InvalidProject) as caught:
        select_highest(["1.0.0", "2.0.0-rc.1", "x"], VersionSelection(SemverSelection(constraints=">3.0.0")))
    assert caught.value.message == (
        "Expected to find at least one version, but did not "
        "(details: all=2 -> after-prereleases-filter=1 -> after-constraints-filter=0)"
    )
