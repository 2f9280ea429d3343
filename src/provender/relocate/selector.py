"""Selector: which tags of a repository are wanted, as flux-mirror says it: filter, range, order, how many. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal, NamedTuple

import msgspec

from provender.errors import InvalidReference
from provender.versions import Range, Version

__all__ = ["Selector", "TagExpression"]

Order = Literal["semver", "alphabetical", "numerical"]

_MAX_PATTERN: Final = 1000
_NUMBER: Final = re.compile(r"[-+]?[0-9]{1,300}(?:\.[0-9]{1,300})?")
_GROUP: Final = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


class TagExpression(msgspec.Struct, frozen=True):
    """A regular expression that tags have to match, and what of them is compared (`$name`); else the whole tag."""

    pattern: str
    extract: str | None = None

    def __post_init__(self) -> None:
        if len(self.pattern) > _MAX_PATTERN:
            raise ValueError(f"a pattern has at most {_MAX_PATTERN} characters")
        try:
            known = re.compile(self.pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"not a regular expression: {error}") from error
        for braced, bare in _GROUP.findall(self.extract or ""):
            group = braced or bare
            if group not in known.groupindex and not (group.isdecimal() and int(group) <= known.groups):
                raise ValueError(f"the pattern has no group {group[:60]!r}")

    def key(self) -> Callable[[str], str | None]:
        """What gives the part of a tag to compare; None for tags that do not match."""
        search, extract = re.compile(self.pattern).search, self.extract

        def key(tag: str) -> str | None:
            found = search(tag)
            if found is None or extract is None:
                return None if found is None else tag
            return _GROUP.sub(lambda group: _named(found, group[1] or group[2]), extract)

        return key


class Selector(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The highest `limit` tags (0: all of them) of those that match and lie in the range, in the order of `sort_by`.

    Tags that the order cannot compare are left out.
    """

    regex: TagExpression | str | None = None
    semver: str | None = None
    sort_by: Order = "semver"
    limit: int = 1

    def __post_init__(self) -> None:
        if self.limit < 0:
            raise ValueError("the limit is at least 0, which takes every tag")
        if self.semver is not None:
            Range.parse(self.semver)
        self._expression()

    def select(self, tags: Iterable[str]) -> list[str]:
        """Those of `tags` that are wanted, the highest first."""
        expression = self._expression()
        key_of: Callable[[str], str | None] = (lambda tag: tag) if expression is None else expression.key()
        wanted = None if self.semver is None else Range.parse(self.semver)
        ranked: list[_Ranked] = []
        for tag in set(tags):
            key = key_of(tag)
            if key is None:
                continue
            version = Version.from_tag(key)
            if wanted is not None and (version is None or not wanted.matches(version)):
                continue
            rank = _RANKS[self.sort_by](key, version)
            if rank is not None:
                ranked.append(_Ranked(rank, tag))
        ranked.sort(reverse=True)
        return [each.tag for each in ranked[: self.limit or None]]

    def _expression(self) -> TagExpression | None:
        return TagExpression(self.regex) if isinstance(self.regex, str) else self.regex

    def __str__(self) -> str:
        expression = self._expression()
        parts = [f"/{expression.pattern[:80]}/"] if expression else []
        return " ".join([*parts, *([f"in {self.semver[:80]}"] if self.semver else [])]) or "the newest version"


_Rank = tuple[Version] | tuple[str] | tuple[int, int]


class _Ranked(NamedTuple):
    rank: _Rank
    tag: str


def _numerical(key: str, _version: Version | None) -> _Rank | None:
    if _NUMBER.fullmatch(key) is None:
        return None
    whole, _, part = key.partition(".")
    digits = part.ljust(300, "0")
    return int(whole or "0"), -int(digits) if key.startswith("-") else int(digits)


_RANKS: Final[Mapping[Order, Callable[[str, Version | None], _Rank | None]]] = {
    "semver": lambda _key, version: None if version is None else (version,),
    "alphabetical": lambda key, _version: (key,),
    "numerical": _numerical,
}


def _named(found: re.Match[str], group: str) -> str:
    try:
        return found[int(group) if group.isdecimal() else group] or ""
    except IndexError as error:
        raise InvalidReference(f"the pattern has no group {group[:60]!r}", code="invalid-pattern") from error
