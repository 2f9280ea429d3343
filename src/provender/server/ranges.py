"""The request headers that select: Range, Content-Range, If-None-Match. Server layer, pure (RFC 9110)."""

from __future__ import annotations

import re
from typing import Final

from provender.server.replies import Problem

__all__ = ["content_range", "is_match", "selected"]

_RANGE = re.compile(r"\s*([0-9]{0,19})\s*-\s*([0-9]{0,19})\s*", re.ASCII)
_CONTENT_RANGE = re.compile(r"([0-9]{1,19})-([0-9]{1,19})", re.ASCII)
_MAX_VALIDATORS: Final = 64


def selected(header: str | None, size: int) -> tuple[int, int] | None:
    """The first and last byte that a Range header selects of `size`; None for the whole.

    Another unit, several ranges and nonsense select the whole, which HTTP allows. Raises Problem 416 for what lies
    outside.
    """
    if header is None:
        return None
    unit, equals, text = header.partition("=")
    match = _RANGE.fullmatch(text)
    if not equals or unit.strip().lower() != "bytes" or match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        length = min(int(match[2]), size)
        first, last = size - length, size - 1
    else:
        first = int(match[1])
        last = min(int(match[2]), size - 1) if match[2] else size - 1
    if first > last:
        raise Problem(
            416,
            "RANGE_INVALID",
            f"the range lies outside of the {size} bytes",
            headers=(("Content-Range", f"bytes */{size}"),),
        )
    return first, last


def content_range(header: str | None) -> tuple[int, int] | None:
    """The first and last byte that a chunk claims to be; None without the header, Problem 416 if it is malformed."""
    if header is None:
        return None
    match = _CONTENT_RANGE.fullmatch(header.strip())
    if match is None or int(match[2]) < int(match[1]):
        raise Problem(416, "RANGE_INVALID", "Content-Range is not <first>-<last>")
    return int(match[1]), int(match[2])


def is_match(header: str | None, digest: str) -> bool:
    """True if an If-None-Match header names the content (its entity tag is its digest in quotes)."""
    if header is None:
        return False
    validators = [item.strip().removeprefix("W/") for item in header.split(",")[:_MAX_VALIDATORS]]
    return "*" in validators or f'"{digest}"' in validators
