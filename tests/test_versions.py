"""Versions, ranges, and the choice among tags."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise, permutations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from provender.errors import InvalidProject, InvalidReference, ProvenderError
from provender.versions import MAX_RANGE_LENGTH, MAX_VERSION_LENGTH, Range, Version, nearest, select
from versions_cases import (
    ASCENDING,
    BAD_RANGES,
    BAD_VERSIONS,
    OUR_BAD_RANGES,
    OUR_RANGES,
    RANGES,
    TAGS,
    VERSIONS,
)

VERDICTS = [
    (text, version, expected)
    for text, inside, outside in RANGES + OUR_RANGES
    for expected, versions in ((True, inside), (False, outside))
    for version in versions.split()
]

unhurried = settings(deadline=None)  # a busy machine is no failure

NUMBERS = st.integers(0, 12) | st.integers(0, 2**64 - 1)
WORDS = st.from_regex(r"[0-9]{0,2}[A-Za-z-][0-9A-Za-z-]{0,5}", fullmatch=True)
PRERELEASES = st.lists(st.integers(0, 10**21).map(str) | WORDS, max_size=3).map(".".join)
BUILDS = st.lists(st.from_regex(r"[0-9A-Za-z-]{1,6}", fullmatch=True), max_size=2).map(".".join)


@st.composite
def canonical_versions(draw: st.DrawFn, numbers: st.SearchStrategy[int] = NUMBERS) -> str:
    core = ".".join(str(draw(numbers)) for _ in range(3))
    prerelease, build = draw(PRERELEASES), draw(BUILDS)
    return core + (f"-{prerelease}" if prerelease else "") + (f"+{build}" if build else "")


CLOSE_VERSIONS = canonical_versions(st.integers(0, 3))
RELEASES = st.tuples(*[st.integers(0, 4)] * 3)
PARTIALS = st.lists(st.sampled_from(["0", "1", "2", "3", "x", "*"]), min_size=1, max_size=3).map(".".join)
PARTIAL_PRERELEASES = st.builds(
    "{}-{}".format, PARTIALS, st.lists(NUMBERS.map(str) | WORDS, min_size=1, max_size=2).map(".".join)
)
OPERATORS = st.sampled_from(["", "=", "!=", ">", "<", ">=", "=>", "<=", "=<", "~", "~>", "^"])


def items_of(partials: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds("{}{}".format, OPERATORS, partials) | st.builds("{} - {}".format, partials, partials)


ITEMS = items_of(PARTIALS | PARTIAL_PRERELEASES)
GROUPS = st.lists(ITEMS, min_size=1, max_size=3)
RANGE_TEXTS = st.lists(GROUPS.map(", ".join), min_size=1, max_size=3).map(" || ".join)
RANGE_LIKE = st.text(st.sampled_from("0123456789xX*v|=!<>~^-., +ab\t\n\u00e9"), max_size=30) | st.text(max_size=20)


def text_of(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))


def accepts(range_text: str, version_text: str) -> bool:
    return Range.parse(range_text).matches(Version.parse(version_text))


@contextmanager
def allowing(code: str) -> Iterator[None]:
    """Lets one kind of error pass; every other fails the test."""
    try:
        yield
    except ProvenderError as error:
        if error.code != code or not error.hint:
            raise


# --- versions


@pytest.mark.parametrize(("text", "canonical", "is_strict"), VERSIONS)
def test_version_is_read_and_its_spelling_kept(text: str, canonical: str, is_strict: bool) -> None:
    version = Version.parse(text)
    assert (str(version), version.original) == (canonical, text)
    if is_strict:
        assert Version.parse(text, coerce=False) == version
    else:
        with pytest.raises(InvalidReference):
            Version.parse(text, coerce=False)


@pytest.mark.parametrize("text", BAD_VERSIONS)
@pytest.mark.parametrize("coerce", [True, False])
def test_text_that_is_no_version_is_refused_with_a_hint(text: str, coerce: bool) -> None:
    with pytest.raises(InvalidReference) as caught:
        Version.parse(text, coerce=coerce)
    assert caught.value.code == "invalid-version"
    assert caught.value.hint
    assert caught.value.message.isprintable()


def test_version_parts_are_named() -> None:
    version = Version.parse("v1.2.3-rc.1.x-y+b.07")
    assert (version.major, version.minor, version.patch) == (1, 2, 3)
    assert version.prerelease == ("rc", 1, "x-y")
    assert version.build == "b.07"


def test_version_longer_than_the_cap_is_refused_in_a_short_message() -> None:
    longest = "1.0.0-" + "a" * (MAX_VERSION_LENGTH - 6)
    assert str(Version.parse(longest)) == longest
    assert Version.from_tag(longest + "a") is None
    with pytest.raises(InvalidReference) as caught:
        Version.parse(longest + "a")
    assert len(caught.value.message) < 100


@pytest.mark.parametrize(("tag", "canonical"), TAGS)
def test_tag_is_read_as_a_version_or_passed_over(tag: str, canonical: str | None) -> None:
    version = Version.from_tag(tag)
    assert (version and str(version)) == canonical
    assert version is None or version.original == tag


def test_versions_ascend_by_semver_precedence() -> None:
    versions = [Version.parse(text) for text in ASCENDING]
    for low, high in pairwise(versions):
        assert low < high
        assert low <= high
        assert high > low
        assert high >= low
        assert low != high
        assert low.precedence < high.precedence
    descending = versions[::-1]
    assert sorted(descending) == versions


def test_build_metadata_and_spelling_only_break_ties() -> None:
    ascending = ["v1.2", "01.2", "1.2", "v1.2.0", "1.2.0", "1.2.0_9", "v1.2.0_10", "1.2.0_10", "1.2.0_a"]
    versions = [version for tag in reversed(ascending) if (version := Version.from_tag(tag))]
    assert [version.original for version in sorted(versions)] == ascending
    assert len({version.precedence for version in versions}) == 1


def test_a_version_is_not_ordered_against_other_types() -> None:
    version = Version.parse("1.2.3")
    for compare in (version.__lt__, version.__le__, version.__gt__, version.__ge__):
        assert compare("1.2.4") is NotImplemented  # type: ignore[arg-type]  # the wrong type is the point
    assert version.__eq__("1.2.3") is NotImplemented


def test_equal_versions_have_equal_hashes() -> None:
    assert len({Version.parse("1.2"), Version.parse("1.2"), Version.parse("1.2.0")}) == 2


@unhurried
@given(canonical_versions())
def test_canonical_versions_survive_a_round_trip(text: str) -> None:
    assert str(Version.parse(text, coerce=False)) == text
    assert str(Version.parse("v" + text)) == text


@unhurried
@given(canonical_versions())
def test_mapped_tags_name_the_version_they_were_made_from(text: str) -> None:
    assume(".build-" not in text)  # the documented ambiguity
    for separator in ("+", "_", ".build-"):
        assert str(Version.from_tag(text.replace("+", separator))) == text


@unhurried
@given(CLOSE_VERSIONS, CLOSE_VERSIONS, CLOSE_VERSIONS)
def test_the_order_of_versions_is_total(a: str, b: str, c: str) -> None:
    first, second, third = (Version.parse(text) for text in (a, b, c))
    assert (first < second) + (first == second) + (first > second) == 1
    assert (first <= second) == (first < second or first == second)
    if first <= second <= third:
        assert first <= third


@unhurried
@given(st.text(max_size=40) | RANGE_LIKE)
def test_any_text_is_a_version_or_a_clear_error(text: str) -> None:
    tagged = Version.from_tag(text)
    with allowing("invalid-version"):
        version = Version.parse(text)
        assert Version.parse(str(version)).precedence == version.precedence
        assert tagged is not None


# --- ranges


def test_the_table_of_ranges_is_large() -> None:
    assert len(VERDICTS) > 300


@pytest.mark.parametrize(("text", "version", "expected"), VERDICTS)
def test_range_answers_as_the_table_says(text: str, version: str, expected: bool) -> None:
    assert accepts(text, version) is expected


@pytest.mark.parametrize("text", BAD_RANGES + OUR_BAD_RANGES)
def test_text_that_is_no_range_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(InvalidProject) as caught:
        Range.parse(text)
    assert caught.value.code == "invalid-range"
    assert caught.value.hint
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("1 ||", "empty alternative"),
        (">1,", "ends where a version is expected"),
        ("1.2.3-rc.01", "leading zeros"),
        ("99999999999999999999", "too large"),
        ("1 && 2", "cannot be read at '&& 2'"),
    ],
)
def test_range_error_says_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(InvalidProject, match=said):
        Range.parse(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("==1", "write = "),
        ("1 && 2", "comma or a space"),
        ("1 | 2", "||"),
        ("1 -2", "1.2 - 1.6"),
        ("1.2.3.4", "three numbers"),
        ("latest", "ask for the tag"),
        ("", "write *"),
    ],
)
def test_near_misses_get_a_hint_of_their_own(text: str, hint: str) -> None:
    with pytest.raises(InvalidProject) as caught:
        Range.parse(text)
    assert hint in (caught.value.hint or "")


def test_range_longer_than_the_caps_is_refused() -> None:
    longest = "1" + " " * (MAX_RANGE_LENGTH - 1)
    assert accepts(longest, "1.5.0")
    with pytest.raises(InvalidProject, match="longer than 512"):
        Range.parse(longest + " ")
    assert accepts("||".join(["1"] * 32), "1.5.0")
    with pytest.raises(InvalidProject, match="more than 32"):
        Range.parse("||".join(["1"] * 33))


def test_range_keeps_its_text() -> None:
    parsed = Range.parse(" >=1.2,<2 ")
    assert (parsed.text, str(parsed)) == (" >=1.2,<2 ", " >=1.2,<2 ")


@unhurried
@given(RANGE_LIKE)
def test_any_text_is_a_range_or_a_clear_error(text: str) -> None:
    with allowing("invalid-range"):
        assert isinstance(accepts(text, "1.2.3-rc.1"), bool)


@unhurried
@given(RELEASES, RELEASES)
def test_caret_and_tilde_are_intervals(base: tuple[int, ...], found: tuple[int, ...]) -> None:
    major, minor, patch = base
    ceiling = (major + 1, 0, 0) if major else (0, minor + 1, 0) if minor else (0, 0, patch + 1)
    assert accepts(f"^{text_of(base)}", text_of(found)) == (base <= found < ceiling)
    if base != (0, 0, 0):
        assert accepts(f"~{text_of(base)}", text_of(found)) == (base <= found < (major, minor + 1, 0))


@unhurried
@given(RELEASES, RELEASES)
def test_comparisons_of_full_versions_are_comparisons_of_numbers(base: tuple[int, ...], found: tuple[int, ...]) -> None:
    expected = {"=": found == base, "!=": found != base, ">": found > base, "<": found < base}
    expected |= {"": found == base, ">=": found >= base, "=>": found >= base, "<=": found <= base, "=<": found <= base}
    assert {operator: accepts(operator + text_of(base), text_of(found)) for operator in expected} == expected


@unhurried
@given(CLOSE_VERSIONS, CLOSE_VERSIONS)
def test_comparisons_with_prereleases_follow_precedence(base: str, found: str) -> None:
    low, version = Version.parse(base), Version.parse(found)
    takes_part = bool(low.prerelease) or not version.prerelease
    assert accepts(f">{base}", found) == (takes_part and version.precedence > low.precedence)
    assert accepts(f"<={base}", found) == (takes_part and version.precedence <= low.precedence)
    assert accepts(f"={base}", found) == (takes_part and version.precedence == low.precedence)
    assert accepts(f"!={base}", found) == (takes_part and version.precedence != low.precedence)


@unhurried
@given(GROUPS, GROUPS, CLOSE_VERSIONS)
def test_alternatives_join_and_separators_are_equal(left: list[str], right: list[str], version: str) -> None:
    first, second = ", ".join(left), " ".join(right)
    assume(len(first) + len(second) < MAX_RANGE_LENGTH - 4)
    either = accepts(first, version) or accepts(second, version)
    assert accepts(f"{first} || {second}", version) == either
    assert accepts(f"{second}||{first}", version) == either


@unhurried
@given(RELEASES.map(text_of), GROUPS)
def test_all_conditions_of_an_alternative_must_hold_for_a_release(version: str, items: list[str]) -> None:
    assert accepts(", ".join(items), version) == all(accepts(item, version) for item in items)


@unhurried
@given(st.lists(items_of(PARTIALS), min_size=1, max_size=4).map(" || ".join), RELEASES, WORDS)
def test_prereleases_need_a_range_that_names_one(text: str, release: tuple[int, ...], prerelease: str) -> None:
    assert not accepts(text, f"{text_of(release)}-{prerelease}")


@unhurried
@given(RANGE_TEXTS, CLOSE_VERSIONS, BUILDS)
def test_build_metadata_never_changes_a_verdict(text: str, version: str, build: str) -> None:
    assume(len(text) <= MAX_RANGE_LENGTH)
    bare = version.partition("+")[0]
    assert accepts(text, version) == accepts(text, bare) == accepts(text, bare + (f"+{build}" if build else ""))


# --- the choice among tags


@pytest.mark.parametrize(
    ("tags", "text", "chosen"),
    [
        ("1.9.0 1.10.0 1.2.0 2.0.0", "^1", "1.10.0"),
        ("latest 1.0.0 main sha-0abc", ">=1", "1.0.0"),
        ("latest main", "*", None),
        ("", "*", None),
        ("1.0.0 2.0.0-rc.1", "*", "1.0.0"),
        ("1.0.0 2.0.0-rc.1", ">=1-0", "2.0.0-rc.1"),
        ("2.0.0-rc.1 2.0.0", ">=1-0", "2.0.0"),
        ("v1.2.0 1.2.0 1.2 v1.2", "1.2", "1.2.0"),
        ("v1.2.0 1.2 v1.2", "1.2", "v1.2.0"),
        ("v1.2 1.2 01.2", "1.2", "1.2"),
        ("1 1.2 1.2.3", "*", "1.2.3"),
        ("1.2.3_b.9 1.2.3_b.10 1.2.3", "^1", "1.2.3_b.10"),
        ("1.2.3.build-7 1.2.3_7", "^1", "1.2.3_7"),
        ("v1.3.0 1.2.0", "^1", "v1.3.0"),
    ],
)
def test_newest_tag_in_range_is_selected_whatever_the_order(tags: str, text: str, chosen: str | None) -> None:
    for order in permutations(tags.split()):
        assert select(order, Range.parse(text)) == chosen


@unhurried
@given(st.lists(CLOSE_VERSIONS.map(lambda text: text.replace("+", "_")) | st.just("latest"), max_size=8), RANGE_TEXTS)
def test_selection_is_the_greatest_match(tags: list[str], text: str) -> None:
    assume(len(text) <= MAX_RANGE_LENGTH)
    wanted = Range.parse(text)
    chosen = select(iter(tags), wanted)
    matching = [version for tag in tags if (version := Version.from_tag(tag)) and wanted.matches(version)]
    assert chosen == (max(matching).original if matching else None)
    assert select(reversed(tags), wanted) == chosen


@pytest.mark.parametrize(
    ("tags", "text", "shown"),
    [
        # Both sides of the gap, newest first.
        ("0.8.0 0.9.0 1.0.0 2.0.0 2.1.0 3.0.0", "~1.5", "2.1.0 2.0.0 1.0.0"),
        ("1.0.0 1.1.0 1.2.0 1.3.0", ">=5", "1.3.0 1.2.0 1.1.0"),
        ("1.0.0 1.1.0 1.2.0 1.3.0", "<1", "1.2.0 1.1.0 1.0.0"),
        # >1 begins at 2.0.0, not at 1.0.0.
        ("0.9.0 1.0.0 1.1.0 1.2.0 1.3.0", ">1", "1.3.0 1.2.0 1.1.0"),
        ("0.9.0 1.1.0 1.1.1 1.1.2 1.1.3", ">1.1", "1.1.3 1.1.2 1.1.1"),
        # Prereleases that the range passes over come first.
        ("1.0.0 1.1.0 1.9.0-rc.1 1.9.0-rc.2 2.0.0", "^1.2", "2.0.0 1.9.0-rc.2 1.9.0-rc.1"),
        ("1.0.0-a 2.0.0-a 3.0.0-a 4.0.0-a", "*", "4.0.0-a 3.0.0-a 2.0.0-a"),
        # A hole is no end of the range.
        ("1.0.0", "!=1.0.0", "1.0.0"),
        ("1.0.0 2.0.0 3.0.0 4.0.0", ">=9 !=1.5", "4.0.0 3.0.0 2.0.0"),
        ("1.0.0 v1.0.0 1.0 0.9.0", "^5", "1.0.0 0.9.0"),
        ("main latest edge nightly latest", "^1", "nightly main latest"),
        ("latest 1.0.0", "^5", "1.0.0"),
        ("", "^1", ""),
    ],
)
def test_nearest_tags_are_those_a_reader_would_look_at(tags: str, text: str, shown: str) -> None:
    assert nearest(tags.split(), Range.parse(text)) == shown.split()
    assert nearest(reversed(tags.split()), Range.parse(text)) == shown.split()


def test_nearest_shows_no_more_than_asked_for() -> None:
    tags = [f"1.{minor}.0" for minor in range(20)]
    assert nearest(tags, Range.parse("^2"), limit=5) == ["1.19.0", "1.18.0", "1.17.0", "1.16.0", "1.15.0"]
    assert nearest(tags, Range.parse("^2"), limit=0) == []
    assert nearest(["main"], Range.parse("^2"), limit=-1) == []


@unhurried
@given(st.lists(CLOSE_VERSIONS | st.sampled_from(["latest", "main"]), max_size=8), RANGE_TEXTS, st.integers(0, 4))
def test_nearest_names_known_tags_newest_first(tags: list[str], text: str, limit: int) -> None:
    assume(len(text) <= MAX_RANGE_LENGTH)
    shown = nearest(tags, Range.parse(text), limit)
    assert set(shown) <= set(tags)
    assert len(shown) == len(set(shown)) <= limit
    versions = [version for tag in shown if (version := Version.from_tag(tag))]
    assert versions == sorted(versions, reverse=True)
    assert bool(shown) == bool(tags and limit)
