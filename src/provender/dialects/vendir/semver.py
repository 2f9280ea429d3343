"""Version selection as vendir does it: strict SemVer, its own small range grammar, prereleases by identifier. Pure.

The grammar (of blang/semver): comparisons separated by spaces must all hold, `||` separates alternatives; operators are
`= == > >= < <= ! !=` or none; `x` may stand for the last places (`1.2.x`, `1.x`). Unlike vendir, an unknown operator is
always an error (there `~1.2.x` means exactly 1.2.0), and commas count as spaces, as its own help text has them.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from provender.dialects.vendir.selection import Prereleases, VersionSelection
from provender.errors import InvalidProject, ProvenderError
from provender.versions import MAX_RANGE_LENGTH, Version

__all__ = ["parse_constraints", "parse_relaxed", "select_highest", "sorted_matching"]

_Identifiers = tuple[tuple[bool, int, str], ...]
_Key = tuple[tuple[int, int, int, bool, _Identifiers], _Identifiers]
_Test = Callable[[Version], bool]

_COMPARISON: Final = re.compile(r"(==|=|>=|>|<=|<|!=|!)?([0-9][^\s]*)")
_OPERATOR_GAP: Final = re.compile(r"([=<>!]) +")
_WILD: Final = re.compile(r"([0-9]+)(?:\.([0-9]+|x))?\.x")
_OPERATORS: Final[dict[str, Callable[[_Key, _Key], bool]]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!": operator.ne,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_HINT: Final = "write for example '>=1.2.0 <2.0.0', '1.x' or '1.2.x || 2.0.0'; vendir's ranges know no ~ and no ^"


def parse_relaxed(text: str) -> Version | None:
    """The version that a tag spells, with or without one leading `v`; None if it is no strict SemVer."""
    try:
        return Version.parse(text.removeprefix("v"), coerce=False)
    except ProvenderError:
        return None


def sort_key(version: Version) -> _Key:
    """Precedence, then build metadata, which takes part in vendir's order."""
    precedence, build, *_ = version.order()
    return precedence, build


def parse_constraints(text: str) -> _Test:
    """The test that a range stands for. Raises InvalidProject (`invalid-range`)."""
    if len(text) > MAX_RANGE_LENGTH:
        raise _invalid(text, f"it is longer than {MAX_RANGE_LENGTH} characters")
    alternatives: list[list[_Test]] = [[]]
    for word in _OPERATOR_GAP.sub(r"\1", text.replace(",", " ")).split():
        if word == "||":
            alternatives.append([])
        else:
            alternatives[-1].append(_comparison(word, text))
    if not all(alternatives):
        raise _invalid(text, "an alternative of '||' is empty" if len(alternatives) > 1 else "it is empty")
    return lambda version: any(all(test(version) for test in tests) for tests in alternatives)


def keep_prereleases(versions: Iterable[tuple[str, Version]], wanted: Prereleases | None) -> list[tuple[str, Version]]:
    """Releases, and the prereleases that are wanted."""
    return [(text, version) for text, version in versions if not version.prerelease or _is_wanted(version, wanted)]


def select_highest(tags: Sequence[str], selection: VersionSelection) -> str:
    """The highest of `tags` that the selection allows, spelled as found.

    Raises InvalidProject: a range that is none (`invalid-range`), or no version left (`no-version-matched`).
    """
    if selection.semver is None:
        raise InvalidProject(
            "Unsupported version selection type (currently supported: semver)",
            code="no-selection",
            hint="write semver: {constraints: '>=1.0.0'} below it",
        )
    found = [(tag, version) for tag in tags if (version := parse_relaxed(tag)) is not None]
    details = [f"all={len(found)}"]
    found = keep_prereleases(found, selection.semver.prereleases)
    details.append(f"after-prereleases-filter={len(found)}")
    if selection.semver.constraints:
        accepts = parse_constraints(selection.semver.constraints)
        found = [(tag, version) for tag, version in found if accepts(version)]
        details.append(f"after-constraints-filter={len(found)}")
    if not found:
        raise InvalidProject(
            f"Expected to find at least one version, but did not (details: {' -> '.join(details)})",
            code="no-version-matched",
            hint=f"{_sample(tags)}; widen constraints, or allow prereleases: {{}}",
        )
    return sorted_versions(found)[-1][0]


def sorted_matching(texts: Sequence[str], constraints: str, prereleases: Prereleases | None) -> list[str]:
    """The versions among `texts` that a range (if any) and the prereleases allow, lowest first, spelled as found."""
    found = sorted_versions((text, version) for text in texts if (version := parse_relaxed(text)) is not None)
    if constraints:
        accepts = parse_constraints(constraints)
        found = [(text, version) for text, version in found if accepts(version)]
    return [text for text, _ in keep_prereleases(found, prereleases)]


def sorted_versions(versions: Iterable[tuple[str, Version]]) -> list[tuple[str, Version]]:
    """Lowest first; equal ones in the order they came."""
    return sorted(versions, key=lambda pair: sort_key(pair[1]))


def _is_wanted(version: Version, wanted: Prereleases | None) -> bool:
    if wanted is None:
        return False
    names = frozenset(wanted.identifiers)
    return not names or any(str(part) in names for part in version.prerelease)


def _comparison(word: str, text: str) -> _Test:
    match = _COMPARISON.fullmatch(word)
    if match is None:
        raise _invalid(text, f"not a comparison: {word[:60]!r}")
    sign, spelled = match[1] or "=", match[2]
    wild = _WILD.fullmatch(spelled)
    if wild is not None:
        # In vendir 1.x.x is 1.0.x.
        minor = None if wild[2] is None else 0 if wild[2] == "x" else int(wild[2])
        return _wildcard(sign, int(wild[1]), minor)
    try:
        base = Version.parse(spelled, coerce=False)
    except ProvenderError as error:
        raise _invalid(text, f"not a version: {spelled[:60]!r}") from error
    bound = sort_key(base)
    compare = _OPERATORS[sign]
    return lambda version: compare(sort_key(version), bound)


def _wildcard(sign: str, major: int, minor: int | None) -> _Test:
    """`1.2.x` is from 1.2.0-0 up to, but not including, 1.3.0-0; `1.x` likewise up to 2.0.0-0."""
    low = sort_key(Version.parse(f"{major}.{minor or 0}.0-0", coerce=False))
    after = f"{major + 1}.0.0-0" if minor is None else f"{major}.{minor + 1}.0-0"
    high = sort_key(Version.parse(after, coerce=False))

    def is_below(version: Version) -> bool:
        return sort_key(version) < low

    def is_above(version: Version) -> bool:
        return sort_key(version) >= high

    tests: dict[str, _Test] = {
        "=": lambda version: not is_below(version) and not is_above(version),
        "==": lambda version: not is_below(version) and not is_above(version),
        # As vendir has it: both sides at once, which no version satisfies.
        "!": lambda version: is_below(version) and is_above(version),
        "!=": lambda version: is_below(version) and is_above(version),
        ">": is_above,
        ">=": lambda version: not is_below(version),
        "<": is_below,
        "<=": lambda version: not is_above(version),
    }
    return tests[sign]


def _sample(tags: Sequence[str]) -> str:
    if not tags:
        return "there are no tags at all"
    known = [tag for tag in tags if parse_relaxed(tag) is not None] or list(tags)
    shown = ", ".join(tag[:60] for tag in known[-3:])
    return f"{len(tags)} tags, such as {shown}"


def _invalid(text: str, problem: str) -> InvalidProject:
    return InvalidProject(f"Parsing version constraint '{text[:80]}': {problem}", code="invalid-range", hint=_HINT)
