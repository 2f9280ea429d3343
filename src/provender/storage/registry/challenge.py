"""Challenges: what a 401 answer asks for (RFC 9110 section 11.6.1), read by a real tokenizer. Pure."""

from __future__ import annotations

import re

import msgspec

__all__ = ["Challenge", "parse_challenges"]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))")
_SPACE = re.compile(r"[ \t]*")
_EMPTY = re.compile(r"[ \t,]*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_BARE = re.compile(r"[^\s,\"]+")
_MAX_LENGTH = 16 << 10
_MAX_CHALLENGES = 16


class Challenge(msgspec.Struct, frozen=True):
    """One scheme (lower-case) with its parameters (names lower-case)."""

    scheme: str
    parameters: dict[str, str]


def parse_challenges(header: str) -> list[Challenge]:
    """The challenges of a `WWW-Authenticate` value, in order; several may share it. What cannot be read ends the list.

    Values may be quoted and hold commas (`scope="repository:a:pull,push"`); registries also leave the quotes out.
    """
    found: list[Challenge] = []
    if len(header) > _MAX_LENGTH:
        return found
    position = _end(_EMPTY, header, 0)
    while position < len(header) and len(found) < _MAX_CHALLENGES:
        scheme = _TOKEN.match(header, position)
        if scheme is None:
            break
        parameters: dict[str, str] = {}
        position = _end(_SPACE, header, scheme.end())
        is_parameter = _parameter(header, position) is not None
        if not is_parameter and position > scheme.end() and (opaque := _TOKEN68.match(header, position)):
            position = opaque.end()
        while (item := _parameter(header, position)) is not None:
            name, value, position = item
            parameters.setdefault(name, value)
            position = _end(_EMPTY, header, position)
        found.append(Challenge(scheme[0].lower(), parameters))
        position = _end(_EMPTY, header, position)
    return found


def _parameter(header: str, position: int) -> tuple[str, str, int] | None:
    """`name = value` at this position with the position behind it; None if something else is there."""
    name = _TOKEN.match(header, position)
    if name is None:
        return None
    at = _end(_SPACE, header, name.end())
    if header[at : at + 1] != "=":
        return None
    at = _end(_SPACE, header, at + 1)
    if quoted := _QUOTED.match(header, at):
        return name[0].lower(), re.sub(r"\\(.)", r"\1", quoted[1]), quoted.end()
    bare = _BARE.match(header, at)
    return None if bare is None else (name[0].lower(), bare[0], bare.end())


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position
