"""Globs as vendir matches paths with them (bmatcuk/doublestar 1): relative to a content's root, for the whole path.

Pure. `**` as a component is any number of components (at the end: one or more); `*` and `?` stay within one component;
`[a-z]`, `[^a-z]`; `{a,b}` with anything inside, also `/` and further braces; a backslash takes the meaning from the
next character. Names that start with a dot are nothing special.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from provender.errors import InvalidProject

__all__ = ["check_glob", "expand_glob", "matches_glob"]

_MAX_PATTERN: Final = 4096
_MAX_EXPANDED: Final = 1024
_OPENED: Final = "\x01"
"""Stands in an expanded pattern where a brace was opened: in that component vendir knows no `**`."""


def matches_glob(path: str, patterns: Iterable[str]) -> bool:
    """True if one of the patterns matches the relative path. Raises InvalidProject (code `invalid-glob`)."""
    expression = _any_of(tuple(patterns))
    return expression is not None and expression.fullmatch(path) is not None


def check_glob(text: str) -> str:
    """`text`, if it is a pattern; else InvalidProject (code `invalid-glob`)."""
    _expressions(text)
    return text


def expand_glob(text: str) -> list[str]:
    """The pattern without braces: one pattern for each alternative."""
    clean = posixpath.normpath(f"/{text}").lstrip("/")
    return list(dict.fromkeys(each.replace(_OPENED, "") for each in _expanded(clean, text)))


@lru_cache(maxsize=512)
def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str] | None:
    """One expression for all of them; None if none can match."""
    expressions = [f"(?:{each})" for text in patterns for each in _expressions(text)]
    return re.compile("|".join(expressions), re.DOTALL) if expressions else None


@lru_cache(maxsize=512)
def _expressions(text: str) -> tuple[str, ...]:
    """The expressions of all alternatives; none for a pattern that leaves the root, which nothing can match."""
    if len(text) > _MAX_PATTERN or _OPENED in text:
        raise _bad(text, f"it is longer than {_MAX_PATTERN} characters, or has a control character")
    # A vendir pattern is joined to the root's path, and cleaned with it.
    clean = posixpath.normpath(f"/{text}") if not _climbs(text) else None
    if clean is None or clean in ("/", "//"):
        return ()
    return tuple(_expression(each, text) for each in _expanded(clean.lstrip("/"), text))


def _climbs(text: str) -> bool:
    depth = 0
    for part in text.split("/"):
        depth += -1 if part == ".." else 0 if part in ("", ".") else 1
        if depth < 0:
            return True
    return False


def _expanded(pattern: str, text: str) -> list[str]:
    """The pattern without braces: one for each alternative."""
    done: list[str] = []
    waiting = [pattern]
    while waiting:
        each = waiting.pop()
        found = _first_braces(each, text)
        if found is None:
            done.append(each)
        else:
            start, end, alternatives = found
            waiting.extend(each[:start] + _OPENED + alternative + each[end:] for alternative in reversed(alternatives))
        if len(done) + len(waiting) > _MAX_EXPANDED:
            raise _bad(text, f"it has more than {_MAX_EXPANDED} alternatives")
    return done


def _first_braces(pattern: str, text: str) -> tuple[int, int, list[str]] | None:
    """Where the first `{...}` begins and ends, and its alternatives; None without one."""
    at = 0
    while at < len(pattern) and pattern[at] != "{":
        if pattern[at] == "[":
            at = _end_of_set(pattern, at, text)
        at += 2 if pattern[at : at + 1] == "\\" else 1
    if at >= len(pattern):
        return None
    depth, start, alternatives = 1, at + 1, []
    end = start
    while depth:
        if end >= len(pattern):
            raise _bad(text, "a '{' is not closed")
        char = pattern[end]
        if char == "\\":
            end += 1
        elif char == "{":
            depth += 1
        elif char == "}":
            depth -= 1
        if depth == 0 or (char == "," and depth == 1):
            alternatives.append(pattern[start:end])
            start = end + 1
        end += 1
    return at, end, alternatives


def _end_of_set(pattern: str, start: int, text: str) -> int:
    """Where the `]` of a set stands."""
    end = start + 1
    while end < len(pattern) and pattern[end] != "]":
        end += 2 if pattern[end] == "\\" else 1
    if end >= len(pattern):
        raise _bad(text, "a '[' is not closed")
    return end


def _expression(pattern: str, text: str) -> str:
    parts = pattern.split("/")
    pieces: list[str] = []
    for number, part in enumerate(parts):
        is_last = number == len(parts) - 1
        if part != "**":
            pieces.append(_component(part, text) + ("" if is_last else "/"))
        elif is_last:
            pieces.append("[^/]+(?:/[^/]+)*")
        elif not (number and parts[number - 1] == "**"):
            pieces.append("(?:[^/]+/)*")
    return "".join(pieces)


def _component(part: str, text: str) -> str:
    out: list[str] = []
    at = 0
    while at < len(part):
        char = part[at]
        if char == _OPENED:
            pass
        elif char == "*":
            if part[at + 1 : at + 2] != "*":
                # Anything but the end after a star has to take a character, even what may be empty: `*{,x}`.
                out.append("[^/]*" if at == len(part) - 1 else "[^/]*(?=[^/])")
        elif char == "?":
            out.append("[^/]")
        elif char == "\\":
            at += 1
            if at >= len(part):
                raise _bad(text, "it ends with a backslash")
            out.append(re.escape(part[at]))
        elif char == "[":
            end = _end_of_set(part, at, text)
            out.append(_set(part[at + 1 : end], text))
            at = end
        else:
            out.append(re.escape(char))
        at += 1
    return "".join(out)


def _set(inside: str, text: str) -> str:
    is_negated = inside.startswith("^")
    chars = re.findall(r"\\.|[^\\]", inside[1:] if is_negated else inside, re.DOTALL)
    if not chars or chars[0] == "-" or chars[-1] == "-":
        raise _bad(text, "a set in brackets is empty, or begins or ends with '-'")
    pieces: list[str] = []
    at = 0
    while at < len(chars):
        low = high = chars[at]
        at += 1
        if chars[at : at + 1] == ["-"]:
            high = chars[at + 1]
            at += 2
        if low == "-" or high == "-":
            raise _bad(text, "'-' in a set in brackets has to be '\\-'")
        first, last = low[-1], high[-1]
        if first <= last:  # a range that is upside down holds nothing
            pieces.append(f"{re.escape(first)}-{re.escape(last)}")
    if not pieces:
        return "[^/]" if is_negated else "(?!)"
    return f"(?!/)[{'^' if is_negated else ''}{''.join(pieces)}]"


def _bad(text: str, problem: str) -> InvalidProject:
    return InvalidProject(
        f"not a glob: {text[:80]!r}: {problem}",
        code="invalid-glob",
        hint="write for example '**/*.yaml', 'docs/**' or '{charts,crds}/**/*.yml'",
    )
