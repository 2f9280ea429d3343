"""Versions and version ranges: SemVer 2 with an optional `v`, ranges in the grammar of Masterminds/semver v3.

Pure, directly above the errors: no input or output, no clock, no environment; every text from outside is capped.
Verdicts equal those of Masterminds/semver v3.5 (the grammar of Helm, Flux and others) but for deliberate differences:

- `^*` and `^x` match every version, as their documentation says; their code matches 0.0.0 alone.
- Numeric prerelease identifiers of 20 digits and more compare as numbers, as SemVer 2 says; theirs become text.
- What follows a wildcard in a range (`1.x.3`) is ignored, as there, but has to be a number or a wildcard.
- A hyphen range is one item like any other. It may follow a space (`>0 1 - 2`) or touch `||` (`0||3 - 4`), which their
  rewriting of the text refuses or misreads, and needs a space or comma before the next item (not `1 - 2<3`).
- The length of a whole range is capped, as there, but not once more that of each version in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

import msgspec

from provender.errors import InvalidProject, InvalidReference

__all__ = ["MAX_RANGE_LENGTH", "MAX_VERSION_LENGTH", "Range", "Version", "nearest", "select"]

MAX_VERSION_LENGTH = 256
MAX_RANGE_LENGTH = 512
_MAX_ALTERNATIVES = 32
_MAX_NUMBER = 2**64 - 1
_MAX_SHOWN = 60

_WHITE = "\t\n\f\r "
_DOTTED = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_TAIL = rf"(?:-({_DOTTED}))?(?:\+({_DOTTED}))?"
_LOOSE_VERSION = re.compile(rf"v?([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?{_TAIL}")
_STRICT_VERSION = re.compile(rf"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*){_TAIL}")

_SEGMENT = r"([0-9]+|[xX*])"
_PARTIAL = rf"v?{_SEGMENT}(?:\.{_SEGMENT})?(?:\.{_SEGMENT})?{_TAIL}"
_HYPHEN_RANGE = re.compile(rf"{_PARTIAL}[{_WHITE}]+-[{_WHITE}]+{_PARTIAL}")
_COMPARISON = re.compile(rf"(~>|[!<>]=|=[<>]|[=<>~^])?[{_WHITE}]*{_PARTIAL}")
_SEPARATOR = re.compile(rf"[{_WHITE}]*,[{_WHITE}]*|[{_WHITE}]+")

_Operator = Literal["=", "!=", ">", "<", ">=", "<=", "~", "^"]
_Kind = Literal["within", "=", "!=", ">", "<", "<="]
_OPERATORS: dict[str, _Operator] = {
    "": "=",
    "=": "=",
    "!=": "!=",
    ">": ">",
    "<": "<",
    ">=": ">=",
    "=>": ">=",
    "<=": "<=",
    "=<": "<=",
    "~": "~",
    "~>": "~",
    "^": "^",
}

_VERSION_HINT = "write MAJOR.MINOR.PATCH, for example 1.4.2 or v1.4.2-rc.1"
_RANGE_HINT = "write for example ^1.2, ~1.4.0, >=1.2 <3, 1.2.x, 1.2 - 1.6, * or alternatives joined by ||"
_NEAR_MISSES = (
    (re.compile("=="), "write = for one version"),
    (re.compile("&"), "write a comma or a space between conditions that must all hold"),
    (re.compile(r"\|"), "write || between alternatives"),
    (re.compile("-"), "write a hyphen range with a space on both sides of the hyphen, as in 1.2 - 1.6"),
    (re.compile(r"\.[0-9]"), "a version has three numbers at most: MAJOR.MINOR.PATCH"),
    (re.compile("[A-Za-z]"), "a range holds versions only; to follow a tag by its name, ask for the tag instead"),
)

_Identifiers = tuple[int | str, ...]
_IdentifierKeys = tuple[tuple[bool, int, str], ...]
# Major, minor, patch, "is a release", prerelease: tuples compare as SemVer 2 section 11 orders versions.
_Precedence = tuple[int, int, int, bool, _IdentifierKeys]
_WHOLE = 5


class Version(msgspec.Struct, frozen=True):
    """A version and the tag it was read from.

    Versions are totally ordered: by SemVer precedence, then build metadata, then spelling (a full `1.2.0` above
    `v1.2.0` above a short `1.2` above `v1.2`), then text. `==` means the same spelling; compare `precedence` to ask
    for the same version.
    """

    major: int
    minor: int
    patch: int
    prerelease: _Identifiers
    build: str
    original: str

    @classmethod
    def parse(cls, text: str, *, coerce: bool = True) -> Version:
        """The version that `text` spells; `coerce` allows a leading `v`, missing parts and leading zeros.

        Raises `InvalidReference` (`invalid-version`).
        """
        version = _read_version(text, text, _LOOSE_VERSION if coerce else _STRICT_VERSION)
        if version is None:
            raise InvalidReference(f"{_shown(text)} is not a version", code="invalid-version", hint=_VERSION_HINT)
        return version

    @classmethod
    def from_tag(cls, tag: str) -> Version | None:
        """The version that a tag spells, or `None` for tags such as `latest`.

        OCI tags have no `+`: `_` (Helm) or the last `.build-` (Open Component Model) stand for it. So a prerelease that
        holds `.build-` cannot be told from build metadata; a descriptor that names the version is the better witness.
        """
        text = tag
        if "+" not in tag:
            if "_" in tag:
                text = tag.replace("_", "+")
            elif ".build-" in tag:
                text = "+".join(tag.rsplit(".build-", 1))
        return _read_version(text, tag, _LOOSE_VERSION)

    @property
    def precedence(self) -> _Precedence:
        """A key that orders versions by SemVer 2 precedence; equal for versions that differ in build metadata only."""
        return self.major, self.minor, self.patch, not self.prerelease, _identifier_keys(self.prerelease)

    def __str__(self) -> str:
        prerelease = "-" + ".".join(map(str, self.prerelease)) if self.prerelease else ""
        build = "+" + self.build if self.build else ""
        return f"{self._core()}{prerelease}{build}"

    def __lt__(self, other: Version) -> bool:
        return self.order() < other.order() if isinstance(other, Version) else NotImplemented

    def __le__(self, other: Version) -> bool:
        return self.order() <= other.order() if isinstance(other, Version) else NotImplemented

    def __gt__(self, other: Version) -> bool:
        return self.order() > other.order() if isinstance(other, Version) else NotImplemented

    def __ge__(self, other: Version) -> bool:
        return self.order() >= other.order() if isinstance(other, Version) else NotImplemented

    def order(self) -> tuple[_Precedence, _IdentifierKeys, str, bool, bool, str]:
        """The key of the total order, for sorting many versions fast."""
        build = _identifier_keys(_identifiers(self.build))
        is_full = self.original.removeprefix("v").startswith(self._core())
        return self.precedence, build, self.build, is_full, not self.original.startswith("v"), self.original

    def _core(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


class _Comparison(msgspec.Struct, frozen=True):
    """One comparison with a base: the first `width` places of a precedence count, "within" wants them all equal."""

    kind: _Kind
    base: _Precedence
    width: int

    def accepts(self, found: _Precedence) -> bool:
        """Whether a version of this precedence satisfies the comparison; prereleases are the alternative's matter."""
        base, width = self.base, self.width
        match self.kind:
            case "within":
                return found >= base and found[:width] == base[:width]
            case "!=":
                # `!=1.2` refuses every 1.2.z, but a prerelease only when its name is the same.
                return found[:width] != base[:width] or (width == 2 and found[3:] != base[3:])
            case ">":
                return found[:width] > base[:width]
            case "<=":
                return found[:width] <= base[:width]
            case "<":
                return found < base
            case "=":
                return found == base

    def edge(self) -> _Precedence | None:
        """Where the accepted versions begin or end; `None` where they merely have a hole."""
        major, minor = self.base[:2]
        match self.kind, self.width:
            case "!=", _:
                return None
            case ">", 1:
                return major + 1, 0, 0, True, ()
            case ">", 2:
                return major, minor + 1, 0, True, ()
            case _:
                return self.base


class _Alternative(msgspec.Struct, frozen=True):
    """Comparisons that must all hold; prereleases take part only when one of them names a prerelease."""

    comparisons: tuple[_Comparison, ...]
    allows_prerelease: bool

    def covers(self, found: _Precedence) -> bool:
        """Whether all comparisons accept this precedence, prereleases allowed or not."""
        return all(comparison.accepts(found) for comparison in self.comparisons)


class Range(msgspec.Struct, frozen=True):
    """A set of versions, as the text of a range describes it."""

    text: str
    alternatives: tuple[_Alternative, ...]

    @classmethod
    def parse(cls, text: str) -> Range:
        """The range that `text` describes. Raises `InvalidProject` (`invalid-range`)."""
        if len(text) > MAX_RANGE_LENGTH:
            raise _invalid_range(text, f"is longer than {MAX_RANGE_LENGTH} characters", "split it, or shorten it")
        parts = text.split("||")
        if len(parts) > _MAX_ALTERNATIVES:
            raise _invalid_range(text, f"has more than {_MAX_ALTERNATIVES} alternatives", "join them into wider ranges")
        return cls(text=text, alternatives=tuple(_read_alternative(part, text) for part in parts))

    def matches(self, version: Version) -> bool:
        """Whether the version lies in the range; prereleases do only where an alternative names one."""
        found = version.precedence
        return any(
            (alternative.allows_prerelease or not version.prerelease) and alternative.covers(found)
            for alternative in self.alternatives
        )

    def almost_matches(self, version: Version) -> bool:
        """Whether the version would lie in the range if prereleases took part everywhere."""
        found = version.precedence
        return any(alternative.covers(found) for alternative in self.alternatives)

    def __str__(self) -> str:
        return self.text


def select(tags: Iterable[str], wanted: Range) -> str | None:
    """The newest tag in the range, spelled as found, or `None`. Tags that are no version are passed over.

    Among tags of one version the greatest in the order of `Version` wins: more build metadata, then `1.2.0` before
    `v1.2.0` before `1.2` before `v1.2`, then the lexically last. The order of `tags` does not matter.
    """
    matching = [version for version in _versions(tags) if wanted.matches(version)]
    return max(matching, key=Version.order).original if matching else None


def nearest(tags: Iterable[str], wanted: Range, limit: int = 3) -> list[str]:
    """The tags to show when none is in the range, newest first.

    Prereleases that only the range's silence about prereleases keeps out come before all others, then the versions
    closest to an end of the range, on either side. A version that several tags spell is named once, as `select` would.
    Without any version among the tags: the lexically last tags.
    """
    known = list(tags)
    count = max(limit, 0)
    spelled = {(v.precedence, v.build): v for v in sorted(_versions(known), key=Version.order)}
    versions = list(spelled.values())
    if not versions:
        return sorted(set(known), reverse=True)[:count]
    steps = _steps_to_range(versions, wanted)
    closest = sorted(range(len(versions)), key=lambda index: (steps[index], -index))[:count]
    return [versions[index].original for index in sorted(closest, reverse=True)]


def _steps_to_range(versions: list[Version], wanted: Range) -> list[int]:
    """For each of the sorted versions: how many places it is from the closest end of the range; 0 within it."""
    steps = [0 if wanted.almost_matches(version) else len(versions) for version in versions]
    line = [(version.precedence, index) for index, version in enumerate(versions) if steps[index]]
    edges = {edge for a in wanted.alternatives for c in a.comparisons if (edge := c.edge()) is not None}
    # Ends stand among the versions with the index -1; without any, the newest version is the place to look at.
    line = sorted(line + [(edge, -1) for edge in edges or {versions[-1].precedence}])
    for walk in (line, line[::-1]):
        walked = len(versions)
        for _, index in walk:
            walked = 0 if index < 0 else walked + 1
            if index >= 0:
                steps[index] = min(steps[index], walked)
    return steps


def _versions(tags: Iterable[str]) -> Iterable[Version]:
    return (version for tag in tags if (version := Version.from_tag(tag)) is not None)


def _read_version(text: str, original: str, grammar: re.Pattern[str]) -> Version | None:
    found = grammar.fullmatch(text) if len(text) <= MAX_VERSION_LENGTH else None
    if found is None:
        return None
    major, minor, patch, prerelease, build = found.groups()
    numbers = int(major), int(minor or 0), int(patch or 0)
    if max(numbers) > _MAX_NUMBER or not _is_prerelease(prerelease):
        return None
    return Version(*numbers, prerelease=_identifiers(prerelease or ""), build=build or "", original=original)


def _is_prerelease(text: str | None) -> bool:
    """SemVer 2 section 9: numeric identifiers have no leading zeros (the grammar has seen to the rest)."""
    return text is None or not any(part[0] == "0" and len(part) > 1 and part.isdigit() for part in text.split("."))


def _identifiers(text: str) -> _Identifiers:
    return tuple(int(part) if part.isdigit() else part for part in text.split(".")) if text else ()


def _identifier_keys(identifiers: _Identifiers) -> _IdentifierKeys:
    """Numbers before words, numbers by value, words by ASCII (SemVer 2 section 11.4)."""
    return tuple((False, part, "") if isinstance(part, int) else (True, 0, part) for part in identifiers)


def _read_alternative(part: str, text: str) -> _Alternative:
    rest = part.strip(_WHITE)
    if not rest:
        raise _invalid_range(text, "has an empty alternative" if text.strip(_WHITE) else "is empty", "write * for any")
    comparisons: list[_Comparison] = []
    position = 0
    while True:
        if found := _HYPHEN_RANGE.match(rest, position):
            low, high = found.groups()[:5], found.groups()[5:]
            pairs = [(">=", low), ("<=", high)]
        elif found := _COMPARISON.match(rest, position):
            pairs = [(found[1] or "", found.groups()[1:])]
        else:
            raise _unreadable(text, rest[position:])
        comparisons.extend(_comparison(operator, segments, text) for operator, segments in pairs)
        if found.end() == len(rest):
            return _Alternative(tuple(comparisons), any(not comparison.base[3] for comparison in comparisons))
        separator = _SEPARATOR.match(rest, found.end())
        if separator is None:
            raise _unreadable(text, rest[found.end() :])
        position = separator.end()


def _unreadable(text: str, rest: str) -> InvalidProject:
    if not rest:
        return _invalid_range(text, "ends where a version is expected", _RANGE_HINT)
    hint = next((hint for pattern, hint in _NEAR_MISSES if pattern.match(rest)), _RANGE_HINT)
    return _invalid_range(text, f"cannot be read at {_shown(rest)}", hint)


def _comparison(operator: str, segments: tuple[str | None, ...], text: str) -> _Comparison:
    """The comparison of an operator with a version whose last parts may be missing or wildcards."""
    *written, prerelease, _ = segments
    numbers: list[int] = []
    for segment in written:
        if segment is None or segment in "xX*":
            break
        numbers.append(int(segment))
    given = len(numbers)
    numbers += [0] * (3 - given)
    if max(numbers) > _MAX_NUMBER:
        raise _invalid_range(text, "has a number that is too large", f"the largest is {_MAX_NUMBER}")
    if not _is_prerelease(prerelease):
        raise _invalid_range(
            text, f"has a number with leading zeros in the prerelease {_shown(prerelease or '')}", "remove the zeros"
        )
    identifiers = _identifiers(prerelease or "")
    base = numbers[0], numbers[1], numbers[2], not identifiers, _identifier_keys(identifiers)
    kind, width = _meaning(_OPERATORS[operator], numbers, given)
    return _Comparison(kind, base, width)


def _meaning(operator: _Operator, numbers: list[int], given: int) -> tuple[_Kind, int]:
    """How Masterminds reads an operator before `given` numbers: the kind of comparison, and the places that count."""
    match operator:
        case "=" if given == 3:
            return "=", _WHOLE
        case "=":
            return "within", min(given, 2)
        case "~":
            # ~0.0.0 is every version from there on.
            return "within", 0 if given == 3 and not any(numbers) else min(given, 2)
        case "^":
            # The first number that is not zero stays; when all that are given are zero, all of them stay.
            return "within", next((place + 1 for place in range(given) if numbers[place]), given)
        case ">=":
            return "within", 0
        case "<=" if given == 0:
            return "<=", 2
        case _:
            return operator, given if given in (1, 2) else _WHOLE


def _invalid_range(text: str, problem: str, hint: str) -> InvalidProject:
    return InvalidProject(f"the version range {_shown(text)} {problem}", code="invalid-range", hint=hint)


def _shown(text: str) -> str:
    """Text from outside for a message: quoted, escaped and cut."""
    return repr(text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…")
